#!/bin/sh
# SPDX-License-Identifier: MIT
#
# man.sh TREE COMPILER: the man pages say what the headers say.  Each declaration of the headers stands
# in the SYNOPSIS of one page, letter by letter but for blanks, and nothing else does; each function has a
# page under its own name; each constant is told of somewhere; the overview names each page and variable
# of the environment, and whatever is referred to is there.  The overview's program compiles, and mandoc,
# where it is here, has nothing against how the pages are written.

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit
cd "$1/src/man" || exit
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
status=0

fail() {
    printf '%s\n' "$*"
    status=1
}

# ---- what is declared --------------------------------------------------------------------------------

# The SYNOPSIS of a page as C: functions out of their macros, types from the displays between them.
synopsis() {
    awk '
        /^\.Sh / { inside = ($2 == "SYNOPSIS"); next }
        !inside { next }
        $1 == ".Bd" { display = 1; next }
        $1 == ".Ed" { display = 0; next }
        display { print; next }
        $1 == ".Ft" { type = substr($0, 5); gsub(/"/, "", type) }
        $1 == ".Fo" { printf "%s %s(", type, $2; comma = "" }
        $1 == ".Fa" { text = substr($0, 5); gsub(/"/, "", text); printf "%s%s", comma, text; comma = ", " }
        $1 == ".Fc" { print ");" }' "$1"
}

for page in *.[37]; do
    synopsis "$page"
done >"$work/synopses"
awk -f "$here/declarations.awk" ../../include/mproc/*.h | sort >"$work/declared"
grep -v '^constant ' "$work/declared" >"$work/expected"
awk -f "$here/declarations.awk" "$work/synopses" | sort >"$work/documented"
[ -s "$work/documented" ] || fail "there is nothing in the pages"
diff "$work/expected" "$work/documented" ||
    fail "the headers (<) and what src/man has under SYNOPSIS (>) differ"

# ---- what is told ------------------------------------------------------------------------------------

# Names, as the installation makes links of them.
for page in *.[37]; do
    echo "$page"
    sed -n "s/^\.Nm \([a-z0-9_]*\).*/\1.${page##*.}/p" "$page"
done | sort -u >"$work/names"

for function in $(sed -n '/^typedef/d; s/.*\(mproc_[a-z0-9_]*\)(.*/\1/p' "$work/expected"); do
    grep -q -x "$function\.3" "$work/names" || fail "no page has $function under NAME"
done
for constant in $(sed -n 's/^constant //p' "$work/declared"); do
    grep -q -w "$constant" *.[37] || fail "no page tells of $constant"
done
for variable in $(grep -rhow 'mp_env("MPROC_[A-Z_]*")' .. | sed 's/.*"\(.*\)".*/\1/' | sort -u); do
    grep -q "^\.It Ev $variable" libmproc.7 || fail "the overview does not tell of $variable"
done
for page in *.3; do
    grep -q "^\.It Xr ${page%.3} 3" libmproc.7 || fail "the overview does not have $page"
done
grep -h '^\.Xr \(lib\)\{0,1\}mproc' *.[37] | awk '{ print $2 "." $3 }' | sort -u | comm -23 - "$work/names" >"$work/lost"
[ ! -s "$work/lost" ] || fail "referred to, but not there: $(tr '\n' ' ' <"$work/lost")"

awk '/^\.Sh / { inside = ($2 == "EXAMPLES") } inside && !/^\.[A-Z]/' libmproc.7 |
    sed '1d; s/\\e/\\/g' >"$work/example.c"
$2 -std=c11 -Wall -Wextra -Werror -I../../include -fsyntax-only "$work/example.c" ||
    fail 'the program of libmproc.7 does not compile'

# ---- how it is written -------------------------------------------------------------------------------

if command -v mandoc >/dev/null; then
    mandoc -T lint -W warning *.[37] || fail 'mandoc complains'
else
    echo 'not looked at: how the pages are written, for want of mandoc'
fi
exit $status

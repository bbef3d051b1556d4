#!/bin/sh
# SPDX-License-Identifier: MIT
#
# ffi_tables.sh TREE LIBRARY COMPILER [FLAGS]: what the headers say, mproc_constant() and the
# mproc_struct functions know: every MPROC_ constant with its value, and of every struct that begins
# with `size` its size and each member, at its place.  A line missing in src/ffi.c fails here.

cd "$1" || exit
library=$2
compiler=$3
flags=$4
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT

# Of the preprocessed headers, so that no comment is in the way: enumerators as `constant NAME`, and
# `member TYPE NAME`.  A pointer to a function has its name in `(*name)`, but the headers have a type
# for each of those.
echo '#include <mproc/mproc.h>' | $compiler $flags -x c -Iinclude -E -P - | tr '\n' ' ' |
    awk '{ gsub(/[;{}]/, "&\n"); print }' >"$work/statements"
awk '
    { sub(/^ +/, "") }
    /^typedef struct mproc_[a-z_]* *\{$/ {
        type = $3
        first = 1
        next
    }
    /^}/ { type = "" }
    type != "" && /;$/ {
        sub(/ *;$/, "")
        sub(/\[.*/, "")
        name = $NF
        sub(/^\*+/, "", name)
        if (first && name != "size")
            type = ""
        else if (!first && name != "reserved")
            print "member", type, name
        else if (first)
            print "type", type
        first = 0
    }
' "$work/statements" >"$work/names"
grep -o '\<MPROC_[A-Z_0-9]* *=' "$work/statements" | tr -d ' =' | sed 's/^/constant /' >>"$work/names"
grep -ho '^# *define MPROC_[A-Z_0-9]* .' include/mproc/*.h | sed 's/# *define/constant/; s/ .$//' \
    >>"$work/names"

# As many as there are at the least: an extraction that finds nothing would please for ever.
for least in 'constant 11' 'type 5' 'member 35'; do
    found=$(grep -c "^${least% *} " "$work/names")
    if [ "$found" -lt "${least#* }" ]; then
        echo "only $found of: ${least% *}"
        exit 1
    fi
done

{
    cat <<'C'
#include <mproc/mproc.h>
#include <stdio.h>
#include <string.h>
static int bad;
static void constant(const char *name, int64_t due)
{
    int64_t value;
    if (mproc_constant(name, &value) || value != due)
        bad = printf("src/ffi.c does not know %s\n", name);
}
/* What is set there is there, and nowhere else. */
static void member(const char *type, const char *name, size_t offset, size_t size)
{
    static const char zeros[4096];
    void *made;
    const void *at = NULL;
    int64_t value = 0;
    int wrong = 1;
    if (mproc_struct_new(type, &made) == 0) {
        unsigned char *bytes = (unsigned char *)made;
        size_t whole;
        memcpy(&whole, bytes, sizeof whole);
        bytes[offset] = 77;
        bytes[offset + (size > 8 ? 0 : size - 1)] = 77;
        if (mproc_struct_get(made, name, &value) == 0)
            wrong = size < 8 ? value != 77 + (77 << 24) : value != 77 + ((int64_t)77 << 56);
        else if (mproc_struct_get_pointer(made, name, &at) == 0)
            wrong = size > 8 ? at != bytes + offset : memcmp(&at, bytes + offset, size) != 0;
        memset(bytes + offset, 0, size > 8 ? 1 : size);
        wrong |= memcmp(bytes + sizeof whole, zeros, whole - sizeof whole) != 0;
        mproc_struct_free(made);
    }
    if (wrong)
        bad = printf("src/ffi.c does not know %s.%s\n", type, name);
}
int main(void)
{
C
    awk '
        $1 == "constant" { printf "constant(\"%s\", %s);\n", $2, $2 }
        $1 == "type" { printf "constant(\"sizeof(%s)\", sizeof(%s));\n", $2, $2 }
        $1 == "member" {
            printf "member(\"%s\", \"%s\", offsetof(%s, %s), sizeof(((%s *)0)->%s));\n",
                $2, $3, $2, $3, $2, $3
        }' "$work/names"
    echo 'return bad != 0; }'
} >"$work/tables.c"
$compiler $flags -Iinclude "$work/tables.c" "$library" -o "$work/tables" -lpthread -ldl || exit
"$work/tables"

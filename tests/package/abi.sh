#!/bin/sh
# SPDX-License-Identifier: MIT
#
# abi.sh COMPILER: what programs were compiled against stays as it was: functions, types, constants.
# abi.xml has the ABI as it was recorded; more may be added to it, and structs that begin with `size` may
# grow at their end, as the headers say.  Anything else fails.
#
#   sh tests/package/abi.sh cc record    records it: at a release, so that what came with it is held, too
#
# If something else must change, programs have to be built again: abi_version in CMakeLists.txt goes up by
# one, mproc.map begins anew with one node, and abi.xml is recorded.
#
# What is compared is a library of empty functions made from the headers and mproc.map (that the real one
# exports the same is exports.sh's to see).  So it has no types but public ones, and is the same whatever
# the compiler and its flags.

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit
root=$(CDPATH='' cd -- "$here/../.." && pwd) || exit
compiler=$1
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT

if ! command -v abidiff >/dev/null; then
    echo "not looked at: there is no abidiff here (abigail-tools)"
    exit 77
fi
if ! echo 'int compiled[sizeof(void *) == 8 && sizeof(long) == 8 ? 1 : -1];' |
    $compiler -x c -fsyntax-only - 2>/dev/null; then
    echo "not looked at: the ABI was recorded where pointers and long have 64 bits"
    exit 77
fi

# Beside the functions, a type that has all constants and offsets of members as its values, and a function
# for each member that takes what is there: abidiff passes over a change in a struct that also grows.
awk -f "$root/tests/declarations.awk" "$root"/include/mproc/*.h >"$work/declarations"
awk '
    /^constant / {
        values = values sprintf("    constant_%s = %s,\n", $2, $2)
    }
    /^typedef struct [a-z_]*\{/ {
        type = $3
        sub(/\{.*/, "", type)
        n = split(substr($0, index($0, "{") + 1), members, ";")
        for (i = 1; i < n; i++) {
            name = members[i]
            sub(/\[.*/, "", name)
            sub(/.*[ *]/, "", name)
            if (name == "reserved")
                continue
            values = values sprintf("    offset_%s_%s = offsetof(%s, %s),\n", type, name, type, name)
            functions = functions sprintf("void mproc_member_%s_%s(__typeof__(((%s *)0)->%s) *member)\n{\n    (void)member;\n}\n", type, name, type, name)
        }
    }
    !/^constant|^typedef/ {
        functions = functions $0 "\n{\n    __builtin_trap();\n}\n"
    }
    END {
        print "#include <mproc/mproc.h>\n\nenum mproc_values {"
        print values "};\n\nvoid mproc_values(enum mproc_values values)\n{\n    (void)values;\n}\n"
        print functions
    }' "$work/declarations" >"$work/library.c"
sed 's/^global:/&\n    mproc_values;\n    mproc_member_*;/' "$root/src/mproc.map" >"$work/library.map"
$compiler -std=c11 -g -O0 -fPIC -shared -I"$root/include" -Wl,--version-script="$work/library.map" \
    "$work/library.c" -o "$work/library.so" || exit

if [ "${2-}" = record ]; then
    abidw --no-show-locs --no-comp-dir-path --no-corpus-path --no-elf-needed --no-architecture \
        --type-id-style hash "$work/library.so" |
        sed "s| path='[^']*'||" >"$here/abi.xml"
    exit
fi
abidiff --no-added-syms --no-architecture --suppressions "$here/abi.suppr" "$here/abi.xml" "$work/library.so"

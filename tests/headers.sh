#!/bin/sh
# SPDX-License-Identifier: MIT
#
# headers.sh TREE COMPILER: each public header stands alone, twice, without a warning and by the letter
# of each standard of C and C++ that the compilers here know.

cd "$1" || exit
compiler=$2
status=0

# check LANGUAGE STANDARD COMPILER [OPTION...]: each header by itself.
check() {
    language=$1
    standard=$2
    shift 2
    echo 'int known;' | "$@" -x "$language" -std="$standard" -fsyntax-only - 2>/dev/null || {
        echo "not looked at: $1 does not know $standard"
        return
    }
    for header in include/mproc/*.h; do
        name=$(basename "$header")
        printf '#include <mproc/%s>\n#include <mproc/%s>\n' "$name" "$name" |
            "$@" -x "$language" -std="$standard" -pedantic-errors -Wall -Wextra -Wundef -Werror -Iinclude \
                -fsyntax-only - || {
            echo "$name fails in $standard"
            status=1
        }
    done
}

for standard in c99 c11 c17 c2x; do
    check c $standard "$compiler" -Wstrict-prototypes
done
if command -v c++ >/dev/null; then
    for standard in c++98 c++11 c++14 c++17 c++20; do
        check c++ $standard c++ -Wold-style-cast
    done
else
    echo 'not looked at: C++, for which there is no compiler here'
fi
exit $status

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# headers.sh TREE COMPILER: each public header stands alone, in C99, C11 and C++ (where there is a
# compiler for that), twice, and without a warning.

cd "$1" || exit
compiler=$2
status=0

check() {
    printf '#include <mproc/%s>\n#include <mproc/%s>\n' "$name" "$name" |
        "$@" -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only - || {
        echo "$name fails with $*"
        status=1
    }
}

for header in include/mproc/*.h; do
    name=$(basename "$header")
    for standard in c99 c11; do
        check "$compiler" -x c -std=$standard -Wstrict-prototypes
    done
    if command -v c++ >/dev/null; then
        check c++ -x c++ -std=c++11
    fi
done
exit $status

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh tests/fault/compare.sh [ARGUMENT-OF-compare.py...]: build what it takes, and print what a kill storm
# leaves of Python's pools and of libmproc's: of tasks that do nothing, and of tasks of a millisecond.
# CC: the compiler.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

cmake -S "$root" -B "$work" -DMPROC_BUILD_TESTS=OFF -DMPROC_BUILD_EXAMPLES=OFF >"$work/log" &&
    cmake --build "$work" --target mproc_static >>"$work/log" &&
    ${CC:-cc} -O2 -std=c11 -D_DEFAULT_SOURCE -I "$root/include" -o "$work/compare" \
        "$root/tests/fault/compare.c" "$work/libmproc.a" -lpthread >>"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
}
python3 "$root/tests/fault/compare.py" "$work/compare" --task-us 0 "$@" || exit
echo
python3 "$root/tests/fault/compare.py" "$work/compare" --task-us 1000 "$@"

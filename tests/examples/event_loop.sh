#!/bin/sh
# SPDX-License-Identifier: MIT
#
# event_loop.sh PROGRAM [LAUNCHER...]: each client has its answer, whatever the others asked for; the
# prime takes longer than its time limit anywhere.

program=$1
shift
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
cd "$work" || exit

sort >expected <<'END'
15: 3
91: 7
1: 1
0: 2
1000016000063: 29
9999999967: 9999999967
18446744073709551557: the task was killed at its time limit
nonsense: 2
END
"$@" "$program" 15 18446744073709551557 91 1 0 1000016000063 nonsense 9999999967 >printed || {
    echo "event_loop: exit status $?"
    exit 1
}
sort printed | diff expected - || exit 1

# Many at once, again and again.
set -- "$@" "$program"
[ -n "${MPROC_TEST_VALGRIND-}" ] || for i in 1 2 3; do
    "$@" 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 \
        52 53 54 55 56 57 58 59 60 61 62 63 64 >printed && [ "$(wc -l <printed)" -eq 44 ] || exit 1
done
"$@" 2>/dev/null && exit 1
exit 0

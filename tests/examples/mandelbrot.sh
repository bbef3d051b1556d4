#!/bin/sh
# SPDX-License-Identifier: MIT
#
# mandelbrot.sh PROGRAM [LAUNCHER...]: the picture is the same for any number of workers, and whole, or
# the program says what is wrong.

program=$1
shift
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
cd "$work" || exit
status=0

counts='1 4'
[ -z "${MPROC_TEST_VALGRIND-}" ] || counts=2
for workers in $counts; do
    MPROC_WORKERS=$workers "$@" "$program" 64 48 >picture || status=1
    sum=$(cksum <picture)
    [ "$sum" = '2177980929 9229' ] || {
        echo "$workers workers: the sum is $sum"
        status=1
    }
done
[ "$(head -n 2 picture | tr '\n' ' ')" = 'P6 64 48 ' ] || status=1

# Valgrind takes a second for each, and has seen what matters.
[ -z "${MPROC_TEST_VALGRIND-}" ] || exit $status

for sides in 64 '0 48' '64 -1' '20001 48' '64 48 1'; do
    "$@" "$program" $sides >picture 2>messages && {
        echo "$sides: taken"
        status=1
    }
    grep -q '^usage: ' messages && [ ! -s picture ] || status=1
done
if [ -c /dev/full ] && "$@" "$program" 64 48 >/dev/full 2>messages; then
    echo 'a full disk: exit status 0'
    status=1
fi
exit $status

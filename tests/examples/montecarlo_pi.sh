#!/bin/sh
# SPDX-License-Identifier: MIT
#
# montecarlo_pi.sh PROGRAM [LAUNCHER...]: any number of workers comes to the same answer.

program=$1
shift
expected='7853104 of 10000000 points: pi is about 3.141242'
status=0

counts='0 1 2 7'
[ -z "${MPROC_TEST_VALGRIND-}" ] || counts=2
for workers in $counts; do
    printed=$("$@" "$program" $workers)
    [ "$printed" = "$expected" ] || {
        echo "$workers workers: $printed"
        status=1
    }
done
"$@" "$program" -1 2>/dev/null && {
    echo "-1 workers: no error"
    status=1
}
exit $status

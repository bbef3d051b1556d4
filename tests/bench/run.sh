#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh tests/bench/run.sh [--quick] [ROW...]: build the benchmark and run it, all rows or those named.
# Installs nothing; what a peer needs and is not there is skipped.
# From the environment: MPROC_BUILD_DIR, where to build (build/ in the tree).

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit
directory=${MPROC_BUILD_DIR:-$root/build}/bench
mkdir -p "$directory" || exit

cmake -S "$root" -B "$directory" -DCMAKE_BUILD_TYPE=Release -DMPROC_BUILD_EXAMPLES=OFF \
    -DMPROC_SHARED=OFF >"$directory/build.log" &&
    cmake --build "$directory" --target bench >>"$directory/build.log" 2>&1 || {
    cat "$directory/build.log"
    exit 1
}
exec "$directory/tests/bench/bench" "$@"

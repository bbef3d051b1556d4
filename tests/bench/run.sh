#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh tests/bench/run.sh [--quick] [--rounds N] [ROW...]: build the benchmark and run it, all rows or
# those named; --list names them.  Installs nothing; a peer that is not here is skipped.
#
# Leaves results.json, table.md and chart.svg in the build directory; sh tests/bench/run.sh --keep has
# the first and the last here, too, for the README.  From the environment: MPROC_BUILD_DIR,
# where to build (build/ in the tree).

keep=false
if [ "${1:-}" = --keep ]; then
    keep=true
    shift
fi

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit
directory=${MPROC_BUILD_DIR:-$root/build}/bench
mkdir -p "$directory" || exit

cmake -S "$root/tests/bench" -B "$directory" >"$directory/build.log" 2>&1 &&
    cmake --build "$directory" >>"$directory/build.log" 2>&1 || {
    cat "$directory/build.log"
    exit 1
}
[ -x "$directory/peer_openmp" ] || echo "The compiler has no OpenMP: without it."
[ -x "$directory/peer_mpi" ] && command -v mpirun >/dev/null || echo "No MPI here: without it."
command -v python3 >/dev/null || echo "No python3 here: without it."
"$directory/bench" --json "$directory/results.json" --table "$directory/table.md" \
    --svg "$directory/chart.svg" "$@" || exit
if $keep; then
    cp "$directory/results.json" "$directory/chart.svg" "$root/tests/bench/"
fi

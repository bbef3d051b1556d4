#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh examples/run.sh: install what is missing, build, run every example and show what it prints.
# MPROC_BUILD_DIR tells where to build (build/ in the tree).

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit
. "$root/tests/prepare.sh"

need compiler cmake make
mkdir -p "${MPROC_BUILD_DIR:-$root/build}/run-examples" || exit
directory=$(CDPATH='' cd -- "${MPROC_BUILD_DIR:-$root/build}/run-examples" && pwd) || exit
build "$directory" -DMPROC_BUILD_TESTS=OFF -DMPROC_BUILD_EXAMPLES=ON || exit

cd "$root" || exit
failed=

run() {
    example=$1
    shift
    "$directory/examples/$example" "$@" || failed="$failed $example"
}

show() {
    printf '\n---- %s\n' "$*"
    run "$@"
}

show person
show squares
show print_numbers
show checksum LICENSE include/mproc/*.h
show crash_proof

cd "$directory" || exit
printf 'L\7Hello, C\7\14L\1!E' >hello
printf 'L\5abcdeC\377\377\377\377\377\377\377\377\77\1E' >crash
printf 'G\000' >hang
printf 'L\1aC\1\377\377\177G\000' >glutton
show untrusted crash hang hello glutton
printf '\n---- mandelbrot >mandelbrot.ppm\n'
run mandelbrot >mandelbrot.ppm && echo "The picture is $directory/mandelbrot.ppm"
show not_thread_safe
printf '\n---- pipeline <LICENSE\n'
run pipeline <"$root/LICENSE"
show montecarlo_pi
show event_loop 18446744073709551557 91 15

echo
if [ -n "$failed" ]; then
    echo "These examples failed:$failed"
    exit 1
fi
echo "All examples ran."

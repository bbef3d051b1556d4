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

show() {
    printf '\n---- %s\n' "$*"
    example=$1
    shift
    "$directory/examples/$example" "$@" || failed="$failed $example"
}

show person
show squares
show print_numbers
show checksum LICENSE include/mproc/*.h
show crash_proof

echo
if [ -n "$failed" ]; then
    echo "These examples failed:$failed"
    exit 1
fi
echo "All examples ran."

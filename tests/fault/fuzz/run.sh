#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh tests/fault/fuzz/run.sh [-runs=N | -max_total_time=SECONDS] [TARGET...]: build each fuzz target
# with clang, ASan and UBSan, and run it from its seeds; 20 seconds each, and all of them, if not told
# otherwise.
#
# A finding stops the target and leaves its input in the directory of the build, MPROC_BUILD_DIR or
# build/fuzz in the tree; what was mended stays as a seed in <target>.seeds.  The last line is
# `N passed, M failed`.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd) || exit
build=${MPROC_BUILD_DIR:-$root/build/fuzz}
here=$root/tests/fault/fuzz
compiler=$(command -v clang-14 || command -v clang) || {
    echo "There is no clang."
    exit 77
}
limit=-max_total_time=20
case "${1:-}" in
-*)
    limit=$1
    shift
    ;;
esac
[ $# -gt 0 ] || set -- cpu arrivals supervise calls

# A small build, so that tags come round and slots run out.  Memory, time, processes and what watches
# them are the target's.
flags="-g -O1 -std=c11 -D_XOPEN_SOURCE=700 -D_DEFAULT_SOURCE -DMP_SLOTS=64 -DMP_TAG_BITS=4 -DMP_QUEUE_SIZE=8 -pthread
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
    -Isrc -Iinclude -Itests/fault/fuzz"
host="tests/fault/fuzz/world.c src/error.c src/options.c src/cpu.c src/os/fd.c src/os/fd_linux.c
    src/os/fork.c src/os/bond_linux.c src/os/cpu_posix.c src/os/code_posix.c src/shm/arena.c
    src/shm/bell.c src/shm/region.c src/shm/queue.c src/shm/word.c src/pool/pool.c src/pool/generation.c src/pool/shared.c
    src/pool/worker.c src/pool/run.c src/pool/submit.c src/pool/gather.c src/pool/wait.c src/pool/chunk.c
    src/pool/future.c src/pool/map.c src/pool/section.c src/pool/bytes.c
    src/pool/loop.c src/pool/inline.c src/pool/meter.c src/pool/progress.c src/pool/diary.c src/failure.c src/env.c src/line.c src/os/terminal.c src/os/usage.c
    src/os/privilege.c"

passed=0
failed=0
cd "$root" || exit
mkdir -p "$build" || exit
for target; do
    sources=$host
    [ "$target" = cpu ] && sources=
    mkdir -p "$build/$target.corpus"
    # shellcheck disable=SC2086
    if "$compiler" $flags $sources "$here/$target.c" -o "$build/$target" &&
        "$build/$target" "$limit" -max_len=500 -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 \
            -verbosity=0 -artifact_prefix="$build/$target-" "$build/$target.corpus" "$here/$target.seeds"; then
        passed=$((passed + 1))
        echo "fuzz $target: no finding"
    else
        failed=$((failed + 1))
        echo "fuzz $target: FAILED"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

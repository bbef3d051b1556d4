#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh tests/coverage.sh DIRECTORY [LINES BRANCHES]: build with clang's coverage in DIRECTORY, run every
# test, print how much of src/ has run, and which lines have not; fail below so many percent.
#
# The counters lie in a mapped file that forks share (continuous mode), so that what ran in a child
# counts also when that was killed.
#
# What the suite leaves, and why:
#   errors of system calls and of malloc    the short form of fault_calls strikes a sample of them, its
#                                           long form each
#   no memory for a page (bury.c, chunk.c)  fault_limits has it in the POSIX build, whose memory lies in
#                                           a file system that can be made small
#   other kernels and machines              no close_range, a pidfd without an inode of its own, no /proc,
#                                           nested cgroup namespaces, more CPUs than workers may be
#   two ends that meet within microseconds  a worker or a process that ends just as it is looked at;
#                                           fault_hostile and fault_crash_points meet them now and then
#   sizes beyond the address space          where the checks before leave nothing that could overflow
#   what cannot be                          such lines say so

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit
directory=$1
lines=${2:-97}
branches=${3:-90}
rm -rf "$directory/profile"
mkdir -p "$directory" && directory=$(CDPATH='' cd -- "$directory" && pwd) || exit

# The tools of the same version as the compiler, which Debian names with it.
version=-$(clang -dumpversion | sed 's/\..*//')
command -v "llvm-cov$version" >/dev/null || version=

export LLVM_PROFILE_FILE="$directory/profile/%m%c.profraw"
flags='-fprofile-instr-generate -fcoverage-mapping -fprofile-update=atomic'
MPROC_BUILD_DIR=$directory sh "$root/tests/run.sh" -DCMAKE_C_COMPILER=clang \
    "-DCMAKE_C_FLAGS=$flags -mllvm -runtime-counter-relocation" -DMPROC_TEST_SLOWNESS=2 \
    -DMPROC_HAVE_FILE_PREFIX_MAP=OFF -DMPROC_TEST_PACKAGE=OFF >"$directory/tests.log"
status=$?
tail -n 1 "$directory/tests.log"
[ $status -eq 0 ] || cat "$directory/tests.log"

cd "$directory/run-tests" || exit
"llvm-profdata$version" merge -o all.profdata ../profile/*.profraw || exit
# The first of the test programs is the one that llvm-cov takes without -object.
set --
for program in tests/*_test tests/fault/fault_*; do
    [ -x "$program" ] && set -- "$@" ${1:+-object} "$program"
done
"llvm-cov$version" show "$@" -instr-profile=all.profdata 2>/dev/null |
    awk '
        /^[^ ].*:$/ { file = sub(".*/src/", "src/") ? $0 : "" }
        /^ +[0-9]+\| +0\|/ && file != "" {
            split($0, part, "|")
            text = substr($0, length(part[1]) + length(part[2]) + 3)
            if (text !~ /^ *}? *$/)
                printf "%s%d:%s\n", file, part[1], text
        }'
"llvm-cov$version" report "$@" -instr-profile=all.profdata 2>/dev/null |
    awk -v least_lines="$lines" -v least_branches="$branches" '
        $1 ~ "(^|/)src/.*[.][ch]$" {
            total += $8
            missed += $9
            outcomes += $11
            untaken += $12
        }
        END {
            if (!total)
                exit 1
            share = 100 * (total - missed) / total
            taken = 100 * (outcomes - untaken) / outcomes
            printf "%.1f %% of %d lines, %.1f %% of %d branches\n", share, total, taken, outcomes
            exit share < least_lines || taken < least_branches
        }' && [ $status -eq 0 ]

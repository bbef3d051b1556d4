#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh tests/run.sh [--long] [CMAKE-ARGUMENT...]: install what is missing, build, run every test; with
# --long the full figures, which takes hours.
#
# The last line is `N passed, M failed`: each cmocka test counts as one, and so does each script.
# From the environment: MPROC_BUILD_DIR, where to build (build/ in the tree); MPROC_TEST_JOBS, how many
# test programs run at once (1: some of them measure time).

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit
. "$root/tests/prepare.sh"

if [ "${1:-}" = --long ]; then
    shift
    set -- -DMPROC_TEST_LONG=ON "$@"
fi

case "$*" in
*MPROC_CMOCKA_LIBRARY=*) need compiler cmake make ;;
*) need compiler cmake make cmocka ;;
esac

# Names of their own below build/: whoever works there with cmake finds his configuration as it was.
mkdir -p "${MPROC_BUILD_DIR:-$root/build}/run-tests" || exit
directory=$(CDPATH='' cd -- "${MPROC_BUILD_DIR:-$root/build}/run-tests" && pwd) || exit
build "$directory" -DMPROC_BUILD_TESTS=ON "$@" || {
    echo "0 passed, 1 failed"
    exit 1
}

cd "$directory" || exit
rm -f ctest.log Testing/Temporary/LastTest.log
ctest --output-on-failure --parallel "${MPROC_TEST_JOBS:-1}" --output-log ctest.log

# ctest.log has a line with the outcome of each program or script, LastTest.log all that they printed.
# A test that began and has no OK has failed, also when the whole program died in it; a program that
# failed without such a test (at its end, say) is one failure more.
awk '
    function end_program() {
        if (name != "") {
            begun[name] = run
            ok[name] = passed
            skips[name] = skipped
        }
        run = passed = skipped = 0
        name = ""
    }
    FILENAME ~ /LastTest.log$/ {
        if ($0 ~ /^[0-9]+\/[0-9]+ Testing: /) {
            end_program()
            name = $3
        }
        if (index($0, "[ RUN      ] "))
            run++
        if (index($0, "[       OK ] "))
            passed++
        if (index($0, "[  SKIPPED ] ") && !index($0, "test(s), listed below"))
            skipped++
        next
    }
    / Test +#[0-9]+: / {
        end_program()
        sub(/^.* Test +#[0-9]+: /, "")
        program = $1
        good = / Passed +[0-9.]+ sec/
        if (/\*\*\*Skipped/) {
            skip_total++
        } else if (begun[program] == 0) {
            pass_total += good
            fail_total += !good
        } else {
            # cmocka names a skipped test twice: where it ran and in the list at the end.
            here = int((skips[program] + 1) / 2)
            failed = begun[program] - ok[program] - here
            if (!good && failed == 0)
                failed = 1
            pass_total += ok[program]
            skip_total += here
            fail_total += failed
        }
        programs++
    }
    END {
        if (programs == 0)
            fail_total = 1
        if (skip_total)
            printf "(%d skipped)\n", skip_total
        printf "%d passed, %d failed\n", pass_total, fail_total
        exit fail_total != 0
    }' Testing/Temporary/LastTest.log ctest.log

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# readme.sh README BUILD: each row of the README's table of languages names tests, and there are such.

rows=$(awk '/^## From other languages/ { on = 1; next } /^## / { on = 0 } on && /^\|/' "$1" | tail -n +3)
# Not by ctest: called in a test it would write over the log of the tests that run.
find "$2" -name CTestTestfile.cmake -exec sed -n 's/^add_test([^f]*\(ffi_[a-z_]*\).*/\1/p' {} + >"$2/ffi_tests"

status=0
count=0
while IFS= read -r row; do
    tests=$(echo "$row" | grep -o '`ffi_[a-z_]*`' | tr -d '`')
    count=$((count + 1))
    [ -n "$tests" ] || { echo "no test: $row" && status=1; }
    for test in $tests; do
        grep -qx "$test" "$2/ffi_tests" || { echo "no such test: $test" && status=1; }
    done
done <<ROWS
$rows
ROWS
[ "$count" -ge 8 ] || { echo "only $count rows" && status=1; }
exit $status

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# pipeline.sh PROGRAM [LAUNCHER...]: pipeline counts what wc counts, wherever its blocks of 64 KiB begin
# and end, from a file and from a pipe, and more than its pool could ever hold.

program=$1
shift
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
cd "$work" || exit
status=0

# same FILE LAUNCHER...
same() {
    file=$1
    shift
    expected=$(LC_ALL=C wc <"$file" | awk '{ print $1, $2, $3 }')
    from_file=$("$@" "$program" <"$file")
    from_pipe=$(cat "$file" | "$@" "$program")
    [ "$from_file" = "$expected" ] && [ "$from_pipe" = "$expected" ] || {
        echo "$file: wc counts $expected, pipeline $from_file, from a pipe $from_pipe"
        status=1
    }
}

# letters COUNT: so many of them.
letters() {
    head -c "$1" /dev/zero | tr '\0' x
}

: >empty
echo one >line
{ letters 65535; echo; letters 65536; echo ' '; } >'a word ends with its block'
{ letters 65536; echo ' and'; letters 65530; } >'a word begins with a block'
letters 300000 >'one word in five blocks'
head -c 200000 /dev/zero | tr '\0' ' ' >'nothing but spaces'
awk 'BEGIN { for (i = 0; i < 40000; i++) print i, i * i % 9973, "" }' >text
[ -z "${MPROC_TEST_VALGRIND-}" ] || rm -f e* o* n* t* *ends* # each takes seconds
for file in *; do
    same "$file" "$@"
done

# The pool's memory is 16 MiB.
if [ -z "${MPROC_TEST_VALGRIND-}" ]; then
    for i in 1 2 3 4 5 6 7 8 9; do cat text text text text text; done >'a long text'
    [ "$(wc -c <'a long text')" -gt 20000000 ] || status=1
    same 'a long text' "$@"
fi

"$@" "$program" <"$work" 2>messages && {
    echo 'a directory: exit status 0'
    status=1
}
exit $status

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# untrusted.sh PROGRAM [LAUNCHER...]: bad files are reported, each as what it is, and the others are
# decoded, all in the order of the arguments.

program=$1
shift
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
cd "$work" || exit

printf 'L\7Hello, C\7\14L\1!E' >hello
printf 'L\100too short' >torn
printf 'L\2haC\2\10L\1!E' >laugh
printf 'G\000' >hang
printf 'L\5abcdeC\377\377\377\377\377\377\377\377\77\1E' >crash
printf 'L\1aC\1\377\377\177G\000' >glutton
printf 'L\1aC\1\200\200\110E' >long

cat >expected <<'END'
hello: Hello, Hello, Hello!
torn: the task failed: Invalid argument
missing: the task failed: No such file or directory
hang: the task was killed at its time limit
laugh: hahahahaha!
END

# What reports the decoder's bugs instead of letting them happen is not shown those.
if [ -n "${MPROC_TEST_VALGRIND-}${ASAN_OPTIONS-}" ]; then
    set -- "$@" "$program" hello torn missing hang laugh
else
    cat >>expected <<'END'
crash: the worker died while it ran the task, by signal 11
glutton: the task failed: Cannot allocate memory
long: the task failed: File too large
hello: Hello, Hello, Hello!
crash: the worker died while it ran the task, by signal 11
laugh: hahahahaha!
END
    set -- "$@" "$program" hello torn missing hang laugh crash glutton long hello crash laugh
fi
"$@" >printed || {
    echo "untrusted: exit status $?"
    exit 1
}
# glibc and musl have different words for these.
sed 's/Out of memory/Cannot allocate memory/' printed | diff expected -

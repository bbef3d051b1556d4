#!/bin/sh
# SPDX-License-Identifier: MIT
#
# examples.sh PROGRAM [LAUNCHER...]: an example prints what it should, to a pipe and to a file.
#
# What it should print is in examples/<name>.expected beside this script; an example that takes more
# than that has examples/<name>.sh, which is given the same arguments.

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/examples || exit
program=$1
name=$(basename "$program")
if [ -f "$here/$name.sh" ]; then
    exec sh "$here/$name.sh" "$@"
fi
shift

work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
cd "$work" || exit

# The processes of print_numbers end in any order.
in_order() {
    case $name in
    print_numbers) sort ;;
    *) cat ;;
    esac
}

status=0

# compare WHERE STATUS FILE
compare() {
    if [ "$2" -ne 0 ]; then
        echo "$name, to a $1: exit status $2"
        status=1
    fi
    in_order <"$3" >printed
    diff "$here/$name.expected" printed || {
        echo "$name, to a $1: expected (<) and printed (>) differ"
        status=1
    }
}

"$@" "$program" >file
compare file $? file
{ "$@" "$program"; echo $? >pipe_status; } | cat >pipe
compare pipe "$(cat pipe_status)" pipe
exit $status

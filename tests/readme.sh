#!/bin/sh
# SPDX-License-Identifier: MIT
# readme.sh README LIBRARY CC [CFLAGS]: each ```c program of the README is compiled and run, and must print
# the block without a language that follows it.
set -eu

readme=$1 library=$2 cc=$3 flags=${4-}
include=$(dirname "$readme")/include
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Programs go to N.c, and the first plain block after each to N.expected.
awk -v dir="$work" '
    /^```/ && file != "" { close(file); file = ""; next }
    /^```c$/             { n++; file = dir "/" n ".c"; wanted = 1; next }
    /^```$/ && wanted    { file = dir "/" n ".expected"; wanted = 0; next }
    /^```/               { file = "/dev/null"; next }
    file != ""           { print > file }
' "$readme"

count=0
for program in "$work"/*.c; do
    name=${program%.c}
    # shellcheck disable=SC2086 # flags are several words
    "$cc" -std=c11 -Wall -Wextra -Werror $flags -I"$include" -o "$name" "$program" "$library" -lpthread
    "$name" >"$name.printed"
    diff "$name.expected" "$name.printed"
    count=$((count + 1))
done
[ "$count" -ge 2 ] || { echo "no programs found in $readme" >&2; exit 1; }

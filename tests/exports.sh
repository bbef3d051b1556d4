#!/bin/sh
# SPDX-License-Identifier: MIT
#
# exports.sh TREE LIBRARY: what the shared library exports is what the headers name, no more and no
# less.

cd "$1" || exit
exported=$({ nm -D --defined-only "$2" 2>/dev/null || nm -gU "$2" | sed 's/ _/ /'; } |
    awk '$2 != "A" { sub(/@.*/, "", $NF); print $NF }' | sort)
declared=$(cat include/mproc/*.h | grep -o 'mproc_[a-z0-9_]*(' | tr -d '(' | sort -u)

if [ -z "$exported" ]; then
    echo "$2 exports nothing"
    exit 1
fi
if [ "$exported" != "$declared" ]; then
    echo "The headers (<) and the library (>) differ:"
    work=$(mktemp -d) || exit
    trap 'rm -rf "$work"' EXIT
    echo "$declared" >"$work/declared"
    echo "$exported" >"$work/exported"
    diff "$work/declared" "$work/exported"
    exit 1
fi

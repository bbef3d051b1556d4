#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh WHAT LANGUAGE LIBMPROC LIBTASKS COMPILER: with one language, by the shared library LIBMPROC
#
#   tour      the program of examples/ffi prints what it does in all the others
#   closures  what the README says of its closures (closures.* beside this script)
#   headers   it takes the headers as they are, preprocessed
#   pool      (python) CPython's own tests of multiprocessing.Pool, against ours
#
# Exit code 77 when the language is not installed, or 1 with MPROC_TEST_FFI_ALL=1.  NODE_PATH tells
# where Node finds koffi.

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit
examples=$here/../../examples/ffi
include=$here/../../include
what=$1
language=$2
libmproc=$3
libtasks=$4
compiler=$5
libraries=$(dirname -- "$libmproc")

export PYTHONDONTWRITEBYTECODE=1 # the tree stays as it is

work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT

missing() {
    echo "not installed: $*" >&2
    [ "${MPROC_TEST_FFI_ALL:-0}" = 1 ] && exit 1
    exit 77
}

# find_command NAME...: sets command to the first that is there and has what its program needs.
find_command() {
    for command in "$@"; do
        command -v "$command" >/dev/null || continue
        probe "$command" 2>/dev/null >&2 && return
    done
    missing "$language"
}

probe() {
    case $language in
    python) "$1" -c 'import sys, ctypes; sys.exit(sys.version_info < (3, 8))' ;;
    cffi) "$1" -c 'import cffi' ;;
    luajit) "$1" -e 'require("ffi")' ;;
    ruby) "$1" -e 'require "fiddle/import"' ;;
    perl) "$1" -MFFI::Platypus -e 1 ;;
    node) "$1" -e 'require("koffi")' ;;
    go) [ "$(GOCACHE=$work "$1" env CGO_ENABLED)" = 1 ] ;;
    rust) "$1" --version ;;
    esac
}

# A program that needs no more than the two libraries.
start() {
    case $language in
    python) find_command python3 /usr/bin/python3 && set -- "$command" "$1.py" ;;
    cffi) find_command python3 /usr/bin/python3 && set -- "$command" "$1_cffi.py" ;;
    luajit) find_command luajit && set -- "$command" "$1.lua" ;;
    ruby) find_command ruby && set -- "$command" "$1.rb" ;;
    perl) find_command perl && set -- "$command" "$1.pl" ;;
    node) find_command node nodejs && set -- "$command" "$1.js" ;;
    esac
    "$@" "$libmproc" "$libtasks"
}

tour() {
    case $language in
    go)
        find_command go
        GOCACHE=$work/cache GO111MODULE=off CGO_CFLAGS=-I$include \
            CGO_LDFLAGS="-L$libraries -lmproc -Wl,-rpath,$libraries" \
            "$command" build -o "$work/tour" "$examples/tour.go" && "$work/tour" "$libtasks"
        ;;
    rust)
        find_command rustc
        "$command" -o "$work/tour" "$examples/tour.rs" -L "$libraries" \
            -C "link-arg=-Wl,-rpath,$libraries" && "$work/tour" "$libtasks"
        ;;
    *) start "$examples/tour" ;;
    esac
}

# What is the system's is left out: a foreign-function library has the types, and struct iovec it is
# given.
headers() {
    mkdir -p "$work/system/sys"
    for header in stddef.h stdint.h sys/uio.h; do
        : >"$work/system/$header"
    done
    {
        echo 'struct iovec { void *iov_base; size_t iov_len; };'
        echo '#include <mproc/mproc.h>' |
            $compiler -nostdinc -I"$work/system" -I"$include" -x c -E -P -
    } >"$work/headers" || exit
    grep -q mproc_pool_map_bytes "$work/headers" || exit
    case $language in
    luajit)
        find_command luajit
        "$command" - "$libmproc" "$work/headers" <<'LUA'
local ffi = require("ffi")
ffi.cdef(io.open(arg[2]):read("*a"))
local mproc, value = ffi.load(arg[1]), ffi.new("int64_t[1]")
for _, type in ipairs { "mproc_pool_options", "mproc_map_options", "mproc_failure" } do
    assert(mproc.mproc_constant("sizeof(" .. type .. ")", value) == 0 and value[0] == ffi.sizeof(type), type)
end
assert(mproc.MPROC_ECRASHED == -10002)
LUA
        ;;
    cffi)
        find_command python3 /usr/bin/python3
        "$command" - "$libmproc" "$work/headers" <<'PYTHON'
import sys
from cffi import FFI
ffi = FFI()
ffi.cdef(open(sys.argv[2]).read())
mproc, value = ffi.dlopen(sys.argv[1]), ffi.new("int64_t *")
for type in "mproc_pool_options", "mproc_map_options", "mproc_failure":
    assert mproc.mproc_constant(f"sizeof({type})".encode(), value) == 0 and value[0] == ffi.sizeof(type), type
assert mproc.MPROC_ECRASHED == -10002
PYTHON
        ;;
    esac
}

case $what in
tour)
    tour >"$work/printed"
    status=$?
    diff "$here/tour.expected" "$work/printed" || {
        echo "$language: expected (<) and printed (>) differ"
        status=1
    }
    exit $status
    ;;
closures) start "$here/closures" ;;
headers) headers ;;
pool)
    find_command python3 /usr/bin/python3
    MPROC_LIBRARY=$libmproc "$command" "$here/pool_tests.py"
    status=$?
    [ $status -eq 77 ] && missing "CPython's tests"
    exit $status
    ;;
esac

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh BUILD-DIRECTORY COMPILER [FLAGS]: install into a place that the build did not know of, and use
# the library from there as the README says: with CMake, with pkg-config, and with the bare compiler.

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit
built=$1
compiler=$2
flags=$3
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
status=0

# Flags are several words, and the programs of all three ways must find the shared library.
try() {
    way=$1
    shift
    printed=$("$@" 2>&1)
    if [ "$printed" != 7 ]; then
        echo "$way: expected 7, printed: $printed"
        status=1
    fi
}

run_with_library() {
    LD_LIBRARY_PATH=$libdir DYLD_LIBRARY_PATH=$libdir "$@"
}

cmake --install "$built" --prefix "$prefix" >/dev/null || exit
libdir=$(dirname "$(find "$prefix" -name libmproc.a)")

if cmake -S "$here" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$compiler" \
    -DCMAKE_C_FLAGS="$flags" >"$work/log" 2>&1 && cmake --build "$work/cmake" >>"$work/log" 2>&1; then
    for kind in static shared mproc; do
        try "CMake, $kind" run_with_library "$work/cmake/consumer_$kind"
    done
else
    cat "$work/log"
    status=1
fi

if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH="$libdir/pkgconfig"
    $compiler $flags "$here/consumer.c" -o "$work/pc" $(pkg-config --cflags --libs libmproc)
    try "pkg-config" run_with_library "$work/pc"
    [ "$(cd "$(pkg-config --variable=libdir libmproc)" && pwd -P)" = "$(cd "$libdir" && pwd -P)" ] || {
        echo "pkg-config gives the libdir $(pkg-config --variable=libdir libmproc)"
        status=1
    }
else
    echo "pkg-config is not here; that way was not tried"
fi

$compiler $flags -I"$prefix/include" "$here/consumer.c" "$libdir/libmproc.a" -pthread -o "$work/cc"
try "cc with the static library" "$work/cc"
$compiler $flags -I"$prefix/include" "$here/consumer.c" -L"$libdir" -lmproc -o "$work/cc_shared"
try "cc with the shared library" run_with_library "$work/cc_shared"

exit $status

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# musl.sh: the static library for musl, installed, and a program that is wholly static.

. "$(dirname -- "$0")/support.sh"
need cmake musl-gcc
compiler=musl-gcc
flags=

succeeds build configured "$root" "$work/build" -DMPROC_BUILD_TESTS=OFF -DMPROC_BUILD_EXAMPLES=OFF \
    -DMPROC_SHARED=OFF -DCMAKE_BUILD_TYPE=Debug &&
    succeeds build cmake --build "$work/build" &&
    succeeds install cmake --install "$work/build" --prefix "$work/prefix" || exit
libdir=$(libdir_below "$work/prefix")

succeeds find_package configured "$here/installed" "$work/cmake" -DCMAKE_EXE_LINKER_FLAGS=-static -DLANGUAGE=C \
    -DCMAKE_PREFIX_PATH="$work/prefix" -DLINK=mproc -DVERSION=0.1 &&
    succeeds find_package cmake --build "$work/cmake" &&
    runs find_package "$work/cmake/consumer_mproc"

need pkg-config
succeeds pkg-config compiled -static "$here/consumer.c" \
    $(PKG_CONFIG_PATH="$libdir/pkgconfig" pkg-config --static --cflags --libs libmproc) -o "$work/static" &&
    runs pkg-config "$work/static"
exit $status

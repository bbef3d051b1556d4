#!/bin/sh
# SPDX-License-Identifier: MIT
#
# twice.sh PREFIX COMPILER [FLAGS]: two builds of two copies of the source, in folders that have nothing
# in common, are equal byte by byte.  They are also installed in other places: staged for a package, with
# the directories of a distribution; and with an absolute directory for the libraries, or the headers.

. "$(dirname -- "$0")/support.sh"
need cmake cmp

# build_copy SOURCE BUILD [CMAKE-ARGUMENT...]
build_copy() {
    source=$1
    build=$2
    shift 2
    mkdir -p "$source" && cp -R "$root/CMakeLists.txt" "$root/include" "$root/src" "$source" || exit
    succeeds "$source" configured "$source" "$build" -DMPROC_BUILD_TESTS=OFF -DMPROC_BUILD_EXAMPLES=OFF "$@" &&
        succeeds "$source" cmake --build "$build" || exit
}

build_copy "$work/one/source" "$work/one/build" -DCMAKE_INSTALL_PREFIX="$work/one/usr" \
    -DCMAKE_INSTALL_LIBDIR="$work/one/libraries"
build_copy "$work/the other/deeper" "$work/elsewhere" -DCMAKE_INSTALL_PREFIX=/usr \
    -DCMAKE_INSTALL_LIBDIR=lib/some-machine
for library in libmproc.a libmproc.so; do
    [ -e "$work/one/build/$library" ] || continue
    cmp "$work/one/build/$library" "$work/elsewhere/$library" || fail "$library depends on where it is built"
done

# ---- where they are installed ------------------------------------------------------------------------

# found WHAT LIBDIR INCLUDEDIR: pkg-config leads there, and so does CMake.
found() {
    export PKG_CONFIG_PATH="$2/pkgconfig"
    if command -v pkg-config >/dev/null; then
        [ "$(cd "$(pkg-config --variable=libdir libmproc)" && pwd -P)" = "$2" ] &&
            [ "$(cd "$(pkg-config --variable=includedir libmproc)" && pwd -P)" = "$3" ] ||
            fail "$1: pkg-config says $(pkg-config --cflags --libs libmproc)"
        succeeds "$1, pkg-config" compiled "$here/consumer.c" $(pkg-config --cflags --libs libmproc) \
            -o "$work/consumer" && runs "$1, pkg-config" env LD_LIBRARY_PATH="$2" "$work/consumer"
    fi
    succeeds "$1, find_package" configured "$here/installed" "$work/consumer.$1" -DLANGUAGE=C \
        -Dmproc_DIR="$2/cmake/mproc" -DLINK=mproc -DVERSION=0.1 &&
        succeeds "$1, find_package" cmake --build "$work/consumer.$1" &&
        runs "$1, find_package" "$work/consumer.$1/consumer_mproc"
}

succeeds staged env DESTDIR="$work/stage" cmake --install "$work/elsewhere" &&
    found staged "$work/stage/usr/lib/some-machine" "$work/stage/usr/include"
succeeds absolute_libdir cmake --install "$work/one/build" &&
    found absolute_libdir "$work/one/libraries" "$work/one/usr/include"
succeeds absolute_includedir cmake "$work/one/build" -DCMAKE_INSTALL_PREFIX="$work/two" \
    -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_INSTALL_INCLUDEDIR="$work/headers" &&
    succeeds absolute_includedir cmake --install "$work/one/build" &&
    found absolute_includedir "$work/two/lib" "$work/headers"
exit $status

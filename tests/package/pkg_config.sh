#!/bin/sh
# SPDX-License-Identifier: MIT
#
# pkg_config.sh PREFIX COMPILER [FLAGS]: a plain compiler finds the moved library by pkg-config, shared and
# static; and without it, as the README says.

. "$(dirname -- "$0")/support.sh"
libdir=$(libdir_below "$prefix")

with_library() {
    LD_LIBRARY_PATH=$libdir DYLD_LIBRARY_PATH=$libdir "$@"
}

succeeds 'cc, static' compiled -I"$prefix/include" "$here/consumer.c" "$libdir/libmproc.a" -lpthread \
    -o "$work/cc_static" && runs 'cc, static' "$work/cc_static"
succeeds 'cc, shared' compiled -I"$prefix/include" "$here/consumer.c" -L"$libdir" -lmproc -o "$work/cc_shared" &&
    runs 'cc, shared' with_library "$work/cc_shared"

need pkg-config
export PKG_CONFIG_PATH="$libdir/pkgconfig"
succeeds 'pkg-config' compiled "$here/consumer.c" $(pkg-config --cflags --libs libmproc) -o "$work/shared" &&
    runs 'pkg-config' with_library "$work/shared"
if [ "$(uname)" = Linux ]; then
    succeeds 'pkg-config --static' compiled -static "$here/consumer.c" \
        $(pkg-config --static --cflags --libs libmproc) -o "$work/static" &&
        runs 'pkg-config --static' "$work/static"
fi

version=$(sed -n 's/^project(mproc VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")
[ "$(pkg-config --modversion libmproc)" = "$version" ] || fail "libmproc.pc is not of version $version"
for variable in libdir includedir; do
    value=$(pkg-config --variable=$variable libmproc)
    case $variable in
    libdir) there=$libdir ;;
    includedir) there=$prefix/include ;;
    esac
    [ "$(cd "$value" && pwd -P)" = "$(cd "$there" && pwd -P)" ] || fail "libmproc.pc gives the $variable $value"
done
exit $status

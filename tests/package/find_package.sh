#!/bin/sh
# SPDX-License-Identifier: MIT
#
# find_package.sh PREFIX COMPILER [FLAGS]: CMake finds the moved library, with each component and without,
# for C and for C++.

. "$(dirname -- "$0")/support.sh"
need cmake

# consumer NAME LINK [CMAKE-ARGUMENT...]: a project that asks as the arguments say.
consumer() {
    name=$1
    link=$2
    shift 2
    succeeds "$name" configured "$here/installed" "$work/$name" -DCMAKE_PREFIX_PATH="$prefix" \
        "-DLINK=$link" -DVERSION=0.1 "$@" || return
    succeeds "$name" cmake --build "$work/$name" || return
    for kind in $(echo "$link" | tr ';' ' '); do
        runs "$name, $kind" "$work/$name/consumer_$kind"
    done
}

# needs_library PROGRAM: has it been linked with the shared library?  Then it names it.
needs_library() {
    LC_ALL=C grep -q -e 'libmproc\.so' -e 'libmproc\.[0-9]' "$1"
}

consumer any 'mproc;static;shared' -DLANGUAGE=C
needs_library "$work/any/consumer_mproc" && fail "mproc::mproc is not the static library"
needs_library "$work/any/consumer_static" && fail "mproc::static is not the static library"
needs_library "$work/any/consumer_shared" || fail "mproc::shared is not the shared library"

consumer any_shared mproc -DLANGUAGE=C -DBUILD_SHARED_LIBS=ON
needs_library "$work/any_shared/consumer_mproc" || fail "BUILD_SHARED_LIBS does not choose the shared library"

consumer static 'mproc;static' -DLANGUAGE=C -DCOMPONENTS=static -DBUILD_SHARED_LIBS=ON
needs_library "$work/static/consumer_mproc" && fail "the component static does not choose the static library"

if command -v "${CXX:-c++}" >/dev/null; then
    consumer shared 'mproc;static;shared' -DLANGUAGE=CXX -DCOMPONENTS=shared
    needs_library "$work/shared/consumer_mproc" ||
        fail "the component shared does not choose the shared library"
else
    echo "no C++ compiler here: that consumer was not built"
    consumer shared 'mproc;shared' -DLANGUAGE=C -DCOMPONENTS=shared
fi

# ---- what is not there is not found ------------------------------------------------------------------

# A prefix with one kind alone, as a distribution may have it.
for kind in static shared; do
    cp -R "$prefix" "$work/only_$kind" || exit
done
find "$work/only_static" \( -name 'mproc-shared-*' -o -name 'libmproc.so*' -o -name 'libmproc*.dylib' \) \
    -exec rm {} +
find "$work/only_shared" \( -name 'mproc-static-*' -o -name libmproc.a \) -exec rm {} +

# asked KIND [CMAKE-ARGUMENT...]: configure, in the build of a consumer that stands, to be quick, with
# what is installed of KIND alone, or all of it.
asked() {
    case $1 in
    all) at=$prefix ;;
    *) at=$work/only_$1 ;;
    esac
    shift
    cmake "$work/any" -Dmproc_DIR="$(dirname "$(find "$at" -name mproc-config.cmake)")" -DLINK=mproc \
        -DCOMPONENTS= -DVERSION= "$@"
}

# refused WHAT REASON KIND [CMAKE-ARGUMENT...]
refused() {
    what=$1
    reason=$2
    shift 2
    if asked "$@" >"$work/log" 2>&1; then
        fail "$what was found"
    elif ! grep -q "$reason" "$work/log"; then
        cat "$work/log"
        fail "$what was refused, but does not say '$reason'"
    fi
}

succeeds 'any kind and version' asked all
succeeds 'any kind, where there is only static' asked static -DBUILD_SHARED_LIBS=ON
succeeds 'any kind, where there is only shared' asked shared -DBUILD_SHARED_LIBS=OFF
succeeds 'static, where there is only static' asked static -DCOMPONENTS=static
succeeds 'this minor version' asked all -DVERSION=0.1.0
refused 'shared, where there is only static,' 'component shared is not' static -DCOMPONENTS=shared
refused 'static, where there is only shared,' 'component static is not' shared -DCOMPONENTS=static
refused 'a component of no such name' 'component other is not' all -DCOMPONENTS=other
refused 'a later version' 'version "0.2"' all -DVERSION=0.2
refused 'a later patch' 'version "0.1.9"' all -DVERSION=0.1.9
refused 'an incompatible version' 'version "0.0"' all -DVERSION=0.0

exit $status

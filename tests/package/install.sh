#!/bin/sh
# SPDX-License-Identifier: MIT
#
# install.sh BUILD PREFIX: install a build below PREFIX, for the other scripts, each component by itself,
# and look whether each brings what it should.  What is installed there is then moved, so that whoever
# finds it has found it without a path from the installation.

unset DESTDIR
build=$1
prefix=$2
status=0

fail() {
    echo "$*"
    status=1
}

files_below() {
    (cd "$1" && find . ! -type d | sort)
}

rm -rf "$prefix" "$prefix".*
for component in Runtime Development; do
    cmake --install "$build" --prefix "$prefix.$component" --component $component >/dev/null || exit
done
cmake --install "$build" --prefix "$prefix.before" >/dev/null || exit

runtime=$(files_below "$prefix.Runtime")
development=$(files_below "$prefix.Development")
for file in $runtime; do
    case $file in
    */libmproc.so.[0-9]* | */libmproc.[0-9]*.dylib) ;;
    *) fail "Runtime brings $file" ;;
    esac
done
[ -n "$runtime" ] || fail "Runtime brings nothing"
for file in libmproc.a libmproc.pc include/mproc/mproc.h mproc-config.cmake mproc-config-version.cmake \
    man3/mproc_pool_map.3 man7/libmproc.7; do
    case $development in
    *"/$file"*) ;;
    *) fail "Development does not bring $file" ;;
    esac
done
case $development in
*/libmproc.so | */libmproc.so[!.]* | */libmproc.dylib*) ;;
*) fail "Development does not bring the name that -lmproc finds" ;;
esac
both=$(printf '%s\n%s\n' "$runtime" "$development" | sort)
[ "$both" = "$(files_below "$prefix.before")" ] || fail "the components together are not the whole"

rm -rf "$prefix.Runtime" "$prefix.Development"
mv "$prefix.before" "$prefix" || exit
exit $status

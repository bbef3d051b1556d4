#!/bin/sh
# SPDX-License-Identifier: MIT
#
# embedded.sh PREFIX COMPILER [FLAGS]: a project that takes the source into its own build, by FetchContent
# or add_subdirectory, gets the library and nothing else: no test, no flag, no build type, nothing to
# install.  The second project is optimized at link time, as a whole.

. "$(dirname -- "$0")/support.sh"
need cmake

# embed NAME LINK [CMAKE-ARGUMENT...]
embed() {
    name=$1
    link=$2
    build=$work/$name
    shift 2
    succeeds "$name" configured "$here/embedded" "$build" "-DLINK=$link" \
        -DCMAKE_EXPORT_COMPILE_COMMANDS=ON "$@" || return
    succeeds "$name" cmake --build "$build" || return

    programs=$(echo "$link" | tr ';' ' ')
    for kind in $programs; do
        runs "$name, $kind" "$build/consumer_$kind"
    done

    tests=$(cd "$build" && ctest -N | sed -n 's/^ *Test *#[0-9]*: //p' | sort | tr '\n' ' ')
    expected=$(printf 'consumer_%s\n' $programs | sort | tr '\n' ' ')
    [ "$tests" = "$expected" ] || fail "$name has the tests $tests"

    succeeds "$name" cmake --install "$build" --prefix "$build/prefix"
    installed=$(cd "$build/prefix" && find . ! -type d | sed 's|.*/||' | sort | tr '\n' ' ')
    [ "$installed" = "$expected" ] || fail "$name installs $installed"

    # The project's cache has no settings of ours but those with a prefix.
    settings=$(sed -n 's/^\([A-Za-z0-9_]*\):[A-HJ-Z].*/\1/p' "$build/CMakeCache.txt" |
        grep -v -e '^CMAKE_' -e '^[A-Z]*$' -e '^BUILD_SHARED_LIBS$' -e '^FETCHCONTENT_' -e '^mproc_' -e '^MPROC_' \
            -e '^consumer_' | tr '\n' ' ')
    [ -z "$settings" ] || fail "$name has the settings $settings"

    # Of what the consumer is compiled with, and the library, only these may come from us.
    flagged=$(sed -n 's/^ *"command": "//p' "$build/compile_commands.json" | tr ' ' '\n' |
        grep -e '^-[WgO]' -e '^-std' -e '^-D' -e '^-f' | sort -u |
        grep -v -x -e "-std=c11" -e '-D_XOPEN_SOURCE=700' -e '-fPIC' -e '-fvisibility=hidden' \
            -e '-ffile-prefix-map=.*' -e '-fno-plt' -e '-flto.*' -e '-fno-fat-lto-objects' -e '-O3' -e '-DNDEBUG' |
        tr '\n' ' ')
    [ -z "$flagged" ] || fail "$name is compiled with $flagged"
    flagged=$(grep '"command".*consumer\.c' "$build/compile_commands.json" |
        grep -e ' -std' -e ' -D_' -e ' -fvisib' -e '-prefix-map')
    [ -z "$flagged" ] || fail "$name: the consumer itself is compiled so: $flagged"
}

flags_before=$flags
flags=
embed fetched mproc -DFETCHCONTENT_SOURCE_DIR_MPROC="$root" -DFETCHCONTENT_FULLY_DISCONNECTED=ON
grep -q '^CMAKE_BUILD_TYPE:[A-Z]*=$' "$work/fetched/CMakeCache.txt" || fail 'fetched: a build type was chosen'
[ -z "$(find "$work/fetched" -name 'libmproc.so*')" ] ||
    fail 'fetched: the shared library was built though nothing is linked with it'

embed subdirectory 'static;shared' -DSOURCE="$root" -DBUILD_SHARED_LIBS=ON -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON
grep '"command".*worker\.c' "$work/subdirectory/compile_commands.json" | grep -q -e '-flto' ||
    fail 'subdirectory: not optimized at link time'
flags=$flags_before
if command -v nm >/dev/null; then
    shared=$(find "$work/subdirectory/mproc" -name 'libmproc.so' -o -name 'libmproc.dylib')
    succeeds 'exports, optimized at link time' sh "$root/tests/exports.sh" "$root" "$shared"
fi
exit $status

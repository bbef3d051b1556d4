#!/bin/sh
# SPDX-License-Identifier: MIT
#
# elf.sh PREFIX COMPILER [FLAGS]: what stands in the files that are installed, as a packager looks at them.

. "$(dirname -- "$0")/support.sh"
need readelf nm
libdir=$(libdir_below "$prefix")
library=$libdir/libmproc.so
[ -e "$library" ] || skip 'there is no libmproc.so'

# ---- the shared library ------------------------------------------------------------------------------

dynamic() {
    readelf -d "$library" | sed -n "s/.*($1).*\[\(.*\)\]/\1/p"
}

soname=libmproc.so.$(sed -n 's/^set(abi_version \([0-9]*\))/\1/p' "$root/CMakeLists.txt")
[ "$(dynamic SONAME)" = "$soname" ] || fail "the SONAME is $(dynamic SONAME), not $soname"
[ "$(readlink "$library")" = "$soname" ] || fail "libmproc.so is a link to $(readlink "$library")"
case $(readlink "$libdir/$soname") in
"$soname".[0-9]*) ;;
*) fail "$soname is a link to $(readlink "$libdir/$soname")" ;;
esac

# The C library, of which the dynamic linker is a part; before glibc 2.34 it has parts of other names.
foreign=$(dynamic NEEDED | grep -v -e '^libc\.' -e '^ld-linux' -e '^ld64\.' -e '^ld-musl')
case $(getconf GNU_LIBC_VERSION 2>/dev/null) in
'glibc 2.'[0-9] | 'glibc 2.'[12][0-9] | 'glibc 2.3'[0-3])
    foreign=$(echo "$foreign" | grep -v -e '^libpthread\.' -e '^librt\.' -e '^libdl\.')
    ;;
esac
[ -z "$foreign" ] || fail "it needs $foreign"
readelf -d "$library" | grep -e RPATH -e RUNPATH && fail 'it has a path of its own to look for libraries'
readelf -d "$library" | grep TEXTREL && fail 'it is not position-independent'
readelf -lW "$library" | grep 'GNU_STACK.*E' && fail 'it wants a stack that can be executed'

# Each function says with which release it came, and each release stands on the one before it.
unversioned=$(nm -D --defined-only "$library" | awk '$2 != "A" { print $NF }' | grep -v '@@MPROC_[0-9]')
[ -z "$unversioned" ] || fail "without a release: $unversioned"
loose=$(tr '\n' ' ' <"$root/src/mproc.map" | sed 's|/\*[^*]*\*/||g' | tr ';' '\n' |
    sed -n 's/^ *}\(.*\)/}\1/p' | sed '1d' | grep -v -x '} *MPROC_[0-9.]* *')
[ -z "$loose" ] || fail "in mproc.map a release after the first stands on none: $loose"

# ---- the static library ------------------------------------------------------------------------------

# In a shared object of somebody else: it can be put there, and shows nothing but its public functions.
echo '#include <mproc/mproc.h>' >"$work/other.c"
if succeeds 'a shared object of the static library' compiled -shared -fPIC -I"$prefix/include" \
    "$work/other.c" -Wl,--whole-archive "$libdir/libmproc.a" -Wl,--no-whole-archive -Wl,-z,text \
    -lpthread -o "$work/other.so"; then
    internal=$(nm -D --defined-only "$work/other.so" | awk '{ print $NF }' | grep -v '^mproc_')
    [ -z "$internal" ] || fail "what should be hidden in libmproc.a: $internal"
    # No name that could be another's: mproc_ is public, mp_ our own.
    strange=$(nm -g --defined-only "$libdir/libmproc.a" 2>/dev/null | awk 'NF == 3 { print $3 }' | grep -v '^mp\(roc\)\{0,1\}_')
    [ -z "$strange" ] || fail "names in libmproc.a that are not ours: $strange"
fi

# ---- texts -------------------------------------------------------------------------------------------

files=$(find "$prefix" -type f \( -name '*.cmake' -o -name '*.pc' -o -name '*.[1-9]' \) \
    -exec grep -l -e "$prefix" -e "$root" {} +)
[ -z "$files" ] || fail "with a path of this machine: $files"
exit $status

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# layering.sh TREE: does every dependence in the tree go the one way that it may?
#
#   include/mproc <- everything      list.h, os <- shm <- pool      src/*.c: os and lists, no pool
#   point.h <- every source file
#
# Before it judges the tree, it judges small trees with one fault each: a check that finds nothing
# because it looks at nothing would please for ever.

self=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/$(basename -- "$0")

complain() {
    echo "$*"
    bad=1
}

# find_allowed FILE: sets allowed to patterns of what the file may include of ours, from the top.
find_allowed() {
    case $1 in
    src/list.h | src/point.h) allowed= ;;
    src/os/*) allowed='src/list.h src/point.h src/os/*' ;;
    src/shm/*) allowed='include/mproc/error.h src/list.h src/point.h src/os/* src/shm/*' ;;
    src/pool/*) allowed='include/* src/*' ;;
    src/*) allowed='include/* src/*.h src/os/*' ;;
    include/*) allowed='include/mproc/*' ;;
    *) allowed= ;;
    esac
}

# find_path FILE INCLUDE: sets path to where the compiler finds it, from the top; to nothing for a
# header of the system.
find_path() {
    name=${2#?}
    name=${name%?}
    path=
    case $2 in
    '<mproc/'*) path=include/$name ;;
    '<'*) ;;
    *)
        for path in "${1%/*}/$name" "src/$name" "include/$name" ''; do
            [ -n "$path" ] && [ -f "$path" ] && break
        done
        if [ -z "$path" ]; then
            path="(not found) $name"
            return
        fi
        while [ "${path#*/../}" != "$path" ]; do
            before=${path%%/../*}
            path=${before%/*}/${path#*/../}
        done
        ;;
    esac
}

is_allowed() {
    find_allowed "$1"
    set -f
    for pattern in $allowed; do
        # A * of `case` passes over slashes, so src/*.h must not stand for src/pool/pool.h.
        case $2 in
        src/os/* | src/shm/* | src/pool/*) [ "$pattern" = 'src/*.h' ] && continue ;;
        esac
        case $2 in
        $pattern) set +f && return 0 ;;
        esac
    done
    set +f
    return 1
}

# All the includes at once, as FILE:INCLUDE, then no more processes: the check runs often.
check_includes() {
    grep -E '^[[:space:]]*#[[:space:]]*include' $files /dev/null |
        sed 's/:[^<"]*\([<"][^>"]*[>"]\).*/:\1/' |
        while IFS=: read -r file included; do
            find_path "$file" "$included"
            [ -z "$path" ] || is_allowed "$file" "$path" || echo "$file includes $path"
        done
}

# Which platform this is, src/os knows and nobody else.
platform='__linux|__gnu_linux__|__GLIBC|__APPLE__|__(Free|Net|Open)BSD__|__sun|__unix|_WIN32|HAVE_|MPROC_POSIX'

check_tree() {
    bad=0
    cd "$1" || exit
    files=$(find include src -name '*.[ch]' | sort)
    if [ -z "$files" ]; then
        echo "there are no sources in $1"
        return 1
    fi
    found=$(check_includes)
    [ -z "$found" ] || complain "$found"
    found=$(grep -nE "^[[:space:]]*#[[:space:]]*(el)?if.*($platform)" $files | grep -v '^src/os/')
    [ -z "$found" ] || complain "a platform conditional outside src/os: $found"
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1 && [ -e .git ]; then
        tracked=$(git ls-files | sed 's|/.*||' | sort -u)
    else
        tracked=
    fi
    for entry in $tracked; do
        case $entry in
        include | src | tests | examples | CMakeLists.txt | README.md | LICENSE | .*) ;;
        *) complain "$entry does not belong at the top level" ;;
        esac
    done
    return $bad
}

# ---- the check of the check --------------------------------------------------------------------------

# plant FILE LINE: a tree in which all is well but for this line must be refused, with the file's name.
plant() {
    rm -rf "$planted"
    mkdir -p "$planted/include/mproc" "$planted/src/os" "$planted/src/shm" "$planted/src/pool"
    cd "$planted" || exit
    echo '#include <stddef.h>' >include/mproc/error.h
    echo '#include <mproc/error.h>' >include/mproc/mproc.h
    echo '#include <stddef.h>' >src/list.h
    echo '#include "../list.h"' >src/os/os.h
    printf '#include "os.h"\n#ifdef __linux__\n#endif\n' >src/os/fd.c
    echo '#include "../os/os.h"' >src/shm/arena.h
    printf '#include "arena.h"\n#include <mproc/error.h>\n' >src/shm/arena.c
    printf '#include "../shm/arena.h"\n#include <mproc/mproc.h>\n' >src/pool/pool.h
    echo '#include "pool.h"' >src/pool/pool.c
    : >src/options.h
    printf '#include "options.h"\n#include "os/os.h"\n#include <mproc/mproc.h>\n' >src/process.c
    printf '%s\n' "$2" >>"$1"
    found=$(sh "$self" --only "$planted")
    status=$?
    if [ -z "$2" ]; then
        [ $status -eq 0 ] || complain "a tree without a fault was refused: $found"
    elif [ $status -eq 0 ] || [ "${found#*"$1"}" = "$found" ]; then
        complain "not found: '$2' in $1"
    fi
}

check_check() {
    bad=0
    planted=$(mktemp -d) || exit
    trap 'rm -rf "$planted"' EXIT
    plant src/list.h ''
    plant src/list.h '#include "os/os.h"'
    plant src/point.h '#include "list.h"'
    plant src/os/fd.c '#include "../shm/arena.h"'
    plant src/os/fd.c '#include "shm/arena.h"'
    plant src/os/fd.c '  #  include <mproc/error.h>'
    plant src/shm/arena.c '#include "../pool/pool.h"'
    plant src/shm/arena.h '#include <mproc/mproc.h>'
    plant src/process.c '#include "pool/pool.h"'
    plant src/process.c '#include "shm/arena.h"'
    plant include/mproc/mproc.h '#include "../../src/list.h"'
    plant src/shm/arena.c '#ifdef __linux__'
    plant src/pool/pool.c '#if defined(__GLIBC__)'
    plant src/process.c '#ifndef HAVE_PIDFD'
    plant include/mproc/mproc.h '# elif __APPLE__'
    return $bad
}

case $1 in
--only) check_tree "$2" ;;
*) (check_check) && check_tree "$1" ;;
esac

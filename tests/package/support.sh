# SPDX-License-Identifier: MIT
#
# What the scripts of this directory begin with.  Sourced by each, which is called
# SCRIPT PREFIX COMPILER [FLAGS]: an installed tree that was moved after the installation, and what to
# compile with.  Each works in a directory of its own, $work, and ends with `exit $status`.

unset CDPATH DESTDIR CMAKE_GENERATOR CMAKE_PREFIX_PATH PKG_CONFIG_PATH MAKEFLAGS LD_RUN_PATH
here=$(cd -- "$(dirname -- "$0")" && pwd) || exit
root=$(cd -- "$here/../.." && pwd) || exit
prefix=$1
compiler=$2
flags=${3-}
work=$(mktemp -d) || exit
work=$(cd "$work" && pwd -P) || exit
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
status=0
export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc 2>/dev/null || echo 2)}"
if command -v ninja >/dev/null; then
    export CMAKE_GENERATOR=Ninja
fi

fail() {
    echo "$*"
    status=1
}

# skip WHAT: ends the script unless something was wrong before.
skip() {
    echo "not looked at: $*"
    [ $status -ne 0 ] || exit 77
    exit $status
}

need() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "there is no $tool here"
    done
}

# succeeds WHAT COMMAND...: shows what the command printed, if it fails.
succeeds() {
    what=$1
    shift
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log"
        fail "$what: failed"
        return 1
    }
}

# compiled OPTION...: with the compiler and flags of the build.
compiled() {
    # Not quoted: flags are several words.
    $compiler $flags "$@"
}

# runs WHAT COMMAND...: a consumer does what it should.
runs() {
    what=$1
    shift
    printed=$("$@" 2>&1)
    [ "$printed" = '7 1 4 9' ] || fail "$what: printed '$printed'"
}

# configured SOURCE BUILD [CMAKE-ARGUMENT...]
configured() {
    project=$1
    build=$2
    shift 2
    cmake -S "$project" -B "$build" -DCMAKE_C_COMPILER="$compiler" -DCMAKE_C_FLAGS="$flags" "$@"
}

# libdir_below PREFIX: where the libraries went.
libdir_below() {
    dirname "$(find "$1" -name libmproc.a | head -n 1)"
}

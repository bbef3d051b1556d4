# SPDX-License-Identifier: MIT
#
# What tests/run.sh and examples/run.sh begin with: install what is missing, configure, build.  Sourced
# with $root set to the top of the tree; POSIX sh, because a bare system may have no other.

# CDPATH would make `cd` print, and these would change what the programs we read from print.
unset CDPATH CMOCKA_MESSAGE_OUTPUT CTEST_OUTPUT_ON_FAILURE CMAKE_GENERATOR MAKEFLAGS

# ---- what is there -----------------------------------------------------------------------------------

# Does the preprocessor take what standard input holds?  A compiler without the C library's headers,
# as some packages leave it, is of no use.
preprocesses() {
    for compiler in "${CC:-}" cc gcc clang; do
        # Not quoted: CC may be a compiler with arguments.
        [ -n "$compiler" ] && command -v ${compiler%% *} >/dev/null || continue
        $compiler -x c -E "$@" - >/dev/null 2>&1
        return
    done
    return 1
}

has_compiler() {
    echo '#include <stdio.h>' | preprocesses
}

has_cmake() {
    command -v cmake >/dev/null
}

has_make() {
    command -v make >/dev/null || command -v ninja >/dev/null
}

has_cmocka() {
    printf '#include <%s>\n' stdarg.h stddef.h stdint.h setjmp.h cmocka.h |
        preprocesses -I/usr/local/include -I/opt/homebrew/include
}

# ---- what to install -----------------------------------------------------------------------------

find_manager() {
    for manager in apt-get dnf apk brew pkg; do
        command -v "$manager" >/dev/null && return
    done
    manager=none
}

packages_of() {
    case $manager:$1 in
    apt-get:compiler) echo gcc libc6-dev ;;
    dnf:compiler) echo gcc glibc-devel ;;
    apk:compiler) echo gcc musl-dev ;;
    *:compiler) echo gcc ;;
    apt-get:cmocka) echo libcmocka-dev ;;
    dnf:cmocka) echo libcmocka-devel ;;
    apk:cmocka) echo cmocka-dev ;;
    *) echo "$1" ;;
    esac
}

install_with_manager() {
    case $manager in
    apt-get)
        # The lists of a fresh system are empty and those of an old one name what is gone.
        set -- env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@"
        $sudo "$@" >/dev/null 2>&1 || { $sudo apt-get -qq update && $sudo "$@"; }
        ;;
    dnf) $sudo dnf -q -y install "$@" ;;
    apk) $sudo apk add -q "$@" ;;
    brew) brew install -q "$@" ;;
    pkg) $sudo pkg install -q -y "$@" ;;
    *) return 1 ;;
    esac
}

# need THING...: compiler, cmake, make, cmocka.  Installs those that are not there, or says what to
# install and ends the script.
need() {
    missing=
    for thing in "$@"; do
        has_$thing || missing="$missing $thing"
    done
    [ -n "$missing" ] || return 0

    find_manager
    sudo=
    if [ "$(id -u)" -ne 0 ] && [ "$manager" != brew ]; then
        sudo=sudo
    fi
    packages=
    for thing in $missing; do
        packages="$packages $(packages_of "$thing")"
    done
    if [ "$manager" = none ]; then
        echo "Missing here:$missing.  There is no package manager that this script knows" \
            "(apt-get, dnf, apk, brew, pkg); please install these first." >&2
        exit 1
    fi
    if [ -n "$sudo" ] && ! command -v sudo >/dev/null; then
        echo "Missing here:$missing.  Installing needs root; please run, as root:" >&2
        echo "    $manager install$packages" | sed 's/^\( *apk\) install/\1 add/' >&2
        exit 1
    fi
    echo "Installing$packages with $manager"
    if ! install_with_manager $packages; then
        echo "$manager could not install:$packages.  Please install these and try again." >&2
        exit 1
    fi
    for thing in $missing; do
        if ! has_$thing; then
            echo "The $thing is still not found after installing:$packages." >&2
            exit 1
        fi
    done
}

# ---- build ------------------------------------------------------------------------------------------

cores() {
    nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1
}

# run_quietly LOG COMMAND...: the output is shown when the command fails.
run_quietly() {
    log=$1
    shift
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        echo "failed: $*" >&2
        return 1
    }
}

# build DIRECTORY [CMAKE-ARGUMENT...]: configure and build there.  What an earlier configuration with
# other arguments, of another compiler or of a tree that was elsewhere left in the cache is not kept.
build() {
    directory=$1
    shift
    mkdir -p "$directory" || return
    configuration="$root ${CC:-} ${CFLAGS:-} ${LDFLAGS:-} $*"
    if [ "$(cat "$directory/configuration" 2>/dev/null)" != "$configuration" ]; then
        rm -rf "$directory/CMakeCache.txt" "$directory/CMakeFiles"
    fi
    if ! command -v make >/dev/null; then
        set -- -G Ninja "$@"
    fi
    echo "Building in $directory"
    run_quietly "$directory/configure.log" cmake -S "$root" -B "$directory" "$@" || return
    echo "$configuration" >"$directory/configuration"
    run_quietly "$directory/build.log" cmake --build "$directory" --parallel "$(cores)"
}

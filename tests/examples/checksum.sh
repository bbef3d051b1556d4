#!/bin/sh
# SPDX-License-Identifier: MIT
#
# checksum.sh PROGRAM [LAUNCHER...]: checksum prints what cksum prints, byte for byte, in the order of
# the arguments; of files that cannot be read it says the same under its own name, and exits the same.

top=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit
program=$1
shift
work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
cd "$work" || exit
status=0

# The messages of the two are compared in one language.
LC_ALL=C
export LC_ALL

# same WHAT FILE...
same() {
    what=$1
    shift
    cksum "$@" >expected 2>expected_messages
    expected_status=$?
    "$launcher" "$@" >printed 2>messages
    printed_status=$?
    sed 's/^cksum:/checksum:/' expected_messages | diff - messages && diff expected printed &&
        [ $expected_status -eq $printed_status ] || {
        echo "$what: cksum (<) and checksum (>) differ; exit status $expected_status, $printed_status"
        status=1
    }
}

# xargs and functions do not go together: the program with its launcher as one command.
launcher=$work/checksum
{
    echo '#!/bin/sh'
    printf 'exec'
    for word in "$@" "$program"; do
        printf " '%s'" "$word"
    done
    echo ' "$@"'
} >"$launcher"
chmod +x "$launcher"

: >empty
printf a >one
printf 'no new line at the end' >'a name with spaces'
dd if=/dev/urandom of=large bs=65536 count=40 2>/dev/null
head -c 65536 large >buffer
mkdir directory

same "plain files" empty one large buffer 'a name with spaces' one large one
same "a missing file" missing
same "files and missing ones" one missing large empty nowhere/file one
same "this tree" $(cd "$top" && find "$top/include" "$top/src" -type f | sort)

# Some releases of cksum give the sum of a directory; POSIX wants it to fail.
printed=$("$launcher" directory 2>&1)
printed_status=$?
if [ "$printed" != 'checksum: directory: Is a directory' ] || [ $printed_status -ne 1 ]; then
    echo "a directory: exit status $printed_status, $printed"
    status=1
fi

# Thousands of names, in as few calls as the system takes them.
find /usr/include -type f 2>/dev/null | sort >names
[ -z "$MPROC_TEST_VALGRIND" ] || { head -n 500 names >few && mv few names; }
tr '\n' '\0' <names | xargs -0 cksum >expected
tr '\n' '\0' <names | xargs -0 "$launcher" >printed
cmp expected printed || {
    echo "/usr/include: differs in the $(wc -l <names) files"
    status=1
}
echo "$(wc -l <names) files of /usr/include compared"
exit $status

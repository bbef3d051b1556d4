#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Checks protocol.pml exhaustively in a list of small configurations: those that must hold, and those
# with a mutation, in which the checker must find the error.  Needs spin and a C compiler.
#
#   check.sh [--long] [pattern]     --long adds the large configurations; pattern picks rows (grep)
#
# One row per configuration: what was expected, what was found, ok or FAILED.  Exit status 0 if every row
# is ok, 1 if not, 77 if there is no spin.  JOBS (2) searches run at a time, each within MEM (3800) MiB.

here=$(cd "$(dirname "$0")" && pwd) || exit 1
command -v spin >/dev/null || { echo "spin is not installed" >&2; exit 77; }
long=
[ "$1" = --long ] && { long=1; shift; }
pattern=${1:-.}

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# what is expected (none: errors 0; assert, end, cycle: the kind of the error), then the configuration.
# Two mutations find nothing: a replacement takes the ticket up and looks back, so that the host would
# see the end even if deaths were counted too early or not at all; the code counts them to be prompt.
# A row with NP is searched for non-progress cycles, the others for assertions and invalid end states.
cat >"$tmp/list" <<'LIST'
none   NKILL=1 NJ=2
none   NKILL=0 NJ=3
none   NKILL=0 NJ=1 NC=3 NW=3 NTK=1
none   NKILL=1 NJ=1 ANYORDER
none   NKILL=2 NJ=1 NTK=1 RETRY=1
none   NKILL=1 NJ=1 NTK=1 NP
none   NKILL=0 NJ=2 NTK=1 NRETIRE=1 NP
none   NKILL=1 NJ=2 NS=2 NC=1 NTK=1
none   NKILL=0 NJ=3 NS=2 NC=1 NTK=1 THREADS
none   NKILL=0 NJ=2 NS=2 NC=1 TK=2 PAGES
none   NKILL=1 NJ=1 CANCEL
none   NKILL=1 NJ=1 NC=1 CANCEL NSTOP=1 RETRY=1
none   NKILL=0 NJ=2 NS=2 NC=1 NTK=1 CANCEL THREADS
none   NKILL=1 NJ=1 NC=1 NTK=1 RETRY=1 NDELAY=1 LONGDELAY CANCEL
none   NKILL=1 NJ=1 NTK=1 RETRY=1 NDELAY=1 LONGDELAY
none   NKILL=2 NJ=1 NC=1 NTK=1 RETRY=1 NDELAY=2
none   NKILL=1 NJ=1 NTK=1 NDELAY=1 NOFORK HUP
none   NKILL=1 NJ=1 NRETIRE=1
none   NKILL=0 NJ=2 NRETIRE=2
none   NKILL=1 NJ=1 FAILHINT
none   NKILL=0 NJ=1 FAILHINT CANCEL
none   NKILL=0 NJ=3 TAGS=1
none   NKILL=0 NJ=3 TAGS=2
none   NKILL=1 NJ=2 NTK=1 TAGS=1
none   NKILL=0 NJ=3 TAGS=1 VARC
none   NKILL=1 NJ=1 NC=1 NEXP=1 NSTUCK=1
none   NKILL=0 NJ=2 NC=1 NEXP=1 NSTUCK=1
none   NKILL=0 NJ=1 NSUP=1 PDRACE
none   NKILL=0 NJ=2 NSUP=1
none   NKILL=1 NJ=1 NTK=1 NHOST=1
none   NKILL=0 NJ=2 NTERM=1
none   NKILL=1 NJ=1 NC=1 NTK=1 NTERM=1 NSUP=1 NDELAY=1
none   NKILL=1 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1
none   NKILL=0 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 THREADS
none   NKILL=0 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 THREADS CANCEL NW=1
end    NKILL=1 NJ=2 NS=2 NC=1 NTK=1 M_NO_RING2
end    NKILL=0 NJ=2 NS=2 NC=1 TK=2 PAGES M_NO_RING2
end    NKILL=1 NJ=2 NS=2 NC=1 NTK=1 M_HW_LATE
end    NKILL=1 NJ=2 NS=2 NC=1 NTK=1 M_TICKET_DROP
end    NKILL=1 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 M_NO_RETRY
end    NKILL=0 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 THREADS M_SUBMIT_HW
cycle  NKILL=0 NJ=1 NP M_NO_LEFT
assert NKILL=0 NJ=2 NRETIRE=2 M_RETIRE_LEFT
end    NKILL=1 NJ=1 NTK=1 NDELAY=1 NOFORK
end    NKILL=1 NJ=1 NTK=1 M_NO_SWEEP
end    NKILL=1 NJ=1 NTK=1 M_NO_LOST
end    NKILL=1 NJ=1 NTK=1 M_NO_REPOST
end    NKILL=1 NJ=1 NTK=1 M_LOST_LATE
end    NKILL=1 NJ=1 NTK=1 M_DEATHS_ONLY
end    NKILL=1 NJ=1 NTK=1 M_BELL_FIRST
end    NKILL=1 NJ=1 NTK=1 NDELAY=1 LONGDELAY M_DELAY_NOLOST
end    NKILL=1 NJ=1 NTK=1 M_NO_PRED
end    NKILL=1 NJ=1 NTK=1 M_NO_NOTE
end    NKILL=1 NJ=1 NTK=1 M_CLEAR_FIRST
assert NKILL=1 NJ=2 M_FORK_FIRST
end    NKILL=1 NJ=2 NC=1 M_NOTAG
assert NKILL=1 NJ=2 M_CLAIM_STORE
end    NKILL=1 NJ=2 M_RING_FIRST
end    NKILL=1 NJ=2 M_DRAIN_LATE
end    NKILL=0 NJ=2 M_CHECK_FIRST
assert NKILL=0 NJ=2 TAGS=1 M_DESC_EARLY
end    NKILL=0 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 CANCEL NW=1 M_NO_NUDGE
end    NKILL=0 NJ=2 NS=2 NC=1 NTK=1 NSTUCK=2 CANCEL NSTOP=2 M_POKE_LATE
end    NKILL=1 NJ=1 NC=1 NTK=1 RETRY=1 NDELAY=1 LONGDELAY CANCEL M_CANCEL_ONCE
assert NKILL=1 NJ=1 CANCEL M_CANCEL_NOCAS
assert NKILL=1 NJ=1 CANCEL NSTOP=1 M_STOPPING_TERMINAL
assert NKILL=0 NJ=2 NC=1 NEXP=1 NSTUCK=1 M_DONE_STORE
assert NKILL=0 NJ=2 NC=1 NEXP=1 NSTUCK=1 M_KILL_NOCAS
assert NKILL=0 NJ=2 NC=1 NEXP=1 NSTUCK=1 M_MARK_EARLY
assert NKILL=0 NJ=2 NC=1 NEXP=1 TAGS=1 M_SEEN_TAG
assert NKILL=0 NJ=2 NC=1 NEXP=1 M_DEADLINE_FIRST
assert NKILL=0 NJ=2 NSUP=1 M_EOF_EARLY
end    NKILL=0 NJ=1 NSUP=1 PDRACE M_NO_GETPPID
none   NKILL=1 NJ=1 NTK=1 RETRY=1 M_EVENT_FIRST
none   NKILL=1 NJ=1 NTK=1 RETRY=1 M_NO_DEATHS
LIST
[ "$long" ] && cat >>"$tmp/list" <<'LIST'
none   NKILL=2 NJ=2 NTK=1
none   NKILL=2 NJ=1 RETRY=1
none   NKILL=1 NJ=3
none   NKILL=1 NJ=2 NP
none   NKILL=1 NJ=3 TAGS=1
none   NKILL=1 NJ=3 TAGS=2 NTK=1
none   NKILL=1 NJ=3 TAGS=1 VARC NTK=1
none   NKILL=1 NJ=2 NS=2 NC=1
none   NKILL=0 NJ=3 NS=2 NC=1 NTK=1 CANCEL THREADS
none   NKILL=1 NJ=2 NC=1 NEXP=1 NSTUCK=1
none   NKILL=1 NJ=2 CANCEL NTK=1
none   NKILL=1 NJ=1 CANCEL NSTOP=1 RETRY=1
none   NKILL=1 NJ=2 NRETIRE=1 NDELAY=1 NTK=1
none   NKILL=1 NJ=2 NSUP=1 NC=1
none   NKILL=1 NJ=2 NS=2 NC=1 NTK=1 TK=2 PAGES
none   NKILL=0 NJ=3 NS=2 NC=1 THREADS
none   NKILL=0 NJ=2 FAILHINT CANCEL
none   NKILL=2 NJ=1 NC=1 NDELAY=2 RETRY=1
none   NKILL=1 NJ=1 NHOST=1
none   NKILL=1 NJ=2 M_EVENT_FIRST
none   NKILL=1 NJ=2 M_NO_DEATHS
none   NKILL=1 NJ=1 NC=3 NW=3 NTK=1
none   NKILL=0 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 CANCEL NSTOP=1
LIST
grep -e "$pattern" "$tmp/list" >"$tmp/rows"

# search WORD...: what pan says about this configuration
search() {
    flags= mode='-DSAFETY' run=
    for word; do
        case $word in
        NP) mode='-DNP -DNOFAIR' run=-l ;;
        *) flags="$flags -D$word" ;;
        esac
    done
    spin -a $flags "$here/protocol.pml" >spin.log 2>&1 || { echo "spin failed"; return; }
    ${CC:-cc} -O2 -w $mode -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=${MEM:-3800} -o pan pan.c >cc.log 2>&1 ||
        { echo "compiler failed"; return; }
    ./pan $run -m1000000 -w24 >pan.log 2>&1
    if grep -q -e 'max search depth too small' -e 'out of memory' -e 'reached -DMEMLIM' \
               -e 'not completed' pan.log && ! grep -q '^pan:1: [ain]' pan.log; then echo incomplete
    elif grep -q '^pan:1: assertion violated' pan.log; then echo assert
    elif grep -q '^pan:1: invalid end state' pan.log; then echo end
    elif grep -q '^pan:1: non-progress cycle' pan.log; then echo cycle
    elif grep -q 'errors: 0$' pan.log; then echo none
    else echo unclear
    fi
}

# lane: takes rows that nobody has taken, until there is none
lane() {
    n=0
    while read -r want words; do
        n=$((n + 1))
        mkdir "$tmp/row$n" 2>/dev/null || continue
        cd "$tmp/row$n" || exit 1
        got=$(search $words </dev/null)
        states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log 2>/dev/null)
        verdict=FAILED
        [ "$got" = "$want" ] && verdict=ok
        echo $verdict >"$tmp/verdict$n"
        rm -rf "$tmp/row$n"/*
        printf '%-80s %-6s %-10s %10s %s\n' "$words" "$want" "$got" "$states" "$verdict"
    done <"$tmp/rows"
}

printf '%-80s %-6s %-10s %10s\n' configuration want found states
i=0
while [ $i -lt "${JOBS:-2}" ]; do lane & i=$((i + 1)); done
wait

rows=$(grep -c '' "$tmp/rows")
passed=$(cat "$tmp"/verdict* 2>/dev/null | grep -c '^ok$')
echo "$passed passed, $((rows - passed)) failed"
[ "$rows" -gt 0 ] && [ "$passed" -eq "$rows" ]

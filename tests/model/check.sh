#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Checks protocol.pml, queue.pml and sleeper.pml exhaustively in a list of small configurations: those that
# must hold, and those with a mutation, in which the checker must find the error: the table of what each
# load, store, CAS and ring of the protocol is good for.  Needs spin and a C compiler.
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

# What is expected (none: errors 0; assert, end, cycle: the kind of the error), the configuration, and what
# is wrong in it.  NP: searched for non-progress cycles, the others for assertions and invalid end states;
# REVERSE: in another order, which comes upon the error sooner.
# Some mutations find nothing.  What four of them leave out is there to be prompt; a ticket that is
# noted early (M_NOTE_FIRST) is served twice at most; and a bell that is read empty after the look
# (M_DRAIN_LATE) loses nothing, because each sleep begins with a look of its own.  Nor is anything lost by a
# worker that reads `wakes` when it is idle (M_WAKES_IDLE), as its last look comes after that.
cat >"$tmp/list" <<'LIST'
none   NKILL=1 NJ=2 NTK=1 | as the code is
none   NKILL=0 NJ=2 TK=1 | as the code is
none   NKILL=0 NJ=3 NC=1 | as the code is
none   NKILL=0 NJ=1 NC=3 NW=3 NTK=1 | as the code is
none   NKILL=1 NJ=1 NTK=1 ANYORDER | as the code is
none   NKILL=2 NJ=1 NC=1 NTK=1 RETRY=1 | as the code is
none   NKILL=1 NJ=1 NTK=1 NP | as the code is
none   NKILL=0 NJ=2 NTK=1 NRETIRE=1 NP | as the code is
none   NW=1 NKILL=1 NJ=2 NS=2 NC=1 NTK=1 | as the code is
none   NKILL=0 NJ=3 NS=2 NC=1 NTK=1 TK=1 THREADS | as the code is
none   NKILL=1 NJ=2 NC=1 NTK=1 TK=1 THREADS | as the code is
none   NKILL=1 NJ=1 NC=1 WK=2 LATEIDLE | as the code is
none   NKILL=1 NJ=1 NTK=1 CANCEL | as the code is
none   NKILL=1 NJ=1 NC=1 NTK=1 CANCEL NSTOP=1 RETRY=1 | as the code is
none   NKILL=0 NJ=2 NS=2 NC=1 NTK=1 CANCEL THREADS | as the code is
none   NKILL=1 NJ=1 NC=1 NTK=1 RETRY=1 NDELAY=1 LONGDELAY CANCEL | as the code is
none   NKILL=1 NJ=1 NTK=1 RETRY=1 NDELAY=1 LONGDELAY | as the code is
none   NKILL=1 NJ=1 NC=1 NTK=1 NDELAY=1 NOFORK | as the code is
none   NKILL=1 NJ=1 NTK=1 NRETIRE=1 | as the code is
none   NKILL=0 NJ=2 NRETIRE=2 NTK=1 | as the code is
none   NKILL=1 NJ=1 NTK=1 FAILHINT | as the code is
none   NKILL=0 NJ=1 FAILHINT CANCEL | as the code is
none   NKILL=0 NJ=2 TAGS=1 | as the code is
none   NKILL=0 NJ=3 TAGS=2 NTK=1 | as the code is
none   NKILL=1 NJ=2 NC=1 NTK=1 TAGS=1 | as the code is
none   NKILL=0 NJ=3 TAGS=1 VARC NTK=1 | as the code is
none   NKILL=1 NJ=1 NC=1 NTK=1 NEXP=1 NSTUCK=1 | as the code is
none   NKILL=0 NJ=2 NC=1 NTK=1 NEXP=1 NSTUCK=1 | as the code is
none   NKILL=0 NJ=1 NTK=1 NEXP=1 NSTUCK=1 RETRY=1 | as the code is
none   NKILL=0 NJ=2 NC=1 NTK=1 TAGS=1 NEXP=1 NSTUCK=1 PROMPT | as the code is
none   NKILL=0 NJ=3 NC=1 NTK=1 TAGS=2 NEXP=1 PROMPT | as the code is
none   NKILL=0 NJ=1 NSUP=1 PDRACE | as the code is
none   NKILL=0 NJ=2 NSUP=1 NTK=1 | as the code is
none   NKILL=1 NJ=1 NTK=1 NHOST=1 | as the code is
none   NKILL=0 NJ=2 NTERM=1 NTK=1 | as the code is
none   NKILL=1 NJ=1 NC=1 NTK=1 NTERM=1 NSUP=1 | as the code is
none   NKILL=0 NJ=2 NS=2 NC=1 NTK=1 TK=1 LAST NTERM=1 NSTUCK=1 THREADS | as the code is
none   NKILL=0 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 THREADS CANCEL NW=1 | as the code is
end    NKILL=1 NJ=2 NC=1 M_NOTAG | claim: CAS without the tag
assert NKILL=1 NJ=2 M_CLAIM_STORE | claim: load and store, no CAS
assert NKILL=1 NJ=2 M_CLAIM_ANY | claim: CAS without the state
assert NW=1 NKILL=2 NJ=1 NC=1 NTK=1 RETRY=1 M_CLAIM_NOCOUNT | claim: the attempt is not counted
end    NKILL=1 NJ=1 M_CLAIM_NOBODY | claim: without the worker's number
assert NKILL=0 NJ=2 TAGS=1 M_DESC_EARLY | the descriptor read before the claim
assert NW=1 NKILL=0 NJ=1 NC=1 NTK=1 CANCEL NSTOP=1 M_OUTCOME_LATE | the outcome written after the finish
assert NW=1 NTK=1 NKILL=0 NEXP=1 NC=2 NJ=1 M_DONE_STORE | finish: a store, no CAS
assert NW=1 NTK=1 NKILL=0 NEXP=1 NC=2 NJ=1 M_FINISH_ANY | finish: CAS that takes STOPPING, too
assert NW=1 NTK=1 NKILL=0 NEXP=1 NC=2 NJ=1 M_DOOMED | finish failed, and the worker goes on
end    NKILL=0 NJ=2 M_CHECK_FIRST | the look back before the finish
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 M_NO_READY | no ready bit at the end of a job
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 M_NO_RING | no ring at the end of a job
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 M_RING_FIRST | the ring before the ready bit
end    NW=1 NKILL=1 NJ=2 NS=2 NC=1 NTK=1 M_NO_RING2 | host_waits 2 not rung when a ticket is popped
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 M_IDLE_LATE | idle when it has looked a last time
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 NSTUCK=1 CANCEL NSTOP=1 M_NO_NOTE | the ticket is not noted
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 NSTUCK=1 CANCEL NSTOP=1 M_CLEAR_FIRST | the ticket is cleared before it is served
cycle  NW=1 NKILL=0 NJ=1 NC=1 NTK=1 NP M_TICKET_STAYS | the ticket is never cleared
end    NW=1 NKILL=1 NJ=1 NTK=1 M_NO_PRED | the predecessor's ticket is not taken up
cycle  NW=1 NKILL=0 NJ=1 NC=1 NTK=1 NP M_NO_LEFT | `left` is not stored at the end of file
assert NW=1 NKILL=0 NJ=2 NC=1 NTK=1 NRETIRE=2 M_RETIRE_LEFT | `left` is stored by a worker that retires
assert NW=1 NTK=1 NKILL=0 NEXP=1 NC=1 NJ=2 M_KEEP_DEADLINE | deadline not 0 while the claim is stored
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 NSTUCK=1 M_NO_LIMIT | no deadline is stored
end    NW=1 NKILL=1 NJ=1 NC=1 NTK=1 M_NO_BURY | burial: left out
assert NKILL=1 NJ=1 NTK=1 M_BURY_ANY | burial: without the worker's number
assert NW=1 NKILL=2 NJ=1 NC=1 NTK=1 RETRY=1 M_RETRY_MORE | burial: off by one
assert NW=1 NKILL=1 NJ=1 NC=1 NTK=1 CANCEL M_BURY_LATE | burial: the outcome written after the word
end    NW=1 NKILL=1 NJ=1 NC=1 NTK=1 CANCEL NSTOP=1 M_BURY_ONCE | burial: not again when the host came between
end    NKILL=1 NJ=1 NC=1 NTK=1 M_NO_LOST | `lost` is not counted
end    NKILL=1 NJ=1 NC=1 NTK=1 M_LOST_LATE | `lost` is counted after the bell
end    NKILL=1 NJ=1 NC=1 NTK=1 M_NO_BELL | no bell at a death
end    NKILL=1 NJ=1 NC=1 NTK=1 M_BELL_FIRST | the bell before the counts
end    NKILL=1 NJ=1 NTK=1 NDELAY=1 LONGDELAY M_DELAY_NOLOST | a late replacement: `lost` is not counted
end    NKILL=1 NJ=1 NTK=1 NDELAY=1 LONGDELAY M_DELAY_NOBELL | a late replacement: no bell
assert NKILL=1 NJ=2 NTK=1 M_FORK_FIRST | the replacement before the burial
end    NW=1 NKILL=1 NJ=1 NC=1 NTK=1 NDELAY=1 NOFORK M_NO_GIVE_UP | no worker can be started, and none gives up
assert NW=1 NTK=1 NKILL=0 NEXP=1 NC=1 NJ=2 M_NO_RECHECK | deadline: not read again after the word
assert NW=1 NTK=1 NKILL=0 NEXP=1 NC=1 NJ=2 M_STOP_ANY | deadline: CAS from any RUNNING of this worker
assert NW=1 NTK=1 NKILL=0 NEXP=1 NC=1 NJ=2 TAGS=1 | deadline: the tag comes round between load and CAS
assert NW=1 NTK=1 NKILL=0 NEXP=1 NC=2 NJ=1 M_KILL_NOCAS | deadline: a kill without a CAS
assert NW=1 NKILL=0 NJ=1 NC=1 NTK=1 NEXP=1 CANCEL M_MARK_EARLY | deadline: the word is terminal before the kill
cycle  NW=1 NKILL=0 NJ=1 NC=1 NTK=1 NSTUCK=1 NP M_NO_KILL | deadline: STOPPING and no kill
end    NKILL=0 NJ=2 NS=2 NC=1 NTK=1 NSTUCK=2 CANCEL NSTOP=2 REVERSE M_POKE_LATE | poke: read after the look
assert NKILL=0 NJ=1 NTK=2 TK=2 CANCEL NSTOP=1 REVERSE M_POKE_ANY | poke: kills whoever serves the job
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 NSTUCK=1 CANCEL NSTOP=1 M_NO_POKE | poke: not sent
end    NW=2 NKILL=0 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 M_NO_KILLALL | end of the control pipe is not heard
end    NW=2 NKILL=0 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 M_TERM_OPEN | terminate leaves the control pipe open
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 NSUP=1 NSTUCK=1 M_NO_PDEATHSIG | a worker outlives its supervisor
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 NSUP=1 NSTUCK=1 PDRACE M_NO_GETPPID | a supervisor that died before the bond is not seen
assert NW=1 NKILL=0 NJ=1 NC=1 NTK=1 NSUP=1 M_EOF_EARLY | the generation is taken for dead with its supervisor
end    NW=1 NKILL=0 NJ=2 NC=1 NTK=1 M_SAME_TAG | publish: the tag does not change
assert NKILL=0 NJ=2 NC=1 TAGS=1 M_DESC_LATE | publish: the words before the descriptor
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 M_POST_FIRST | publish: the ticket before the words
end    NW=1 NKILL=1 NJ=2 NS=2 NC=1 NTK=1 M_TICKET_DROP | a ticket for a full queue is dropped
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 M_NO_WAKE | nobody is woken
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 M_WAKE_FIRST | who is idle is looked at before the push
assert NW=1 NKILL=0 NJ=2 NC=1 NTK=1 M_WAKE_ERROR | a full wake pipe is an error
end    NKILL=0 NJ=2 NS=2 NC=1 NTK=1 WK=1 LAST NTERM=1 NSTUCK=1 | a wake pipe that is full before all are woken
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 M_NO_HW | host_waits is not set
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 M_HW_LATE | host_waits is set after the look
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 M_NO_LOOK | no look after host_waits is set
end    NW=1 NKILL=1 NJ=2 NS=2 NC=1 NTK=1 M_NO_HW2 | a backlog is not told
end    NKILL=0 NJ=1 FAILHINT NTK=1 M_READY_LATE | the ready bit is cleared after the look
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 M_READY_KEPT | the ready bits are not looked at
end    NKILL=1 NJ=1 NC=1 NTK=1 M_NO_SWEEP | deaths are not looked at
end    NKILL=1 NJ=1 NC=1 NTK=1 M_NO_REPOST | no ticket again after one was lost
end    NKILL=1 NJ=1 NC=1 NTK=1 M_DEATHS_ONLY | `lost` taken as seen where `deaths` has not moved
assert NW=1 NKILL=0 NJ=1 NC=1 NTK=1 CANCEL M_CANCEL_NOCAS | cancel: no CAS, WAITING counts as ended
assert NW=1 NKILL=0 NJ=1 NC=1 NTK=1 CANCEL M_CANCEL_STORE | cancel: load and store, no CAS
end    NKILL=1 NJ=1 NC=1 NTK=1 RETRY=1 NDELAY=1 LONGDELAY CANCEL M_CANCEL_ONCE | cancel: not again after a retry
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 CANCEL NSTOP=1 M_STOP_STORE | stop: load and store, no CAS
assert NW=1 NKILL=0 NJ=1 NC=1 NTK=1 CANCEL NSTOP=1 M_STOPPING_TERMINAL | stop: STOPPING counts as ended
end    NKILL=0 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 CANCEL NW=1 M_NO_NUDGE | a cancel does not wake the sleeper
none   NW=1 NKILL=1 NJ=2 NS=2 NC=1 NTK=1 M_RING1 | host_waits 2 not rung at the end of a job: a ticket is popped
none   NKILL=1 NJ=1 NTK=1 M_NOTE_FIRST | the ticket noted before it is popped: served twice
none   NKILL=1 NJ=1 NC=1 NTK=1 RETRY=1 M_EVENT_FIRST | a death told before the burial: the replacement looks back
none   NKILL=1 NJ=1 NC=1 NTK=1 RETRY=1 M_NO_DEATHS | deaths not counted: the same; the code does, to be prompt
none   NW=1 NKILL=1 NJ=2 NS=2 NC=1 NTK=1 M_DRAIN_LATE | the bell is read empty after the look
none   NKILL=1 NJ=1 NC=1 NTK=1 M_DRAIN_LATE | the same, with two workers
none   NKILL=0 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 M_DRAIN_LATE | the same, where no job waits for another
none   NKILL=1 NJ=1 NTK=1 WORDS | as the code is, on words
none   NKILL=0 NJ=2 TK=1 WORDS | as the code is, on words
none   NKILL=1 NJ=1 NC=1 NTK=1 WORDS NP | as the code is, on words
none   NW=1 NKILL=1 NJ=2 NS=2 NC=1 NTK=1 WORDS | as the code is, on words
none   NW=1 NKILL=0 NJ=2 NS=2 NC=1 NTK=1 WORDS CANCEL THREADS | as the code is, on words
none   NKILL=1 NJ=1 NC=1 NTK=1 NDELAY=1 NOFORK WORDS LATEIDLE | as the code is, on words
none   NKILL=0 NJ=1 NSUP=1 WORDS PDRACE | as the code is, on words
none   NW=1 NKILL=1 NJ=1 NTK=1 NSUP=1 WORDS | as the code is, on words
none   NKILL=0 NJ=2 NTERM=1 NTK=1 WORDS | as the code is, on words
none   NKILL=0 NJ=2 NS=2 NC=1 NTK=1 TK=1 WORDS LAST NTERM=1 NSTUCK=1 THREADS | as the code is, on words
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 WORDS M_WAKE_BEFORE_SET | who rings wakes, and sets the bit then
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 WORDS M_SILENCE_LATE | the bell is silenced when the host is to sleep
end    NKILL=1 NJ=1 NC=1 NTK=1 WORDS M_WAKE_ONCE | who finds it rung does not wake: who rang may have died
end    NKILL=1 NJ=1 NC=1 NTK=1 WORDS M_NO_BELL | no bell at a death, of who rang and has not woken, too
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 NSUP=1 WORDS M_NO_OWNER | the supervisor's end does not ring
end    NW=1 NKILL=0 NJ=1 NC=1 NTK=1 WORDS M_NO_OWNER | the same, when the pool closes
none   NKILL=1 NJ=1 NC=1 NTK=1 WORDS M_DRAIN_LATE | the bell is silenced after the look
none   FILE=queue NT=3 | as the code is
none   FILE=queue NT=2 NKILL=1 NOFORK | as the code is
none   FILE=queue NT=2 NP | as the code is
none   FILE=queue NT=3 TK=3 BUSY | as the code is
none   FILE=queue NT=2 TK=3 NKILL=1 BUSY | as the code is
assert FILE=queue NT=2 NKILL=1 NOFORK TK=1 | a queue with fewer places than there are workers
assert FILE=queue NT=3 WK=1 | a wake pipe that is full before all are woken
assert FILE=queue NT=3 PAGES | a wake pipe that has room again only when it is empty
assert FILE=queue NT=3 M_POP_STORE | pop: a store, no CAS
assert FILE=queue NT=3 M_POP_ADD | pop: an addition, no CAS
assert FILE=queue NT=3 M_ENTRY_LATE | pop: the entry is read after the CAS
assert FILE=queue NT=3 M_TAIL_FIRST | push: the tail before the entry
assert FILE=queue NT=3 M_NO_FULL | push: the head is not looked at
assert FILE=queue NT=3 M_HEAD_KEPT | push: the head is looked at once
assert FILE=queue NT=2 M_IDLE_LATE | idle when it has looked a last time
assert FILE=queue NT=2 M_NO_LAST_LOOK | idle, and no look after it
assert FILE=queue NT=2 M_WAKE_FIRST | who is idle is looked at before the push
assert FILE=queue NT=2 M_NO_WAKE | nobody is woken
assert FILE=queue NT=3 M_WAKE_ONE | one byte for whatever was pushed
assert FILE=queue NT=2 BUSY M_LOOKS_STILL | a worker looks out, as it says, until it has popped
assert FILE=queue NT=2 BUSY M_COUNT_FIRST | who looks out is counted before the head is read
assert FILE=queue NT=2 TK=3 NKILL=1 NOFORK BUSY M_DEAD_LOOKS | who died looking out is counted still
assert FILE=queue NT=3 TK=1 M_RING2_FIRST | host_waits 2 looked at before the pop
assert FILE=queue NT=3 M_NO_RING2 | host_waits 2 not looked at
assert FILE=queue NT=3 M_NO_RETRY | no push after a backlog was told
assert FILE=queue NT=3 M_NO_HW2 | a backlog is not told
assert FILE=queue NT=3 M_SUBMIT_HW | a backlog is told by who is to sleep alone
assert FILE=queue NT=3 M_NO_FLUSH | who is to sleep does not push what is due
assert FILE=queue NT=2 NKILL=1 NOFORK M_NO_LOST | a death is not told
none   FILE=queue NT=2 NKILL=1 NOFORK M_NO_STRANDED | who sleeps counts on those who look out: the code looks, for one that is stopped
none   FILE=queue NT=3 WORDS | as the code is, on words
none   FILE=queue NT=2 NKILL=1 NOFORK WORDS | as the code is, on words
none   FILE=queue NT=2 WORDS NP | as the code is, on words
none   FILE=queue NT=3 TK=3 BUSY WORDS | as the code is, on words
none   FILE=queue NT=2 WORDS SHUT | as the code is, on words
assert FILE=queue NT=2 WORDS M_WAKES_LATE | `wakes` is read after the last look
assert FILE=queue NT=2 WORDS M_NO_COMPARE | `wakes` is not compared
assert FILE=queue NT=2 WORDS M_NO_COUNT | `wakes` is not counted up
assert FILE=queue NT=2 WORDS M_COUNT_LATE | `wakes` is counted up after the wake
assert FILE=queue NT=2 WORDS M_IDLE_LATE | idle when it has looked a last time
assert FILE=queue NT=3 WORDS M_WAKE_ONE | one is woken for whatever was pushed
assert FILE=queue NT=1 WORDS SHUT M_ERA_FIRST | whether it is shut is looked at before `wakes` is read
assert FILE=queue NT=1 WORDS SHUT M_SHUT_LATE | it is shut after the wake
assert FILE=queue NT=1 WORDS SHUT M_SHUT_QUIET | it is shut, and nobody is woken
none   FILE=queue NT=2 WORDS M_WAKES_IDLE | `wakes` is read when it is idle: then it looks
none   FILE=sleeper NT=2 | as the code is
none   FILE=sleeper NT=2 NEVER | as the code is
none   FILE=sleeper NT=2 NEVER NLATE=0 NLOOK=0 NP | as the code is
none   FILE=sleeper NEVER NLATE=0 NLOOK=0 | as the code is
none   FILE=sleeper NCANCEL=0 NLOOK=0 | as the code is
none   FILE=sleeper NCANCEL=0 NLATE=0 | as the code is
none   FILE=sleeper NLOOK=0 NLATE=0 | as the code is
end    FILE=sleeper NT=2 NLATE=0 NCANCEL=0 M_NO_HAND_OVER | who leaves wakes nobody to take its place
end    FILE=sleeper NT=2 NLATE=0 NCANCEL=0 M_HAND_SELF | who leaves may wake itself
end    FILE=sleeper NT=2 M_LATE_KEEPS | who is late does not hand over
end    FILE=sleeper NT=2 NLATE=0 NCANCEL=0 M_STAYS | the sleeper leaves and is taken for the sleeper still
end    FILE=sleeper NT=2 NLATE=0 NCANCEL=0 M_NO_HW | the sleeper does not say that it waits
end    FILE=sleeper NT=2 NLATE=0 NCANCEL=0 M_HW_LATE | it says so after it has looked
end    FILE=sleeper NT=2 NLATE=0 NCANCEL=0 M_NO_LOOK | it says so and does not look
assert FILE=sleeper NEVER NLATE=0 NLOOK=0 M_NO_WAKE | the sleeper does not wake those whose jobs have ended
assert FILE=sleeper NT=2 NEVER NLATE=0 M_NO_NUDGE | who ends the sleeper's job signals its condition
cycle  FILE=sleeper NT=2 NEVER NLATE=0 NLOOK=0 NP M_NUDGE_ALL | the others are nudged, and not signalled
none   FILE=sleeper NT=2 M_DRAIN_LATE | the bell is read empty after the look
end    FILE=sleeper NT=2 NLATE=0 NCANCEL=0 M_CHECK_FIRST | a waiter lets go of the lock before it waits
none   FILE=sleeper NT=2 WORDS | as the code is, on words
none   FILE=sleeper NT=2 NEVER NLATE=0 NLOOK=0 WORDS NP | as the code is, on words
none   FILE=sleeper NEVER NLATE=0 NLOOK=0 WORDS | as the code is, on words
none   FILE=sleeper NCANCEL=0 NLOOK=0 WORDS | as the code is, on words
none   FILE=sleeper NLOOK=0 NLATE=0 WORDS | as the code is, on words
end    FILE=sleeper NT=2 NLATE=0 NCANCEL=0 WORDS M_WAKE_BEFORE_SET | who rings wakes, and sets the bell then
end    FILE=sleeper NT=2 NLATE=0 NCANCEL=0 WORDS M_NO_COMPARE | the sleeper sleeps though it has rung
end    FILE=sleeper NT=2 NLATE=0 NCANCEL=0 WORDS M_SILENCE_LATE | the bell is silenced when it is to sleep
assert FILE=sleeper NT=2 NEVER NLATE=0 WORDS M_NO_NUDGE | who ends the sleeper's job signals its condition
none   FILE=sleeper NT=2 WORDS M_DRAIN_LATE | the bell is silenced after the look
LIST
[ "$long" ] && cat >>"$tmp/list" <<'LIST'
none   NKILL=1 NJ=2 | as the code is
none   NKILL=1 NJ=1 NC=1 NEXP=1 NSTUCK=1 | as the code is
none   NKILL=0 NJ=2 NC=1 NEXP=1 NSTUCK=1 | as the code is
none   NKILL=0 NJ=1 NEXP=1 NSTUCK=1 RETRY=1 | as the code is
none   NKILL=2 NJ=1 NC=1 NTK=1 RETRY=1 NDELAY=2 | as the code is
none   NKILL=1 NJ=2 NC=1 NTK=1 TAGS=1 NEXP=1 PROMPT | as the code is
none   NKILL=2 NJ=2 NTK=1 NC=1 | as the code is
none   NKILL=2 NJ=1 RETRY=1 | as the code is
none   NKILL=0 NJ=3 | as the code is
none   NKILL=1 NJ=3 NTK=1 NC=1 | as the code is
none   NKILL=1 NJ=2 NTK=1 NP | as the code is
none   NKILL=1 NJ=3 TAGS=1 NC=1 NTK=1 | as the code is
none   NKILL=1 NJ=2 NTK=1 TAGS=1 | as the code is
none   NKILL=1 NJ=2 NS=2 NC=1 TK=1 | as the code is
none   NKILL=0 NJ=3 NS=2 NC=1 NTK=1 TK=1 CANCEL THREADS | as the code is
none   NKILL=1 NJ=2 NC=1 NTK=1 NEXP=1 NSTUCK=1 | as the code is
none   NKILL=1 NJ=1 CANCEL NSTOP=1 RETRY=1 | as the code is
none   NKILL=1 NJ=1 NRETIRE=1 NDELAY=1 NTK=1 | as the code is
none   NKILL=1 NJ=1 NSUP=1 NTK=1 | as the code is
none   NKILL=1 NJ=2 NTK=1 WK=2 LATEIDLE | as the code is
none   NKILL=0 NJ=2 NTK=1 FAILHINT CANCEL | as the code is
none   NKILL=2 NJ=1 NC=1 NDELAY=2 RETRY=1 | as the code is
none   NKILL=1 NJ=1 NHOST=1 | as the code is
none   NKILL=1 NJ=1 NC=3 NW=3 NTK=1 | as the code is
none   NKILL=0 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 CANCEL NSTOP=1 | as the code is
none   NKILL=1 NJ=2 NS=2 NC=1 NTK=1 LAST NTERM=1 NSTUCK=1 | as the code is
end    NKILL=0 NJ=2 NS=2 NC=1 NTK=2 TK=1 LAST NTERM=1 NSTUCK=1 THREADS M_SUBMIT_HW | a backlog is told by the sleeper alone
end    NKILL=1 NJ=2 NS=2 NC=1 NTK=1 TK=1 LAST NTERM=1 NSTUCK=1 M_NO_RETRY | no post after a backlog was told
end    NKILL=1 NJ=1 NTK=1 TK=1 NDELAY=1 NOFORK | a queue with fewer places than there are workers
none   NKILL=1 NJ=1 ANYORDER | as the code is
none   NKILL=2 NJ=1 NTK=1 RETRY=1 | as the code is
none   NKILL=1 NJ=1 CANCEL | as the code is
none   NKILL=1 NJ=1 NC=1 CANCEL NSTOP=1 RETRY=1 | as the code is
none   NKILL=2 NJ=1 NTK=1 NDELAY=2 NOFORK | as the code is
none   NKILL=1 NJ=2 NC=1 TAGS=1 | as the code is
none   NKILL=1 NJ=1 NC=1 NTK=1 NTERM=1 NSUP=1 NDELAY=1 | as the code is
none   NKILL=1 NJ=1 NC=1 NSTUCK=1 | as the code is
none   NKILL=0 NJ=1 NEXP=1 RETRY=1 | as the code is
none   NKILL=2 NJ=1 NC=1 NTK=1 NDELAY=2 NOFORK | as the code is
none   NKILL=1 NJ=2 NS=2 NC=1 NTK=1 TK=1 | as the code is
none   NKILL=2 NJ=1 NC=1 NTK=1 RETRY=1 NDELAY=1 | as the code is
none   FILE=queue NT=2 NKILL=1 | as the code is
none   FILE=queue NT=3 NKILL=1 NOFORK BUSY TK=4 | as the code is
none   FILE=queue NW=3 NT=2 | as the code is
none   FILE=sleeper NCANCEL=1 NLOOK=0 NLATE=1 | as the code is
none   NKILL=1 NJ=2 NTK=1 NC=1 WORDS | as the code is, on words
none   NKILL=0 NJ=2 NS=2 NC=1 NTK=1 WORDS CANCEL THREADS | as the code is, on words
none   NKILL=1 NJ=1 NC=1 NTK=1 NSUP=1 WORDS | as the code is, on words
none   NKILL=1 NJ=2 NC=1 NTK=1 TK=1 WORDS THREADS | as the code is, on words
none   NKILL=2 NJ=1 NC=1 NTK=1 RETRY=1 WORDS | as the code is, on words
none   NKILL=1 NJ=1 NC=1 NTK=1 NTERM=1 NSUP=1 WORDS | as the code is, on words
none   NKILL=1 NJ=1 NTK=1 NHOST=1 WORDS | as the code is, on words
none   NKILL=1 NJ=1 NSUP=1 NTK=1 WORDS | as the code is, on words
none   NKILL=1 NJ=2 NS=2 NC=1 NTK=1 WORDS LAST NTERM=1 NSTUCK=1 | as the code is, on words
none   FILE=queue NT=2 NKILL=1 WORDS SHUT | as the code is, on words
none   FILE=queue NW=3 NT=2 WORDS | as the code is, on words
none   FILE=sleeper NCANCEL=1 NLOOK=0 NLATE=1 WORDS | as the code is, on words
none   NKILL=1 NJ=1 NTK=1 RETRY=1 NDELAY=1 LONGDELAY WORDS | as the code is, on words
none   NKILL=1 NJ=1 NC=1 NTK=1 NHOST=1 WORDS | as the code is, on words
none   FILE=queue NT=2 TK=3 NKILL=1 BUSY WORDS | as the code is, on words
none   FILE=queue NT=1 NKILL=1 WORDS SHUT | as the code is, on words
LIST
grep -e "$pattern" "$tmp/list" >"$tmp/rows"

# search WORD...: what pan says about this configuration
search() {
    flags= mode='-DSAFETY' run=-w24 model=protocol optimize=-O1 order=
    for word; do
        case $word in
        FILE=*) model=${word#FILE=} ;;
        M_*) flags="$flags -D$word" optimize=-O0 run="$run -w18" ;; # a short search
        NP) mode='-DNP -DNOFAIR' run="$run -l" ;;
        REVERSE) order=-DREVERSE ;;
        *) flags="$flags -D$word" ;;
        esac
    done
    spin -a $flags "$here/$model.pml" >spin.log 2>&1 || { echo "spin failed"; return; }
    ${CC:-cc} $optimize -w $mode $order -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=${MEM:-3800} -o pan pan.c >cc.log 2>&1 ||
        { echo "compiler failed"; return; }
    ./pan $run -m1000000 >pan.log 2>&1
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
    while read -r want row; do
        words=${row% | *}
        n=$((n + 1))
        mkdir "$tmp/row$n" 2>/dev/null || continue
        cd "$tmp/row$n" || exit 1
        got=$(search $words </dev/null)
        states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log 2>/dev/null)
        verdict=FAILED
        [ "$got" = "$want" ] && verdict=ok
        echo $verdict >"$tmp/verdict$n"
        rm -rf "$tmp/row$n"/*
        printf '%-6s %-6s %-10s %9s  %-54s  %s\n' $verdict "$want" "$got" "${states:-?}" "${row#* | }" "$words"
    done <"$tmp/rows"
}

printf '%-6s %-6s %-10s %9s  %-54s  %s\n' '' want found states 'what is wrong' configuration
i=0
while [ $i -lt "${JOBS:-2}" ]; do lane & i=$((i + 1)); done
wait

rows=$(grep -c '' "$tmp/rows")
passed=$(cat "$tmp"/verdict* 2>/dev/null | grep -c '^ok$')
echo "$passed passed, $((rows - passed)) failed"
[ "$rows" -gt 0 ] && [ "$passed" -eq "$rows" ]

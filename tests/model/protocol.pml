/* SPDX-License-Identifier: MIT */
/*
 * protocol.pml - Promela model of the claim / crash / deadline / close protocol of libmproc.
 *
 * What it models: one host (with threads of which one at a time sleeps), one supervisor, NW workers,
 * NS job slots that are reused for NJ jobs, NC chunks per job, a ticket pipe with room for TK tickets,
 * a bell pipe of which only "empty or not" and "at end of file" matter, SIGKILL of any worker, of the
 * supervisor and of the host at any step, SIGKILLs that arrive later than they were sent, deadlines,
 * tasks that never return, early close of a job (cancel, fail-fast) by a thread that does not sleep,
 * retries, workers that retire, replacements that cannot be started at once, tags that wrap.
 *
 * The steps that are easy to get wrong, each with the mutation that shows why it is there:
 *
 *   The host sleeps on the bell pipe alone.  Its only writers are the supervisor and the workers, so
 *     its end of file says that every process of the generation is gone (M_EOF_EARLY).
 *   host_waits is 0 awake; 1 ring when a job has ended; 2 there is a backlog, ring when a ticket has
 *     been read as well (M_NO_RING2).  Said before the last post and the last look (M_HW_LATE).  When
 *     a backlog first appears later than that, by a post in the look or by a submit of another thread,
 *     it is raised to 2 and the post tried again (M_NO_RETRY, M_SUBMIT_HW).
 *   A worker that reads end of file on the ticket pipe marks its record `left` and is not replaced
 *     (M_NO_LEFT, M_RETIRE_LEFT).  Every other dead worker is, during close too.  The supervisor exits
 *     when all have left.
 *   A death with no ticket in the record, and a replacement that is not started at once, count `lost`
 *     (M_NO_LOST, M_DELAY_NOLOST), before the bell (M_LOST_LATE).  The host looks at every word when
 *     `deaths` or `lost` moved (M_DEATHS_ONLY: the two are not read in one step), and posts again only
 *     if `lost` moved.
 *   A close by a thread that does not sleep is followed by a nudge of the one that does (M_NO_NUDGE); the
 *     nudge pipe is polled beside the bell, so here they are one.  The supervisor looks for STOPPING words
 *     after it has read the poke (M_POKE_LATE).
 *   At a deadline the word is loaded before the record is compared, and the CAS is from that value, so that
 *     it hits the claim whose time is up and not the next one (M_DEADLINE_FIRST, M_SEEN_TAG).
 *   The descriptor is read after the claim and before the finish: a RUNNING word pins it (M_DESC_EARLY).
 *
 * How to run one configuration (any of the -D below may be combined; check.sh runs them all):
 *
 *   spin -a -DNKILL=1 -DNJ=2 protocol.pml && gcc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m1000000
 *
 * must print "errors: 0".  An "assertion violated" is a broken safety property.  An "invalid end
 * state" is a state in which nothing moves any more and some job has not ended or some process is
 * left: every liveness failure of a model without cycles ends there.  That it has none is checked with
 *
 *   spin -a -DNKILL=1 -DNJ=2 protocol.pml && gcc -O2 -DNP -DCOLLAPSE -DNOFAIR -o pan pan.c && ./pan -l -m1000000
 *
 * (no progress label exists, so every cycle would be reported as a non-progress cycle).  No cycles and
 * no invalid end states together mean: every execution is finite and ends with every job completed
 * and every process gone, whatever the scheduling, without any fairness assumption.
 *
 * Parameters
 *   NW 1|2|3  NC 1|2|3  NS 1|2  NJ  TK  NTK (tickets posted per job, 1|2)  RETRY (retries per chunk)
 *   NKILL (deaths of workers)  NSUP (of the supervisor: the pool is broken, every open job ends)
 *   NHOST (of the host)  NTERM (the host closes the control pipe: terminate, poison)
 *   NRETIRE (workers that retire after a chunk)  NDELAY (replacements that are not started at once)
 *   LONGDELAY (such a replacement comes only when no other worker is left, or at the close)
 *   NOFORK (it never comes)  HUP (the supervisor, which holds the ticket pipe's read end, sees the end of
 *     file too, and starts no replacement after it: without this a close hangs while fork fails)
 *   NEXP (deadlines that pass while the task is about to end)  NSTUCK (tasks that never return)
 *   NSTOP (running chunks that the host orders to be stopped; needs CANCEL)
 *   CANCEL (any job may be closed early, by another thread while one sleeps, or by the only one)
 *   THREADS (jobs are submitted by other threads while one sleeps, too)
 *   FAILHINT (a chunk that fails makes its worker ring before the job has ended)
 *   TAGS (number of different tags: they wrap; ghosts go by the true job number)
 *   VARC (every second job has one chunk only)
 *   PAGES (a pipe that was full has room again only when it is empty, as where room is made by pages)
 *   PDRACE (PDEATHSIG is set by the child after the fork, the parent may be dead by then)
 *   LAST (the host waits for the last job alone and then terminates; tasks of the others may never
 *     return, with no deadline: shows that no job waits for the end of another; needs NTERM=1)
 *   ANYORDER (each pass starts at any chunk; NC 2)
 *   M_xxx (mutations; the checker finds the error: check.sh says in which configuration)
 */
#ifndef NW
#define NW 2
#endif
#ifndef NC
#define NC 2
#endif
#ifndef NS
#define NS 1
#endif
#ifndef NJ
#define NJ 2
#endif
#ifndef TK
#define TK 1
#endif
#ifndef NTK
#define NTK 2
#endif
#ifndef NKILL
#define NKILL 1
#endif
#ifndef NSUP
#define NSUP 0
#endif
#ifndef NHOST
#define NHOST 0
#endif
#ifndef NTERM
#define NTERM 0
#endif
#ifndef NRETIRE
#define NRETIRE 0
#endif
#ifndef NDELAY
#define NDELAY 0
#endif
#ifndef RETRY
#define RETRY 0
#endif
#ifndef NEXP
#define NEXP 0
#endif
#ifndef NSTUCK
#define NSTUCK 0
#endif
#ifndef NSTOP
#define NSTOP 0
#endif
#if (NEXP>0 || NSTUCK>0) && !defined(LAST)
#define DEADLINES
#endif
#ifdef TAGS
#define TAG(j) (1+((j)-1)%TAGS)
#else
#define TAG(j) (j)
#endif

/* chunk states */
#define WAITING   1
#define RUNNING   2
#define STOPPING  3     /* its worker will be killed; not terminal: the worker may still write         */
#define DONE      4     /* DONE or FAILED: the function returned                                       */
#define CRASHED   5
#define STOPPED   6     /* TIMED_OUT, or CANCELLED after it had begun                                  */
#define CANCELLED 7     /* never begun                                                                 */
#define TERMINAL(x) ((x)>=DONE)

/* process states */
#define NONE   0
#define ALIVE  1
#define ZOMBIE 2
#define GONE   3        /* reaped, and it will not be replaced                                         */
#define DUE    4        /* reaped, the replacement could not be started at once                        */

/* ---- shared memory ---------------------------------------------------------------------------- */
typedef Slot { byte t[NC]; byte s[NC]; byte w[NC]; byte a[NC]; byte j };
Slot S[NS];             /* chunk word = {t tag, s state, w worker, a attempts}; the slot itself is the
                           other half of the word's id.  j: the descriptor (here the true job number)  */
byte rs[NW]; byte rt[NW];       /* worker record: the ticket it holds {slot, tag}; tag 0: none         */
byte rc[NW];                    /* worker record: the chunk it is about to claim (deadlines only)      */
bit  wleft[NW];                 /* worker record: it read the end of file of the ticket pipe           */
bit  ready[NS];                 /* a worker saw every chunk of the slot's job ended                    */
bit  deaths, lost;              /* the counter differs from the value the host saw last                */
byte hw;                        /* host_waits: 0 awake, 1 it sleeps, 2 it sleeps with a backlog        */

/* ---- pipes ------------------------------------------------------------------------------------ */
chan tq = [TK] of {byte,byte};  /* ticket pipe: {slot, tag}                                            */
bit  tclosed;                   /* no write end of the ticket pipe is open                             */
bit  bp;                        /* the bell pipe is not empty                                          */
bit  poke;                      /* control pipe: something changed, look for STOPPING words            */
bit  cclosed;                   /* the control pipe is at end of file: terminate, or the host is gone  */

/* ---- processes -------------------------------------------------------------------------------- */
byte st[NW]; bit pd[NW];        /* state; parent-death signal armed                                    */
bit  pend[NW]; bit killed[NW];  /* SIGKILL sent but not yet delivered; delivered                       */
byte supst; bit supkilled, hostkilled;
byte nk=NKILL, nsk=NSUP, nhk=NHOST, ntm=NTERM, nrt=NRETIRE, nd=NDELAY, nx=NEXP, nst=NSTUCK, nhs=NSTOP;

/* ---- the host's private table (global here only to keep the state small) ----------------------- */
byte atag[NS];                  /* number of the job in the slot, 0: free                              */
bit  closing[NS];               /* closed early                                                        */
bit  bl[NS];                    /* backlog: a ticket of this job found the pipe full                   */

/* ---- ghosts: not in the program, only to state the properties ---------------------------------- */
byte ex[NJ*NC];                 /* how often the function of (job, chunk) was begun                    */
bit  over[NJ+1];                /* the host completed the job: its memory may be anything now          */
#ifdef DEADLINES
byte seen[NW]; bit expd[NW];    /* supervisor's private: the claim it saw, and its time has run out    */
bit  stuck[NW];
#endif
bit  guilty[NW];                /* the SIGKILL under way comes from a deadline or a stop order         */

/* ---- unrolling -------------------------------------------------------------------------------- */
#if NW>2
#define EACHW(M) M(0) M(1) M(2)
#define NOW(x) (st[0]!=x && st[1]!=x && st[2]!=x)
#elif NW==1
#define EACHW(M) M(0)
#define NOW(x) (st[0]!=x)
#else
#define EACHW(M) M(0) M(1)
#define NOW(x) (st[0]!=x && st[1]!=x)
#endif
#if NC>2
#define EACHC(M) M(0) M(1) M(2)
#elif NC>1
#define EACHC(M) M(0) M(1)
#else
#define EACHC(M) M(0)
#endif
#if NS>1
#define EACHS(M) M(0) M(1)
#define NOJOB (atag[0]==0 && atag[1]==0)
#define LASTOPEN (atag[0]==NJ || atag[1]==NJ)
#define BACKLOG (bl[0] || bl[1])
#else
#define EACHS(M) M(0)
#define NOJOB (atag[0]==0)
#define LASTOPEN (atag[0]==NJ)
#define BACKLOG (bl[0])
#endif
#ifdef LAST
#define ENOUGH (nj==NJ && !LASTOPEN)            /* what the sleeper waited for has happened */
#else
#define ENOUGH NOJOB
#endif
#ifdef VARC
#define COUNT(j) (((j)%2) -> NC : 1)
#else
#define COUNT(j) NC
#endif
#define NOWORKER NOW(ALIVE)
#define ALLGONE (NOWORKER && NOW(ZOMBIE) && NOW(DUE))
#define LIFE_EOF (supst==GONE && NOWORKER)      /* the bell pipe is at end of file: no writer is left */

/* ================================================================================================ */
/* worker                                                                                           */
/* ================================================================================================ */
#ifdef M_NOTAG
#define MINE(i) (true)
#else
#define MINE(i) (S[s].t[i]==t)
#endif

#ifdef M_DONE_STORE
#define FINISH(i) S[s].s[i]=DONE; S[s].w[i]=0; S[s].a[i]=0
#else                   /* CAS RUNNING -> DONE; if it fails, somebody decided to kill: touch nothing more */
#define FINISH(i) if :: S[s].s[i]==RUNNING -> S[s].s[i]=DONE; S[s].w[i]=0; S[s].a[i]=0 \
                     :: else -> goto leave fi
#endif

#ifdef M_DESC_EARLY     /* the descriptor as it was when the ticket was noted */
#define DESC
#else                   /* read under the claim: the RUNNING word pins it until the finish */
#define DESC e=S[s].j;
#endif
#define BEGIN(i) S[s].s[i]=RUNNING; S[s].w[i]=w; ok=1; DESC assert(e==S[s].j && !over[e]); \
      ex[(e-1)*NC+i]++; assert(ex[(e-1)*NC+i]<=1+RETRY)

#ifdef M_CLAIM_STORE    /* load, then store */
#define CLAIM(i) if :: MINE(i) && S[s].s[i]==WAITING -> ok=1 :: else fi; \
    if :: ok -> atomic { BEGIN(i) } :: else fi;
#else                   /* CAS {t, WAITING} -> {t, RUNNING, w} */
#define CLAIM(i) atomic { if :: MINE(i) && S[s].s[i]==WAITING -> BEGIN(i) :: else fi };
#endif

#if NSTUCK>0
#ifdef LAST
#define STUCKRUN :: atomic { ok && nst>0 && e<NJ -> nst-- }; false
#else
#define STUCKRUN :: atomic { ok && nst>0 -> nst--; stuck[w]=1 }; false
#endif
#else
#define STUCKRUN
#endif
#ifdef DEADLINES
#define NOTEC(i) rc[w]=i;
#else
#define NOTEC(i)
#endif
#if NRETIRE>0           /* it exits with its ticket noted; its replacement goes on with it */
#ifdef M_RETIRE_LEFT
#define RETIRE if :: nrt>0 -> nrt--; wleft[w]=1; goto leave :: true fi
#else
#define RETIRE if :: nrt>0 -> nrt--; goto leave :: true fi
#endif
#else
#define RETIRE skip
#endif
#ifdef FAILHINT
#define HINT if :: true -> ready[s]=1; RING :: true fi
#else
#define HINT skip
#endif
#ifdef M_CHECK_FIRST    /* what a weaker order than seq_cst would allow: look at the others, then finish */
#define SNAP(i) if :: atomic { ok && S[s].t[1-i]==t && TERMINAL(S[s].s[1-i]) -> v=1 } :: else fi;
#else
#define SNAP(i)
#endif

/* one chunk of the pass: claim it, run it, store the outcome */
#define TRY(i) \
    NOTEC(i) \
    CLAIM(i) \
    SNAP(i) \
    if \
    :: atomic { ok -> ok=0; assert(e==S[s].j && !over[e]); FINISH(i); RETIRE }; HINT \
    STUCKRUN \
    :: !ok \
    fi;

/* one chunk of the look back: not ended -> somebody else will ring; a pass without a claim looks at all */
#define CHECK(i) atomic { if :: (e!=0 && i>=COUNT(e)) || (S[s].t[i]==t && TERMINAL(S[s].s[i])) \
                             :: else -> goto drop fi };

/* if (host_waits) write(); a full pipe is not empty, so EAGAIN is as good */
#define RING atomic { if :: hw!=0 -> bp=1 :: else fi }

proctype Worker(byte w) {
  byte s, t, e; bit ok;                                 /* e: the descriptor it works by */
#ifdef M_CHECK_FIRST
  bit v;
#endif
end_idle:
  (st[w]==ALIVE);
  {
#ifdef PDRACE
    pd[w]=1;                                            /* prctl(PR_SET_PDEATHSIG)  */
#ifndef M_NO_GETPPID
    if :: supst!=ALIVE -> goto leave :: else fi;        /* getppid() != supervisor  */
#endif
#else
    skip;
#endif
again:
    if
#ifndef M_NO_PRED
    :: atomic { rt[w]!=0 -> s=rs[w]; t=rt[w] }          /* a predecessor left a ticket */
    :: rt[w]==0 ->
#else
    :: true ->
#endif
       if
       :: atomic { tq?s,t }                             /* read a ticket: here a death loses it */
       :: atomic { tclosed && empty(tq) -> goto eof }   /* end of file */
       fi;
#ifndef M_NO_NOTE
       atomic { rs[w]=s; rt[w]=t };                     /* note it: one 64-bit store */
#endif
#ifndef M_NO_RING2
       atomic { if :: hw==2 -> bp=1 :: else fi }        /* the host has a backlog: there is room now */
#endif
    fi;
#ifdef M_CLEAR_FIRST
    rt[w]=0;
#endif
#ifdef M_DESC_EARLY
    e=S[s].j;
#endif
#ifdef ANYORDER
    if :: true -> TRY(1) TRY(0) :: true -> TRY(0) TRY(1) fi;
#else
    EACHC(TRY)
#endif
#ifdef M_CHECK_FIRST
    atomic { if :: v -> v=0 :: else -> goto drop fi };
#else
#if NC>2
    CHECK(2)
#endif
#if NC>1
    CHECK(1)
#endif
    CHECK(0)
#endif
#ifdef M_RING_FIRST
    RING;
    ready[s]=1;
#else
    ready[s]=1;
    RING;
#endif
drop:
    atomic { rt[w]=0; rs[w]=0; rc[w]=0; s=0; t=0; e=0; ok=0; goto again };
eof:
#ifndef M_NO_LEFT
    wleft[w]=1;
#endif
    skip
  } unless { atomic { killed[w] -> goto leave } };
leave:                  /* killed, or _exit: the same thing to everybody else */
  atomic { st[w]=ZOMBIE; killed[w]=0; pd[w]=0; pend[w]=0; guilty[w]=0; s=0; t=0; e=0; ok=0;
#ifdef M_CHECK_FIRST
    v=0;
#endif
#ifdef DEADLINES
    stuck[w]=0;
#endif
    goto end_idle }
}

/* ================================================================================================ */
/* supervisor                                                                                       */
/* ================================================================================================ */
#define REAPW(i)  :: atomic { st[i]==ZOMBIE -> w=i; goto reap }
#if defined(NOFORK)
#define STARTW(i)
#elif defined(LONGDELAY)
#define STARTW(i) :: atomic { st[i]==DUE && (tclosed || (NOWORKER && NOW(ZOMBIE))) -> w=i; goto start }
#else
#define STARTW(i) :: atomic { st[i]==DUE -> w=i; goto start }
#endif
#define NEEDLESS(i) :: atomic { st[i]==DUE && tclosed && empty(tq) -> st[i]=GONE }
#define SAMEW(i)  (S[rs[w]].t[i]==rt[w] && S[rs[w]].w[i]==w)
#define MARK(i) \
      if \
      :: SAMEW(i) && S[rs[w]].s[i]==RUNNING && S[rs[w]].a[i]<RETRY -> \
         S[rs[w]].w[i]=0; S[rs[w]].a[i]++; S[rs[w]].s[i]=WAITING \
      :: SAMEW(i) && S[rs[w]].s[i]==RUNNING && S[rs[w]].a[i]>=RETRY -> \
         S[rs[w]].w[i]=0; S[rs[w]].a[i]=0; S[rs[w]].s[i]=CRASHED \
      :: SAMEW(i) && S[rs[w]].s[i]==STOPPING -> \
         S[rs[w]].w[i]=0; S[rs[w]].a[i]=0; S[rs[w]].s[i]=STOPPED \
      :: else \
      fi;

/* the claim of worker i at this moment, {job, chunk}; the supervisor forgets it when it reaps.  It goes
   by the true job: what it compares must not wrap while a deadline runs                               */
#define ISRUN(i)  (rt[i]!=0 && S[rs[i]].t[rc[i]]==rt[i] && S[rs[i]].s[rc[i]]==RUNNING && S[rs[i]].w[rc[i]]==i)
#define CID(i)    (S[rs[i]].j*4 + rc[i])
#ifdef M_SEEN_TAG
#define SAMEC(i)  ((seen[i]%4)==rc[i] && TAG(seen[i]/4)==rt[i])
#else
#define SAMEC(i)  (seen[i]==CID(i))
#endif
#define TICKW(i) \
    :: atomic { ISRUN(i) && (seen[i]==0 || !SAMEC(i)) -> seen[i]=CID(i); expd[i]=0 } \
    :: atomic { ISRUN(i) && seen[i]!=0 && SAMEC(i) && expd[i] -> w=i; goto expired }
#define STOPC(i)  || (S[rs[w]].t[i]==rt[w] && S[rs[w]].s[i]==STOPPING && S[rs[w]].w[i]==w)
#define POKEW(i)  atomic { w=i; if :: rt[w]!=0 && (false EACHC(STOPC)) && st[w]==ALIVE -> pend[w]=1; guilty[w]=1 \
                                   :: else fi; w=0 };
#define KILLW(i)  if :: st[i]==ALIVE -> pend[i]=1; guilty[i]=0 :: else fi;
#define VACATE(i) st[i]=GONE;
#define ORPHAN(i) if :: pd[i] && st[i]==ALIVE -> pend[i]=1; guilty[i]=0 :: else fi;

proctype Sup() {
  byte w; bit k;
end_idle:
  (supst==ALIVE);
  {
    do
    :: atomic { cclosed -> goto killall }               /* end of file on the control pipe */
    EACHW(REAPW)
#if NDELAY>0
    EACHW(STARTW)
#ifdef HUP
    EACHW(NEEDLESS)
#endif
#endif
    :: atomic { ALLGONE -> goto bye }                   /* every worker has left */
#ifdef DEADLINES
    EACHW(TICKW)
#endif
#if NSTOP>0
#ifdef M_POKE_LATE
    :: poke -> goto poked
#else
    :: atomic { poke -> poke=0; goto poked }            /* read the pipe empty, then look */
#endif
#endif
    od;
#if NSTOP>0
poked:
    EACHW(POKEW)
#ifdef M_POKE_LATE
    poke=0;
#endif
    goto end_idle;
#endif
#ifdef DEADLINES
expired:
#ifdef M_DEADLINE_FIRST /* the record compared first, the word loaded later: it may be the next claim by then */
    if :: ISRUN(w) && SAMEC(w) :: else -> atomic { w=0; goto end_idle } fi;
    atomic { if :: ISRUN(w) -> assert(seen[w]==CID(w)); S[rs[w]].s[rc[w]]=STOPPING
                :: else -> w=0; goto end_idle fi };
#elif !defined(M_KILL_NOCAS)    /* CAS RUNNING -> STOPPING: decides between "ended in time" and "killed" */
    atomic { if :: ISRUN(w) && SAMEC(w) -> assert(seen[w]==CID(w)); S[rs[w]].s[rc[w]]=STOPPING
                :: else -> w=0; goto end_idle fi };
#endif
    atomic {
      if :: st[w]==ALIVE -> pend[w]=1; guilty[w]=1 :: else fi;
#ifdef M_KILL_NOCAS
      expd[w]=0;
#endif
#ifdef M_MARK_EARLY
      S[rs[w]].s[rc[w]]=STOPPED;
#endif
      w=0; goto end_idle };
#endif
reap:                   /* waitid(WNOWAIT), kill(-pgid), waitpid: nothing of it runs any more */
#ifdef M_EVENT_FIRST
    if :: rt[w]==0 -> lost=1 :: else fi;
    deaths=1; bp=1;
#endif
#ifdef M_FORK_FIRST
    st[w]=ALIVE;
#endif
    atomic { if :: rt[w]!=0 -> EACHC(MARK) k=0 :: else -> k=1 fi;
#ifdef DEADLINES
      seen[w]=0; expd[w]=0;
#endif
      rc[w]=0 };
#ifndef M_EVENT_FIRST
#ifdef M_BELL_FIRST
    bp=1;
#endif
#if defined(M_NO_LOST)
    k=0;
#elif !defined(M_LOST_LATE)
    if :: atomic { k -> k=0; lost=1 } :: !k fi;         /* a ticket may have been read and not noted */
#endif
#ifndef M_NO_DEATHS
    deaths=1;
#endif
#ifndef M_BELL_FIRST
    bp=1;                                               /* always, whatever host_waits says */
#endif
#ifdef M_LOST_LATE
    if :: atomic { k -> k=0; lost=1 } :: !k fi;
#endif
#endif
#ifndef M_FORK_FIRST
    if
    :: atomic { wleft[w] -> st[w]=GONE; w=0; k=0; goto end_idle }
    :: !wleft[w]
#if NDELAY>0
    :: atomic { !wleft[w] && nd>0 -> nd--; goto delay }
#endif
    fi;
start:
    atomic {
#ifndef PDRACE
      pd[w]=1;
#endif
      st[w]=ALIVE; w=0; k=0 }
#endif
    goto end_idle;
#if NDELAY>0
delay:                          /* the ticket in its record, if any, stays there: nobody takes it up yet */
#ifndef M_DELAY_NOLOST
    lost=1;
#endif
    bp=1;
    atomic { st[w]=DUE; w=0; k=0; goto end_idle };
#endif
killall:
    atomic { EACHW(KILLW) skip };
    NOWORKER;
    atomic { EACHW(VACATE) goto bye }
  } unless { atomic { supkilled -> supkilled=0; goto bye } };
bye:
  atomic { supst=GONE; w=0; k=0; EACHW(ORPHAN) goto end_idle }
}

/* ================================================================================================ */
/* the world: SIGKILLs from outside, delivery of those that were sent, time                         */
/* ================================================================================================ */
#define OWNC(i)    || (S[rs[w]].t[i]==rt[w] && S[rs[w]].s[i]==RUNNING && S[rs[w]].w[i]==w)
#ifdef M_KILL_NOCAS
#define INNOCENT   (ISRUN(w) && CID(w)!=seen[w])
#else
#define INNOCENT   (rt[w]!=0 && (false EACHC(OWNC)))
#endif
#define HITW(i)    :: atomic { nk>0 && st[i]==ALIVE && !killed[i] -> nk--; killed[i]=1 }
#define DELIVER(i) :: atomic { pend[i] -> pend[i]=0; w=i; assert(!(guilty[w] && INNOCENT)); w=0; \
                               guilty[i]=0; if :: st[i]==ALIVE -> killed[i]=1 :: else fi }
#define TIMEW(i)   :: atomic { seen[i]!=0 && !expd[i] && (nx>0 || stuck[i]) -> if :: stuck[i] :: else -> nx-- fi; expd[i]=1 }

proctype World() {
  byte w;
end_w: do
  :: false
#if NKILL>0
  EACHW(HITW)
#endif
  EACHW(DELIVER)
#if NSUP>0
  :: atomic { nsk>0 && supst==ALIVE && !supkilled -> nsk--; supkilled=1 }
#endif
#if NHOST>0
  :: atomic { nhk>0 -> nhk--; hostkilled=1 }
#endif
#ifdef DEADLINES
  EACHW(TIMEW)
#endif
  od
}

/* ================================================================================================ */
/* host                                                                                             */
/* ================================================================================================ */
#if defined(M_CANCEL_NOCAS)     /* "no chunk is handed out any more, so only the running ones count" */
#define CLOSEWORD(i) skip;
#define NEVERBEGUN(x) (closing[s] && (x)==WAITING)
#else                           /* CAS WAITING -> CANCELLED, on every look at a closed job */
#define CLOSEWORD(i) atomic { if :: i<COUNT(atag[s]) && S[s].s[i]==WAITING -> S[s].s[i]=CANCELLED; S[s].a[i]=0 \
                                 STOPWORD(i) :: else fi };
#define NEVERBEGUN(x) false
#endif
#if NSTOP>0                     /* CAS RUNNING -> STOPPING, then a poke */
#define STOPWORD(i) :: S[s].s[i]==RUNNING && nhs>0 -> nhs--; S[s].s[i]=STOPPING; pk=1
#else
#define STOPWORD(i)
#endif
#ifdef M_NO_NUDGE               /* whoever closed the job does not sleep; whoever sleeps shall look */
#define NUDGE
#else
#define NUDGE bp=1;
#endif
#ifdef M_CANCEL_ONCE
#define CLOSED now
#else
#define CLOSED closing[s]
#endif
#ifdef M_STOPPING_TERMINAL
#define ISDONE(x) ((x)>=STOPPING)
#else
#define ISDONE(x) TERMINAL(x)
#endif
#define LOOK(i) if :: i>=COUNT(atag[s]) || ISDONE(S[s].s[i]) || NEVERBEGUN(S[s].s[i]) -> nterm++ \
                   :: else -> if :: S[s].s[i]==WAITING -> nwait=1 :: else fi fi

/* one 64-bit store for each word; the descriptor was written before */
#define INIT1(i) if :: i<COUNT(nj) -> S[s].t[i]=TAG(nj); S[s].s[i]=WAITING; S[s].w[i]=0; S[s].a[i]=0 :: else fi;
#define INITW(i) atomic { INIT1(i) };    /* an old ticket may be good for one word before the next is written */

#ifdef PAGES
bit fullp;                      /* it was full, and has not been empty since */
#define ROOM   (len(tq)<TK && !(fullp && len(tq)>0))
#define NOROOM (len(tq)==TK || (fullp && len(tq)>0))
#define TAKEN  if :: len(tq)==TK -> fullp=1 :: else -> fullp=0 fi
#else
#define ROOM   nfull(tq)
#define NOROOM full(tq)
#define TAKEN  skip
#endif
#ifdef M_TICKET_DROP
#define LATER(ss) skip
#else
#define LATER(ss) bl[ss]=1
#endif
#define POST(ss) atomic { if :: ROOM -> tq!ss,TAG(atag[ss]); TAKEN :: NOROOM -> LATER(ss) fi }
#define PUSH(ss) atomic { if :: bl[ss] && ROOM -> bl[ss]=0; tq!ss,TAG(atag[ss]); TAKEN :: !bl[ss] || NOROOM fi };
#define BORN(i)  st[i]=ALIVE;
#ifdef PDRACE
#define ARM(i)   pd[i]=0;
#else
#define ARM(i)   pd[i]=1;
#endif
#define LATEMARK(i) if :: atag[i]!=0 -> over[atag[i]]=1; atag[i]=0 :: else fi;
#define SUBMIT(i)   :: atomic { nj<NJ && atag[i]==0 -> s=i; nj++; goto submit }
#define SUBMIT2(i)  :: atomic { nj<NJ && atag[i]==0 -> s=i; nj++; other=1; goto submit }
#define CLOSEJOB(i) :: atomic { atag[i]!=0 && !closing[i] -> closing[i]=1; now=1; bl[i]=0; other=1; s=i; goto sweep }

proctype Host() {
  byte nj, s, nterm; bit nwait, x, d, l, now, pk;
  bit other;                    /* the step is made by another thread, while this one sleeps */
  {
  atomic { EACHW(ARM) EACHW(BORN) supst=ALIVE };        /* open: pipes, arena, fork */
loop:
  do
  EACHS(SUBMIT)
#ifdef LAST
#ifdef THREADS
  :: atomic { nj<NJ && !NOJOB -> goto wait }
#endif
  :: atomic { LASTOPEN -> goto wait }
  :: atomic { ENOUGH -> ntm--; goto term }
#else
  :: atomic { !NOJOB -> goto wait }
#if NTERM>0
  :: atomic { ntm>0 -> ntm--; goto term }
#endif
  :: atomic { nj==NJ && NOJOB -> goto close }
#endif
  od;

submit:                         /* every word of the slot is terminal, so nobody else changes one */
  atomic { atag[s]=nj; S[s].j=nj };
#ifdef TAGS
  EACHC(INITW)
#else
  atomic { EACHC(INIT1) skip };
#endif
  POST(s);
#if NTK>1
  POST(s);
#endif
#ifdef THREADS
#ifndef M_SUBMIT_HW
  if :: atomic { other && bl[s] && hw==1 -> hw=2 }; PUSH(s)
     :: !(other && bl[s] && hw==1)
  fi;
#endif
  atomic { s=0; if :: other -> other=0; goto sleep :: else -> goto loop fi };
#else
  atomic { s=0; goto loop };
#endif

wait:                           /* first say so, then post what is left, then look */
#ifndef M_HW_LATE
  atomic { if :: BACKLOG -> hw=2 :: else -> hw=1 fi };
#endif
  EACHS(PUSH)
#ifdef M_NO_SWEEP
  atomic { deaths=0 };
  atomic { lost=0 };
#elif defined(M_DEATHS_ONLY)
  atomic { d=deaths; deaths=0 };
  atomic { l=(d && lost); lost=0 };
#else
  atomic { d=deaths; deaths=0 };
  atomic { l=lost; lost=0 };
#endif
  atomic { s=0; x=ready[0]; ready[0]=0; if :: x || d || l -> goto sweep :: else fi };
next0:
#if NS>1
  atomic { s=1; x=ready[1]; ready[1]=0; if :: x || d || l -> goto sweep :: else fi };
next1:
#endif
#ifdef M_DRAIN_LATE
  bp=0;
#endif
  atomic { s=0; x=0; d=0; l=0; if :: ENOUGH -> goto awake :: else fi };
#ifdef M_HW_LATE
  atomic { if :: BACKLOG -> hw=2 :: else -> hw=1 fi };
#elif defined(M_NO_RETRY)
  atomic { if :: BACKLOG && hw==1 -> hw=2 :: else fi };
#else
  atomic { if :: BACKLOG && hw==1 -> goto wait :: else fi };    /* it came with this look: once more */
#endif
sleep:
  if                            /* poll() of the bell */
#ifdef M_DRAIN_LATE
  :: atomic { bp -> goto loop }
#else
  :: atomic { bp -> bp=0 }      /* read it empty, then look again */
#endif
#ifdef CANCEL
  EACHS(CLOSEJOB)
#endif
#ifdef THREADS
  EACHS(SUBMIT2)
#endif
#if NTERM>0 && !defined(LAST)
  :: atomic { ntm>0 -> ntm--; goto term }
#endif
#ifdef M_EOF_EARLY
  :: atomic { supst==GONE -> goto gendead }
#else
  :: atomic { LIFE_EOF -> goto gendead }
#endif
  fi;
awake:
  atomic { hw=0; goto loop };

sweep:                          /* slot s: first end what must not begin, then look at every word */
#ifdef CANCEL
  if :: atag[s]!=0 && CLOSED -> EACHC(CLOSEWORD) :: else fi;
#endif
  atomic { if :: atag[s]==0 -> goto swnext :: else fi; LOOK(0);
#if NC>1
  };
  atomic { LOOK(1);
#endif
#if NC>2
  };
  atomic { LOOK(2);
#endif
    if
    :: nterm==NC -> over[atag[s]]=1; atag[s]=0; closing[s]=0; bl[s]=0; goto swnext
    :: else -> nterm=0;
       if :: l && nwait && !closing[s] -> nwait=0 :: else -> goto swnext fi
    fi };
#ifndef M_NO_REPOST
  POST(s);
#endif
swnext:
#if NSTOP>0
  if :: atomic { pk -> pk=0; poke=1 } :: !pk fi;
#endif
  atomic { nterm=0; nwait=0; now=0;
    if
    :: other -> other=0; s=0; NUDGE goto sleep
    :: !other && s==0 -> goto next0
#if NS>1
    :: !other && s==1 -> goto next1
#endif
    fi };

term:                           /* terminate, or poison: the supervisor kills every worker */
  cclosed=1;
  LIFE_EOF;
gendead:                        /* every process of the generation is gone: no other writer is left */
  atomic {
    assert(NTERM>ntm || NSUP>nsk);
    EACHS(LATEMARK)             /* the pool is broken: each open job ends, with an error where it must */
    tclosed=1; cclosed=1; goto fin
  };

close:                          /* no job is open */
  tclosed=1;
  LIFE_EOF;
  goto fin
  } unless { hostkilled };
  atomic { cclosed=1; tclosed=1 };
fin: skip
}

#define RUNW(i) run Worker(i);
init { atomic { EACHW(RUNW) run Sup(); run World(); run Host() } }

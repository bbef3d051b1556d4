/* SPDX-License-Identifier: MIT */
/*
 * protocol.pml - Promela model of the claim / crash / deadline / close protocol of libmproc.
 *
 * It is kept equal to src/shm/{word,queue,bell}.c and src/pool/{worker,run,supervisor,limit,submit,gather,wait}.c:
 * one step here for each load, store, compare-and-swap, read and write there that another process can see,
 * in the same order.  Who changes one changes the other.  One host (with threads of which one at a time sleeps;
 * how they pass that on is sleeper.pml), one supervisor, NW workers, NS job slots that are reused for NJ
 * jobs, NC chunks per job, a queue with room for TK tickets (its loads and stores are queue.pml), a wake
 * pipe with room for WK bytes, a bell pipe of which only "empty or not" and "at end of file" matter;
 * SIGKILL of any worker, of the supervisor and of the host at any step, SIGKILLs that arrive later than
 * they were sent, deadlines, tasks that never return, early close of a job (cancel, first failure),
 * retries, workers that retire, replacements that cannot be started at once or ever, tags that come round.
 *
 * The steps that are easy to get wrong, each with a mutation that shows why it is there (check.sh has the
 * table of all):
 *
 *   The host sleeps on the bell pipe alone.  Its only writers are the supervisor and the workers, so
 *     its end of file says that every process of the generation is gone (M_EOF_EARLY).
 *   With WORDS it sleeps on a word: the bit RUNG, and whose the bell is, the supervisor's.  To ring is to
 *     set the bit and then to wake (M_WAKE_BEFORE_SET).  Who dies in between has woken nobody, and that death
 *     is told (M_NO_BELL) by a ring that wakes although the bit is set (M_WAKE_ONCE).  When the supervisor
 *     ends, the kernel takes its number out and rings (M_NO_OWNER); then the host ends the generation, and
 *     sleeps for the end of file.  It silences the bell when it is woken, and not when it is to sleep
 *     (M_SILENCE_LATE).
 *   A worker sets its idle bit before it looks at the queue a last time and sleeps (M_IDLE_LATE); the host
 *     looks at those bits after the push (M_WAKE_FIRST), and writes a byte for each ticket, but for no more
 *     than are idle (M_WAKE_ONE of queue.pml).  A full pipe has bytes for all (M_WAKE_ERROR): so it holds at
 *     least as many as there are workers (WK), or a job waits for another, and a death may lose the only one.
 *   A worker that dies may have read a byte, or popped a ticket, and nobody else has either.  Its
 *     replacement looks at the queue before it sleeps; where that comes late or never, the host posts
 *     again, and that wakes.  For that the queue has at least as many places as there are workers: full, it
 *     would take no post, and a sleeper would sleep on.
 *   host_waits is 0 awake; 1 ring when a job has ended; 2 there is a backlog, ring when a ticket has
 *     been popped as well (M_NO_RING2).  It is 1 before the last post and the last look (M_HW_LATE), and
 *     made 2 by any post that leaves a backlog while a thread sleeps or is about to; then the post is tried
 *     once more (M_NO_RETRY, M_SUBMIT_HW).
 *   A worker that reads end of file on the wake pipe marks its record `left` and is not replaced
 *     (M_NO_LEFT, M_RETIRE_LEFT).  Every other dead worker is, during close too.  The supervisor exits
 *     when all have left.
 *   A death with no ticket in the record, and a replacement that is not started at once, count `lost`
 *     (M_NO_LOST, M_DELAY_NOLOST), before the bell (M_LOST_LATE).  So may any other: the code does after
 *     a retry, and for who was killed with no chunk, because the replacement, which has the ticket, may
 *     hang as it starts.  The host looks at every word when
 *     `deaths` or `lost` moved (M_DEATHS_ONLY: the two are not read in one step), and posts again only
 *     if `lost` moved.
 *   A thread that does not sleep and sees the job end that the sleeper waits for nudges it (M_NO_NUDGE); the
 *     nudge pipe is polled beside the bell, so here they are one.  The supervisor looks for STOPPING words
 *     after it has read the poke (M_POKE_LATE).
 *   The worker clears the deadline, notes the claim, and sets the deadline, before it claims; the
 *     supervisor loads deadline, claim, word and the deadline again, and its CAS is from the word it loaded,
 *     so that it hits the claim whose time is up and not the next one (M_KEEP_DEADLINE, M_NO_RECHECK,
 *     M_STOP_ANY).
 *   The descriptor is read after the claim and before the finish: a RUNNING word pins it (M_DESC_EARLY).
 *
 * What is simpler here than in the code, and why that hides nothing:
 *
 *   Memory is sequentially consistent.  The orders are argued beside each atomic; M_CHECK_FIRST, M_HW_LATE,
 *     M_RING_FIRST and the like are what weaker ones would allow.
 *   FAILED and DONE are one state, and TIMED_OUT and STOPPED: the protocol treats them alike.
 *   The burial is one step: its CAS fails only when the host stops the chunk in between, and is then tried
 *     again (M_BURY_ONCE).  Of a word that has ended the attempts and the worker are 0.
 *   The words of a slot stay where they are.  In the code a job may have others than the last one of its
 *     slot; the id in each word names the slot, and words lie in memory that never holds anything else.
 *   The queue is a channel: a CAS that fails changes nothing, and is made anew (queue.pml has it in steps).
 *   A pop that finds nothing and the idle bit are one step, and so are the look at the bits and the bytes.
 *   An idle bit is cleared as its worker reads a byte, or dies.  In the code the worker and its replacement
 *     do that later (LATEIDLE): the host then writes a byte too many.
 *   With WORDS `wakes` is read in the same step as the idle bit is set, and counted up in that of the wake
 *     (queue.pml has both).  The bell is the supervisor's from the start: in the code the host looks now and
 *     then until it is.
 *   Nobody looks out for a ticket before it is idle, and a host that sleeps wakes no more than one that is
 *     awake (queue.pml has both).
 *   Bytes that find the pipe full are dropped; in the code that is all of one write, or none.
 *   The backlog is posted in the order of the slots; the code does it in the order of the jobs.
 *   The host looks at a job again from its first chunk; the code goes on from the first that had not ended.
 *   The clock of a deadline runs from the second note, after the claim.  A worker that is held up between
 *     its first note and its claim for the whole of the limit is the business of expire() alone.
 *   The supervisor's CAS goes by the tag, so it hits another claim of the same worker if the tag came round
 *     between its load and its CAS: 65,535 jobs in one slot within a few instructions (check.sh shows it with
 *     TAGS=1).  PROMPT says that this does not happen; all else holds then, whatever comes round.
 *   The program's event loop has a bell and a flag of its own, served as those of the sleeper are: the sleeper
 *     stands for either.
 *   A generation is not started again, and the grace of a kill is not here.
 *
 * How to run one configuration (any of the -D below may be combined; check.sh runs them all):
 *
 *   spin -a -DNKILL=1 -DNJ=1 protocol.pml && gcc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m1000000
 *
 * must print "errors: 0".  An "assertion violated" is a broken safety property.  An "invalid end
 * state" is a state in which nothing moves any more and some job has not ended or some process is
 * left: every liveness failure of a model without cycles ends there.  That it has none is checked with
 *
 *   spin -a -DNKILL=1 -DNJ=1 protocol.pml && gcc -O2 -DNP -DCOLLAPSE -DNOFAIR -o pan pan.c && ./pan -l -m1000000
 *
 * (no progress label exists, so every cycle would be reported as a non-progress cycle).  No cycles and
 * no invalid end states together mean: every execution is finite and ends with every job completed
 * and every process gone, whatever the scheduling, without any fairness assumption.
 *
 * Parameters
 *   NW 1|2|3  NC 1|2|3  NS 1|2  NJ  TK  WK  NTK (tickets posted per job)  RETRY (retries per chunk)
 *   NKILL (deaths of workers)  NSUP (of the supervisor: the pool is broken, every open job ends)
 *   NHOST (of the host)  NTERM (the host closes the control pipe: terminate, poison)
 *   NRETIRE (workers that retire after a chunk)  NDELAY (replacements that are not started at once)
 *   LONGDELAY (such a replacement comes only when no other worker is left, or at the close)
 *   NOFORK (it never comes: the supervisor gives up when no worker is left)
 *   NEXP (deadlines that pass while the task is about to end)  NSTUCK (tasks that never return, but at
 *     their deadline; with LAST or NSTOP there are none)
 *   NSTOP (running chunks that the host orders to be stopped; needs CANCEL)
 *   CANCEL (any job may be closed early, by another thread while one sleeps)
 *   THREADS (jobs are submitted by other threads while one sleeps, too, and they look before)
 *   FAILHINT (a chunk may fail and is told before the job has ended; with CANCEL that may close the job)
 *   TAGS (number of different tags: they wrap; ghosts go by the true job number)
 *   VARC (every second job has one chunk only)
 *   PROMPT (no tag comes round while the supervisor is between its load of a word and its CAS)
 *   WORDS (who sleeps sleeps on a word: there is no wake pipe, and of the bell pipe only the end of file)
 *   LATEIDLE (idle bits are cleared as late as in the code)
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
#define TK NW
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
#ifndef WK
#if defined(LAST) || NSTOP>0 || NDELAY>0
#define WK NW
#else                   /* one who is awake, or comes in place of who was, takes all tickets in the end */
#define WK 1
#endif
#endif
#if (NEXP>0 || NSTUCK>0) && !defined(LAST) && NSTOP==0
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
#ifdef DEADLINES
byte rcs[NW]; byte rc[NW];      /* worker record: the word it is about to claim                        */
byte rd[NW];                    /* worker record: until when; 0 none.  Here a number of its own for each
                                   store: 2n+1 before the n-th claim, 2n+2 after it                    */
bit  late[NW];                  /* the clock is past rd                                                */
#endif
bit  wleft[NW];                 /* worker record: it read the end of file of the wake pipe             */
bit  idle[NW];                  /* it sleeps, or is about to, or is dead and did                       */
bit  ready[NS];                 /* a worker saw every chunk of the slot's job ended                    */
bit  deaths, lost;              /* the counter differs from the value the host saw last                */
byte hw;                        /* host_waits: 0 awake, 1 it sleeps, 2 it sleeps with a backlog        */
chan tq = [TK] of {byte,byte};  /* the ticket queue: {slot, tag}                                       */

/* ---- pipes ------------------------------------------------------------------------------------ */
#ifdef WORDS
bit  same[NW];                  /* `wakes` is what the worker has read, on its way to sleep            */
bit  asleep[NW];                /* on `wakes`                                                          */
bit  hasleep;                   /* the host, on the bell                                               */
bit  owned=1;                   /* the bell is the supervisor's                                        */
#else
byte wp;                        /* bytes in the wake pipe                                              */
#endif
bit  wclosed;                   /* no write end of the wake pipe is open; WORDS: the queue is shut     */
bit  bp;                        /* the bell pipe is not empty; WORDS: the bell has RUNG                */
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
byte due[NS];                   /* backlog: so many tickets of this job are not in the queue yet       */

/* ---- ghosts: not in the program, only to state the properties ---------------------------------- */
byte ex[NJ*NC];                 /* how often the function of (job, chunk) was begun                    */
bit  over[NJ+1];                /* the host completed the job: its memory may be anything now          */
#if NSTUCK>0
bit  stuck[NW];
#endif
#ifdef M_KILL_NOCAS
byte aim[NW];                   /* the claim that the kill is for                                      */
#endif
bit  guilty[NW];                /* the SIGKILL under way comes from a deadline or a stop order         */

/* ---- unrolling -------------------------------------------------------------------------------- */
#if NW>2
#define EACHW(M) M(0) M(1) M(2)
#define IDLE (idle[0]+idle[1]+idle[2])
#define NOSLEEPER (!asleep[0] && !asleep[1] && !asleep[2])
#define NOW(x) (st[0]!=x && st[1]!=x && st[2]!=x)
#elif NW==1
#define EACHW(M) M(0)
#define IDLE (idle[0])
#define NOSLEEPER (!asleep[0])
#define NOW(x) (st[0]!=x)
#else
#define EACHW(M) M(0) M(1)
#define IDLE (idle[0]+idle[1])
#define NOSLEEPER (!asleep[0] && !asleep[1])
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
#define BACKLOG (due[0]!=0 || due[1]!=0)
#else
#define EACHS(M) M(0)
#define NOJOB (atag[0]==0)
#define LASTOPEN (atag[0]==NJ)
#define BACKLOG (due[0]!=0)
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
#if NS>1
#define FULL (atag[0]!=0 && atag[1]!=0)
#else
#define FULL (atag[0]!=0)
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
#elif defined(M_DOOMED)         /* the finish failed, and the worker goes on */
#define FINISH(i) if :: S[s].s[i]==RUNNING -> S[s].s[i]=DONE; S[s].w[i]=0; S[s].a[i]=0 :: else fi
#elif defined(M_FINISH_ANY)     /* the finish asks for the state alone, and not for the claim */
#define FINISH(i) if :: S[s].s[i]==RUNNING || S[s].s[i]==STOPPING -> S[s].s[i]=DONE; S[s].w[i]=0; S[s].a[i]=0 \
                     :: else -> goto leave fi
#else                   /* CAS RUNNING -> DONE; if it fails, somebody decided to kill: touch nothing more */
#define FINISH(i) if :: S[s].s[i]==RUNNING -> S[s].s[i]=DONE; S[s].w[i]=0; S[s].a[i]=0 \
                     :: else -> goto leave fi
#endif

#ifdef M_DESC_EARLY     /* the descriptor as it was when the ticket was noted */
#define DESC
#else                   /* read under the claim: the RUNNING word pins it until the finish */
#define DESC e=S[s].j;
#endif
#ifdef M_CLAIM_NOCOUNT
#define ATTEMPT(i)
#else
#define ATTEMPT(i) S[s].a[i]++;
#endif
#ifdef M_CLAIM_NOBODY
#define OWNER 77
#else
#define OWNER w
#endif
#define BEGIN(i) S[s].s[i]=RUNNING; S[s].w[i]=OWNER; ATTEMPT(i) ok=1; DESC assert(e==S[s].j && !over[e]); \
      ex[(e-1)*NC+i]++; assert(ex[(e-1)*NC+i]<=1+RETRY)

#ifdef M_CLAIM_STORE    /* load, then store */
#define CLAIM(i) if :: MINE(i) && S[s].s[i]==WAITING -> ok=1 :: else fi; \
    if :: ok -> atomic { BEGIN(i) } :: else fi;
#elif defined(M_CLAIM_ANY)      /* the tag is right, the state is not asked for */
#define CLAIM(i) atomic { if :: MINE(i) && S[s].s[i]!=DONE -> BEGIN(i) :: else fi };
#else                   /* CAS {t, WAITING} -> {t, RUNNING, w} */
#define CLAIM(i) atomic { if :: MINE(i) && S[s].s[i]==WAITING -> BEGIN(i) :: else fi };
#endif

/* Ring; and if the host says x */
#ifndef WORDS
#define BELL bp=1
#define RINGIF(x) atomic { if :: x -> bp=1 :: else fi }
#elif defined(M_WAKE_BEFORE_SET)
#define BELL hasleep=0; bp=1
#define RINGIF(x) if :: atomic { x -> hasleep=0 }; bp=1 :: !(x) fi
#elif defined(M_WAKE_ONCE)      /* who finds it rung does not wake */
#define BELL if :: atomic { !bp -> bp=1 }; hasleep=0 :: bp fi
#define RINGIF(x) if :: atomic { (x) && !bp -> bp=1 }; hasleep=0 :: !(x) || bp fi
#else
#define BELL bp=1; hasleep=0
#define RINGIF(x) if :: atomic { x -> bp=1 }; hasleep=0 :: !(x) fi
#endif

/* The host has a backlog: there is room now */
#ifdef M_NO_RING2
#define RING2 skip
#else
#define RING2 RINGIF(hw==2)
#endif
#ifdef M_IDLE_LATE      /* idle when it has looked a last time */
#define REST WAKES
#else
#define REST idle[w]=1; WAKES
#endif
#ifdef WORDS
#define WAKES same[w]=1
#define UP idle[w]=0; same[w]=0; asleep[w]=0
#else
#define WAKES skip
#define UP idle[w]=0
#endif
#ifdef M_NO_NOTE
#define NOTE skip
#else
#define NOTE atomic { rs[w]=s; rt[w]=t }                /* one store */
#endif

#if NSTUCK>0
#ifdef LAST
#define STUCKRUN :: atomic { ok && nst>0 && e<NJ -> nst--; stuck[w]=1 }; false
#else
#define STUCKRUN :: atomic { ok && nst>0 -> nst--; stuck[w]=1 }; false
#endif
#else
#define STUCKRUN
#endif
#ifdef DEADLINES        /* note_limit() before the claim, set_limit() after it */
#ifdef M_KEEP_DEADLINE
#define FORGET
#else
#define FORGET atomic { rd[w]=0; late[w]=0 };
#endif
#define CLAIM2(i) \
    if \
    :: MINE(i) && S[s].s[i]==WAITING -> \
       FORGET rcs[w]=s; rc[w]=i; n++; \
       SETD(2*n+1) \
       CLAIM(i) \
       if :: ok -> SETD(2*n+2) :: else fi \
    :: else \
    fi;
#ifdef M_KEEP_DEADLINE          /* the old deadline stays in force until the new one is known */
#define SETD(x) if :: (x)%2==0 -> atomic { rd[w]=x; late[w]=0 } :: else fi;
#elif defined(M_NO_LIMIT)
#define SETD(x) skip;
#else
#define SETD(x) atomic { rd[w]=x; late[w]=0 };
#endif
#else
#define FORGET
#define CLAIM2(i) CLAIM(i)
#endif
#if NRETIRE>0           /* it looks back, and exits with its ticket noted: its replacement goes on with it */
#define RETIRE ; if :: nrt>0 -> nrt--; r=1; goto back :: true fi
#else
#define RETIRE
#endif
#ifdef FAILHINT
#define HINT ; if :: true -> ready[s]=1; RING :: true fi
#else
#define HINT
#endif
#ifdef M_CHECK_FIRST    /* what a weaker order than seq_cst would allow: look at the others, then finish */
#define SNAP(i) if :: atomic { ok && S[s].t[1-i]==t && TERMINAL(S[s].s[1-i]) -> v=1 } :: else fi;
#else
#define SNAP(i)
#endif

/* one chunk of the pass: claim it, run it, store the outcome */
#ifdef M_OUTCOME_LATE   /* the outcome is written when the word has ended */
#define END(i) atomic { ok -> ok=0; FINISH(i) }; assert(e==S[s].j && !over[e])
#else
#define END(i) atomic { ok -> ok=0; assert(e==S[s].j && !over[e]); FINISH(i) }
#endif
#define TRY(i) \
    CLAIM2(i) \
    SNAP(i) \
    if \
    :: END(i) HINT RETIRE \
    STUCKRUN \
    :: !ok \
    fi;

/* one chunk of the look back: not ended -> somebody else will ring; a pass without a claim looks at all */
#define CHECK(i) atomic { if :: (e!=0 && i>=COUNT(e)) || (S[s].t[i]==t && TERMINAL(S[s].s[i])) \
                             :: else -> goto drop fi };

/* if (host_waits) write(); a full pipe is not empty, so EAGAIN is as good */
#ifdef M_NO_RING
#define RING skip
#elif defined(M_RING1)  /* a host with a backlog is not rung when a job has ended */
#define RING RINGIF(hw==1)
#else
#define RING RINGIF(hw!=0)
#endif

proctype Worker(byte w) {
  byte s, t, e; bit ok;                                 /* e: the descriptor it works by */
#if NRETIRE>0
  bit r;
#endif
#ifdef DEADLINES
  byte n;                                               /* its claims are numbered, here alone */
#endif
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
    atomic {
#ifdef LATEIDLE
      idle[w]=0;                                        /* a predecessor died asleep */
#endif
#ifndef M_NO_PRED
      if :: rt[w]!=0 -> s=rs[w]; t=rt[w]; goto serve :: else fi;        /* or left a ticket */
#endif
      goto pop };
pop:
#ifdef M_NOTE_FIRST             /* it is popped when it is noted, if nobody was faster */
    if :: atomic { tq?<s,t> } :: atomic { empty(tq) -> REST; goto rest } fi;
    NOTE;
    if :: atomic { tq?[eval(s),eval(t)] -> tq?s,t } :: atomic { else -> goto pop } fi;
#else
    if
    :: atomic { tq?s,t }                                /* a CAS on the head: here a death loses it */
    :: atomic { empty(tq) -> REST; goto rest }
    fi;
    NOTE;
#endif
    RING2;
    goto serve;
rest:
    if :: empty(tq) :: atomic { nempty(tq) -> UP; goto pop } fi;
#ifdef M_IDLE_LATE
    idle[w]=1;
#endif
#ifdef WORDS
    if :: wclosed -> goto eof :: !wclosed fi;
    atomic { if :: same[w] -> asleep[w]=1 :: else fi; same[w]=0 };      /* compare and sleep */
    !asleep[w];
#else
    if
#ifdef LATEIDLE
    :: atomic { wp>0 -> wp-- }                          /* read a byte: here a death loses it, too */
#else
    :: atomic { wp>0 -> wp--; idle[w]=0; goto pop }
#endif
    :: atomic { wp==0 && wclosed -> goto eof }          /* end of file */
    fi;
#endif
    atomic { idle[w]=0; goto pop };
serve:
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
back:
#ifdef M_CHECK_FIRST
    atomic { if :: v -> v=0 :: else -> goto drop fi };
#else
    EACHC(CHECK)
#endif
#if defined(M_RING_FIRST)
    RING;
    ready[s]=1;
#elif defined(M_NO_READY)
    RING;
#else
    ready[s]=1;
    RING;
#endif
drop:
#if NRETIRE>0
    if
    :: r ->
#ifdef M_RETIRE_LEFT
       wleft[w]=1;
#endif
       goto leave
    :: !r
    fi;
#endif
    FORGET
#ifdef M_TICKET_STAYS
    atomic { s=0; t=0; e=0; ok=0; goto again };
#else
    atomic { rt[w]=0; rs[w]=0; s=0; t=0; e=0; ok=0; goto pop };
#endif
eof:
    atomic { UP };
#ifndef M_NO_LEFT
    wleft[w]=1;
#endif
    skip
  } unless { atomic { killed[w] -> goto leave } };
leave:                  /* killed, or _exit: the same thing to everybody else */
  atomic { st[w]=ZOMBIE; killed[w]=0; pd[w]=0; pend[w]=0; guilty[w]=0; s=0; t=0; e=0; ok=0;
#ifdef WORDS
    same[w]=0; asleep[w]=0;
#endif
#ifndef LATEIDLE
    idle[w]=0;
#endif
#ifdef M_CHECK_FIRST
    v=0;
#endif
#if NRETIRE>0
    r=0;
#endif
#if NSTUCK>0
    stuck[w]=0;
#endif
#ifdef DEADLINES
    n=0;
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
#define STARTW(i) :: atomic { st[i]==DUE && (wclosed || (NOWORKER && NOW(ZOMBIE))) -> w=i; goto start }
#else
#define STARTW(i) :: atomic { st[i]==DUE -> w=i; goto start }
#endif
#define GIVEUPW(i) :: atomic { st[i]==DUE && NOWORKER && NOW(ZOMBIE) -> goto killall }

/* mp_word_bury(): the state and the worker's number, which is in one word at most, say that it is his.
   The outcome is written first.  If the host makes RUNNING into STOPPING in between, it is tried again:
   so it is one step here                                                                              */
#ifdef M_BURY_ANY
#define HIS(ss,i) (S[ss].w[i]!=0 || S[ss].s[i]==RUNNING)
#else
#define HIS(ss,i) (S[ss].w[i]==w)
#endif
#ifdef M_RETRY_MORE
#define AGAIN(ss,i) (S[ss].a[i]<=RETRY+1)
#else
#define AGAIN(ss,i) (S[ss].a[i]<=RETRY)
#endif
#ifdef M_BURY_LATE
#define OUTCOME(ss) v=S[ss].j
#else
#define OUTCOME(ss) assert(!over[S[ss].j])
#endif
#define MARK(ss,i) \
      if \
      :: HIS(ss,i) && S[ss].s[i]==RUNNING && AGAIN(ss,i) -> S[ss].w[i]=0; S[ss].s[i]=WAITING \
      :: HIS(ss,i) && S[ss].s[i]==RUNNING && !AGAIN(ss,i) -> \
         OUTCOME(ss); S[ss].w[i]=0; S[ss].a[i]=0; S[ss].s[i]=CRASHED \
      :: HIS(ss,i) && S[ss].s[i]==STOPPING -> \
         OUTCOME(ss); S[ss].w[i]=0; S[ss].a[i]=0; S[ss].s[i]=STOPPED \
      :: else \
      fi;
#define MARK0(i)  MARK(0,i)
#define MARK1(i)  MARK(1,i)
#if NS>1
#define BURY EACHC(MARK0) EACHC(MARK1)
#else
#define BURY EACHC(MARK0)
#endif

#define TICKW(i) :: atomic { rd[i]!=0 && late[i] && (st[i]==ALIVE || st[i]==ZOMBIE) -> w=i; d=rd[i]; goto expired }
#ifdef M_POKE_ANY               /* whoever has a ticket of a job that is to be stopped */
#define STOPC(i)  || S[rs[w]].s[i]==STOPPING
#else
#define STOPC(i)  || (S[rs[w]].s[i]==STOPPING && S[rs[w]].w[i]==w)
#endif
#define POKEW(i)  atomic { w=i; if :: rt[w]!=0 && (false EACHC(STOPC)) && st[w]==ALIVE -> pend[w]=1; guilty[w]=1 \
                                   :: else fi; w=0 };
#define KILLW(i)  if :: st[i]==ALIVE -> pend[i]=1; guilty[i]=0 :: else fi;
#define VACATE(i) st[i]=GONE;
#ifdef M_NO_PDEATHSIG
#define ORPHAN(i)
#else
#define ORPHAN(i) if :: pd[i] && st[i]==ALIVE -> pend[i]=1; guilty[i]=0 :: else fi;
#endif

#ifdef M_STOP_ANY
#define UNCHANGED true
#else
#define UNCHANGED (S[cs].t[cc]==vt && S[cs].a[cc]==va)
#endif

proctype Sup() {
  byte w; bit k;
#if defined(DEADLINES)
  byte d, cs, cc, vt, va;       /* deadline, claim, and the word as loaded: its tag and attempts */
#endif
#if defined(M_BURY_LATE) || defined(M_BURY_ONCE)
  byte v;
#endif
end_idle:
  (supst==ALIVE);
  {
    do
#ifndef M_NO_KILLALL
    :: atomic { cclosed -> goto killall }               /* end of file on the control pipe */
#endif
    EACHW(REAPW)
#if NDELAY>0
    EACHW(STARTW)
#if defined(NOFORK) && !defined(M_NO_GIVE_UP)
    EACHW(GIVEUPW)                                      /* no worker is up, and none can be started */
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
/* The deadline was loaded, and is over: the claim, the word, the deadline again, and the CAS.  What
   follows if the worker was held up between its note and its claim for the whole of the limit is not
   here: the clock runs from the second note                                                          */
expired:
    atomic { cs=rcs[w]; cc=rc[w] };
#ifdef PROMPT                   /* no round of tags goes by between here and the CAS */
    atomic {
#endif
    atomic {
      if :: S[cs].s[cc]==RUNNING && S[cs].w[cc]==w -> vt=S[cs].t[cc]; va=S[cs].a[cc]
         :: else -> goto intime fi };
#ifndef M_NO_RECHECK
    if :: rd[w]==d :: rd[w]!=d -> goto intime fi;       /* it went on to another meanwhile */
#endif
#ifdef M_KILL_NOCAS
    if :: st[w]==ALIVE -> atomic { pend[w]=1; guilty[w]=1; aim[w]=(d+1)/2 } :: else fi;
    goto intime;
#endif
    atomic {                    /* decides between "ended in time" and "killed" */
      if :: S[cs].s[cc]==RUNNING && S[cs].w[cc]==w && UNCHANGED ->
            assert(rd[w]!=0 && (rd[w]+1)/2==(d+1)/2)    /* the claim whose time is up */
         :: else -> goto intime fi;
#ifdef M_MARK_EARLY
      S[cs].s[cc]=STOPPED; S[cs].w[cc]=0 };
#else
      S[cs].s[cc]=STOPPING };
#endif
#ifdef PROMPT
    };
#endif
#ifndef M_NO_KILL
    atomic { if :: st[w]==ALIVE -> pend[w]=1; guilty[w]=1 :: else fi };
#endif
intime:
    atomic { if :: rd[w]==d -> late[w]=0 :: else fi; w=0; d=0; cs=0; cc=0; vt=0; va=0; goto end_idle };
#endif
reap:                   /* waitid(WNOWAIT), kill(-pgid), waitpid: nothing of it runs any more */
#ifdef M_EVENT_FIRST
    if :: rt[w]==0 -> lost=1 :: else fi;
    deaths=1; BELL;
#endif
#ifdef M_FORK_FIRST
    st[w]=ALIVE;
#endif
#ifdef M_BURY_ONCE              /* load and CAS, and not again when that fails (NS 1, NC 1) */
    v=S[0].s[0];
    atomic { if :: S[0].s[0]==v -> BURY :: else fi; v=0; k=(rt[w]==0) };
#elif defined(M_NO_BURY)
    k=(rt[w]==0);
#else
    atomic { BURY k=(rt[w]==0); if :: k=1 :: true fi };
#endif
#ifdef M_BURY_LATE
    atomic { assert(!over[v]); v=0 };
#endif
#ifndef M_EVENT_FIRST
#ifdef M_BELL_FIRST
    BELL;
#endif
#if defined(M_NO_LOST)
    k=0;
#elif !defined(M_LOST_LATE)
    if :: atomic { k -> k=0; lost=1 } :: !k fi;         /* a ticket may have been read and not noted */
#endif
#ifndef M_NO_DEATHS
    deaths=1;
#endif
#if !defined(M_BELL_FIRST) && !defined(M_NO_BELL)
    BELL;                                               /* always, whatever host_waits says */
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
#ifdef DEADLINES
      rd[w]=0; late[w]=0; rcs[w]=0; rc[w]=0;
#endif
      st[w]=ALIVE; w=0; k=0 }
#endif
    goto end_idle;
#if NDELAY>0
delay:                          /* the ticket in its record, if any, stays there: nobody takes it up yet */
#ifndef M_DELAY_NOLOST
    lost=1;
#endif
    deaths=1;
#ifndef M_DELAY_NOBELL
    BELL;
#endif
    atomic { st[w]=DUE; w=0; k=0; goto end_idle };
#endif
killall:
    atomic { EACHW(KILLW) skip };
    NOWORKER;
    atomic { EACHW(VACATE) goto bye }
  } unless { atomic { supkilled -> supkilled=0; goto bye } };
bye:
#ifdef WORDS                    /* the kernel rings */
#ifdef M_NO_OWNER
  owned=0;
#else
  atomic { owned=0; bp=1 };
  hasleep=0;
#endif
#endif
  atomic { supst=GONE; w=0; k=0; EACHW(ORPHAN) goto end_idle }
}

/* ================================================================================================ */
/* the world: SIGKILLs from outside, delivery of those that were sent, time                         */
/* ================================================================================================ */
#define OWNC(i)    || (S[rs[w]].s[i]==RUNNING && S[rs[w]].w[i]==w)
#ifdef M_KILL_NOCAS
#define INNOCENT   (rt[w]!=0 && (false EACHC(OWNC)) && (rd[w]+1)/2!=aim[w])
#else
#define INNOCENT   (rt[w]!=0 && (false EACHC(OWNC)))
#endif
#define HITW(i)    :: atomic { nk>0 && st[i]==ALIVE && !killed[i] -> nk--; killed[i]=1 }
#define DELIVER(i) :: atomic { pend[i] -> pend[i]=0; w=i; assert(!(guilty[w] && INNOCENT)); w=0; \
                               guilty[i]=0; if :: st[i]==ALIVE -> killed[i]=1 :: else fi }
#if NSTUCK>0
#define SPEND(i)   if :: stuck[i] :: else -> nx-- fi
#define TIMEUP(i)  (nx>0 || stuck[i])
#else
#define SPEND(i)   nx--
#define TIMEUP(i)  (nx>0)
#endif
#define TIMEW(i)   :: atomic { rd[i]!=0 && rd[i]%2==0 && !late[i] && TIMEUP(i) -> SPEND(i); late[i]=1 }

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
#define CANCELWORD(i)
#define NEVERBEGUN(x) (closing[s] && (x)==WAITING)
#elif defined(M_CANCEL_STORE)   /* looked at first, and then stored */
#define CANCELWORD(i) if :: i<COUNT(atag[s]) && S[s].s[i]==WAITING -> atomic { S[s].s[i]=CANCELLED; S[s].a[i]=0 } \
                         :: else fi;
#define NEVERBEGUN(x) false
#else                           /* CAS WAITING -> CANCELLED, on every look at a closed job */
#define CANCELWORD(i) atomic { if :: i<COUNT(atag[s]) && S[s].s[i]==WAITING -> S[s].s[i]=CANCELLED; S[s].a[i]=0 \
                                  :: else fi };
#define NEVERBEGUN(x) false
#endif
#if NSTOP>0                     /* CAS RUNNING -> STOPPING, after them all a poke */
#ifdef M_STOP_STORE
#define STOPWORD(i) if :: i<COUNT(atag[s]) && S[s].s[i]==RUNNING && nhs>0 -> atomic { nhs--; S[s].s[i]=STOPPING; pk=1 } \
                       :: else fi;
#else
#define STOPWORD(i) atomic { if :: i<COUNT(atag[s]) && S[s].s[i]==RUNNING && nhs>0 -> nhs--; S[s].s[i]=STOPPING; pk=1 \
                                :: else fi };
#endif
#else
#define STOPWORD(i)
#endif
#define CLOSEWORD(i) CANCELWORD(i) STOPWORD(i)
#ifdef M_NO_NUDGE               /* who has seen a job end wakes the sleeper, if that is what it waits for */
#define NUDGE skip
#else
#define NUDGE BELL
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
#define LOOK(i)  atomic { if :: i<COUNT(atag[s]) && !ISDONE(S[s].s[i]) && !NEVERBEGUN(S[s].s[i]) -> goto undone \
                             :: else fi }; /* the first that has not ended is enough */
#define WAITS(i) atomic { if :: i<COUNT(atag[s]) && S[s].s[i]==WAITING -> nwait=1 :: else fi };

/* one 64-bit store for each word; the descriptor was written before */
#ifdef M_SAME_TAG
#define INIT1(i) if :: i<COUNT(nj) -> S[s].t[i]=1; S[s].s[i]=WAITING; S[s].w[i]=0; S[s].a[i]=0 :: else fi;
#else
#define INIT1(i) if :: i<COUNT(nj) -> S[s].t[i]=TAG(nj); S[s].s[i]=WAITING; S[s].w[i]=0; S[s].a[i]=0 :: else fi;
#endif
#define INITW(i) atomic { INIT1(i) };    /* an old ticket may be good for one word before the next is written */

/* mp_backlog_flush(): what is due into the queue, as far as there is room, then a byte for each, but for
   no more than are idle; a full pipe wakes them all.  If a backlog is left and a thread sleeps, say so, and
   try the queue once more                                                                             */
#define PUSH(ss) \
      do \
      :: atomic { due[ss]!=0 && nfull(tq) -> \
                  tq!ss,TAG(atag[ss]); due[ss]--; p++; if :: due[ss]==0 -> break :: else fi } \
      :: atomic { due[ss]==0 || full(tq) -> break } \
      od;
#define LEAST(a,b) ((a)<(b) -> (a) : (b))
#ifdef WORDS                    /* count `wakes` up and wake: as many as sleep, any of them */
#define OTHER(i) same[i]=0;
#define ROUSE(i) :: p>0 && asleep[i] -> asleep[i]=0; p--
#define WAKE(n) p=n; if :: p>0 -> EACHW(OTHER) do EACHW(ROUSE) :: p==0 || NOSLEEPER -> p=0; break od :: else fi
#define SHUT wclosed=1; atomic { WAKE(NW) }
#elif defined(M_WAKE_ERROR)     /* not to be told from an end that nobody reads */
#define WAKE(n) if :: wp+n<=WK -> wp=wp+n; p=0 :: else -> goto term fi
#else
#define WAKE(n) wp=LEAST(wp+n,WK); p=0
#endif
#ifndef WORDS
#define SHUT wclosed=1
#endif
#if defined(M_WAKE_FIRST)       /* who is idle is looked at before the push */
#define FLUSH1 n=IDLE; EACHS(PUSH) atomic { WAKE(LEAST(p,n)); n=0 };
#elif defined(M_NO_WAKE)
#define FLUSH1 EACHS(PUSH) p=0;
#else
#define FLUSH1 EACHS(PUSH) atomic { WAKE(LEAST(p,IDLE)) };
#endif
#ifdef M_TICKET_DROP
#define DROP(ss) due[ss]=0;
#else
#define DROP(ss)
#endif
#ifdef M_NO_RETRY
#define RETRYPUSH
#else
#define RETRYPUSH FLUSH1
#endif
#ifdef M_SUBMIT_HW              /* by the thread that is to sleep alone */
#define TOLD (sl && BACKLOG && !other)
#elif defined(M_NO_HW2)
#define TOLD false
#else
#define TOLD (sl && BACKLOG)
#endif
#define FLUSH if \
              :: BACKLOG -> FLUSH1 EACHS(DROP) if :: atomic { TOLD -> hw=2 }; RETRYPUSH skip :: !TOLD fi \
              :: !BACKLOG \
              fi;
#define POST(ss,k) due[ss]=(due[ss]<k -> k : due[ss]); FLUSH

#ifdef WORDS                    /* the kernel compares and blocks */
#ifdef M_SILENCE_LATE           /* the bell is silenced when it is to sleep on it */
#define BLOCK owned && !blocked -> bp=0; blocked=1; hasleep=1
#define WOKEN blocked && !hasleep -> blocked=0
#else
#define BLOCK owned && !blocked && !bp -> blocked=1; hasleep=1
#ifdef M_DRAIN_LATE
#define WOKEN (blocked -> !hasleep : bp) -> blocked=0
#else
#define WOKEN (blocked -> !hasleep : bp) -> blocked=0; bp=0
#endif
#endif
#endif
#define BORN(i)  st[i]=ALIVE;
#ifdef PDRACE
#define ARM(i)   pd[i]=0;
#else
#define ARM(i)   pd[i]=1;
#endif
#define LATEMARK(i) if :: atag[i]!=0 -> over[atag[i]]=1; atag[i]=0 :: else fi;
#define SUBMIT(i)   :: atomic { nj<NJ && atag[i]==0 -> s=i; nj++; goto submit }
#define SUBMIT2(i)  :: atomic { nj<NJ && atag[i]==0 -> s=i; nj++; other=1; goto submit }
#define CLOSEJOB(i) :: atomic { atag[i]!=0 && !closing[i] -> closing[i]=1; now=1; other=1; s=i; goto job }
#ifdef M_READY_LATE             /* the ready bit is cleared when the job has been looked at */
#define TAKEREADY(i) x=ready[i]
#define CLEARREADY   ready[s]=0;
#elif defined(M_READY_KEPT)
#define TAKEREADY(i) x=0
#define CLEARREADY
#else
#define TAKEREADY(i) x=ready[i]; ready[i]=0
#define CLEARREADY
#endif

proctype Host() {
  byte nj, s; bit nwait, x, d, l, now, pk;
  byte p;                       /* tickets pushed, and nobody woken */
#ifdef M_WAKE_FIRST
  byte n;
#endif
  bit sl;                       /* a thread sleeps, or is about to */
  bit other;                    /* the step is made by another thread, while that one sleeps */
  bit al;                       /* every open job is looked at, after a death */
  bit ended;                    /* the look has seen a job end */
#ifdef WORDS
  bit blocked;                  /* the sleeper, until it runs again */
#endif
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
#ifdef M_DESC_LATE
  atag[s]=nj;
#else
  atomic { atag[s]=nj; S[s].j=nj };
#endif
#ifdef M_POST_FIRST
  POST(s,NTK)
#endif
#ifdef TAGS
  EACHC(INITW)
#else
  atomic { EACHC(INIT1) skip };
#endif
#ifdef M_DESC_LATE
  S[s].j=nj;
#endif
#ifndef M_POST_FIRST
  POST(s,NTK)
#endif
posted:
  atomic { s=0; if :: other -> other=0; goto sleep :: else -> goto loop fi };

wait:                           /* first say so, then post what is left, then look */
#if defined(M_HW_LATE) || defined(M_NO_HW)
  sl=1;
#else
  atomic { sl=1; hw=1; if :: BACKLOG :: else -> goto look fi };
#endif
  FLUSH
look:                           /* the ready bits */
#ifdef M_NO_LOOK                /* no look after host_waits was set */
  atomic { if :: sl && !other -> goto sleep :: else fi };
#endif
  atomic { s=0; TAKEREADY(0); if :: x && atag[0]!=0 -> x=0; goto job :: else -> x=0 fi };
ready1:
#if NS>1
  atomic { s=1; TAKEREADY(1); if :: x && atag[1]!=0 -> x=0; goto job :: else -> x=0 fi };
#endif
counts:                         /* has a worker died? */
#ifdef M_NO_SWEEP
  atomic { s=0; deaths=0 };
  atomic { lost=0 };
#else
  atomic { s=0; d=deaths; deaths=0 };
#ifdef M_DEATHS_ONLY
  atomic { l=(d && lost); lost=0;
#else
  atomic { l=lost; lost=0;
#endif
           if :: d || l -> d=0; al=1 :: else -> goto looked fi };
all:                            /* a ticket again, where one may be lost; then look at the job */
  atomic { if :: atag[s]==0 -> goto next :: else fi;
           if :: l && !closing[s] && due[s]==0 :: else -> goto job fi };
  EACHC(WAITS)
  atomic { if :: nwait -> nwait=0 :: else -> goto job fi };
#ifndef M_NO_REPOST
  POST(s,1)
#endif
  goto job;
#endif
looked:
#ifdef M_HW_LATE
  atomic { if :: sl && !other -> hw=1 :: else fi };
#endif
  atomic {
    s=0;
    if
    :: other -> other=0; if :: ended && ENOUGH -> NUDGE :: else fi; ended=0; goto sleep
    :: !other && sl && !ended -> goto sleep
    :: !other && sl && ended -> ended=0; goto awake
    :: !other && !sl -> ended=0
#ifndef M_DRAIN_LATE
       ; if :: BACKLOG :: else -> goto loop fi
#endif
    fi };
  FLUSH
#ifdef M_DRAIN_LATE
  bp=0;
#endif
  goto loop;

sleep:
  if                            /* poll() of the bell */
#ifdef WORDS
  :: atomic { BLOCK; goto sleep }
  :: atomic { WOKEN }           /* or it has rung already */
  :: atomic { !owned && !blocked -> goto term }
#elif defined(M_DRAIN_LATE)
  :: bp
#else
  :: atomic { bp -> bp=0 }      /* read it empty, then look again */
#endif
#ifdef CANCEL
  EACHS(CLOSEJOB)
#endif
#ifdef THREADS
  EACHS(SUBMIT2)
  :: atomic { deaths || (FULL && nj<NJ) -> other=1; goto look } /* mp_pool_look() before it submits */
#endif
#if NTERM>0 && !defined(LAST)
  :: atomic { ntm>0 -> ntm--; goto term }
#endif
#ifdef M_EOF_EARLY
  :: atomic { supst==GONE -> goto gendead }
#elif !defined(WORDS)
  :: atomic { LIFE_EOF -> goto gendead }
#endif
  fi;
awake:
  atomic { sl=0; hw=0; goto look };

job:                            /* slot s: first end what must not begin, then look at every word */
#ifdef CANCEL
  if :: CLOSED -> EACHC(CLOSEWORD) skip :: else fi;
#if NSTOP>0
#ifdef M_NO_POKE
  pk=0;
#else
  if :: atomic { pk -> pk=0; poke=1 } :: !pk fi;
#endif
#endif
#endif
  EACHC(LOOK)
  atomic { over[atag[s]]=1; atag[s]=0; closing[s]=0; due[s]=0; ended=1; goto next };
undone:
#if defined(CANCEL) && defined(FAILHINT)
  if :: atomic { !closing[s] && !other -> closing[s]=1; goto job } :: true fi;  /* one has failed */
#endif
next:
  atomic { CLEARREADY
    if
    :: now -> now=0; goto looked
    :: !now && al && s+1<NS -> s++
    :: !now && al && s+1==NS -> al=0; l=0; goto looked
    :: !now && !al && s==0 -> goto ready1
    :: !now && !al && s>0 -> goto counts
    fi };
#ifndef M_NO_SWEEP
  goto all;
#endif

term:                           /* terminate, or poison: the supervisor kills every worker */
  SHUT;
#ifndef M_TERM_OPEN
  cclosed=1;
#endif
  LIFE_EOF;
gendead:                        /* every process of the generation is gone: no other writer is left */
  atomic {
#ifndef NOFORK
    assert(NTERM>ntm || NSUP>nsk);
#endif
    EACHS(LATEMARK)             /* the pool is broken: each open job ends, with an error where it must */
    wclosed=1; cclosed=1; goto fin
  };

close:                          /* no job is open */
  SHUT;
#ifdef WORDS
shut:
  if
  :: atomic { BLOCK; goto shut }
  :: atomic { WOKEN; goto shut }
  :: !owned && !blocked
  fi;
#endif
  LIFE_EOF;
  goto fin
  } unless { hostkilled };
#ifdef WORDS
  cclosed=1;
#else
  atomic { cclosed=1; wclosed=1 };
#endif
fin: skip
}

#define RUNW(i) run Worker(i);
init { atomic { EACHW(RUNW) run Sup(); run World(); run Host() } }

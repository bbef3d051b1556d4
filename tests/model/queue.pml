/* SPDX-License-Identifier: MIT */
/*
 * queue.pml - Promela model of the ticket queue and of who sleeps beside it: src/shm/queue.c,
 * take_ticket() and sleep_till_woken() of src/pool/worker.c, mp_backlog_flush() of src/pool/submit.c.
 *
 * protocol.pml has a pop as one step, and a queue that keeps its promise.  Here are the loads and stores
 * of the ring: a host pushes NT tickets, as many at a time as it likes, into TK places; NW workers pop
 * them.  One that finds none looks out for a while, and then sleeps.  A task returns, or never does; so a ticket has to wake somebody else.  NKILL workers die at any
 * step, and are replaced, or never (NOFORK): the host then posts one ticket more.  If the dead worker had
 * popped none, that one is for a job which has its ticket in the queue already, before it: who pops it
 * finds nothing to do, and pops another.
 *
 * What must hold: each ticket is popped once, in order.  When nothing moves any more and somebody sleeps,
 * all tickets were pushed, and all but such spare ones popped.
 *
 *   WK    bytes that the wake pipe holds.  A write that finds it full has written: so it needs as many as
 *         there are workers
 *   BUSY  the host never sleeps, and so never wakes for all tickets that are there (TK at least NT)
 *   PAGES a pipe that was full has room again only when it is empty
 *   WORDS there is no pipe: who sleeps sleeps on the word `wakes`, which is counted up before he is woken.
 *         A step for each access; to compare and to sleep is one, the kernel's, and so is to wake as many
 *         as sleep, any of them, but no more than are to be.  Who is woken and dies has used that up.
 *         It is 2^32 wakes until the word comes round: not here
 *   SHUT  (WORDS) the host shuts the queue some time when it sleeps: then, when nothing moves any more,
 *         nobody sleeps.  Of a pipe that is its end of file: protocol.pml
 *
 *   M_POP_STORE    the head is stored, and not exchanged
 *   M_POP_ADD      the head is counted up by whoever saw a ticket
 *   M_ENTRY_LATE   the entry is read when the head is past it
 *   M_TAIL_FIRST   the tail is stored before the entry
 *   M_NO_FULL      the head is not looked at before the push
 *   M_HEAD_KEPT    the head is looked at once
 *   M_IDLE_LATE    a worker is idle when it has looked a last time
 *   M_NO_LAST_LOOK it does not look again when it is idle
 *   M_WAKE_FIRST   who is idle is looked at before the push
 *   M_NO_WAKE      nobody is woken
 *   M_WAKE_ONE     one byte is written for whatever was pushed
 *   M_RING2_FIRST  host_waits is looked at before the pop
 *   M_NO_RING2     it is not looked at
 *   M_NO_RETRY     the queue is not tried again when the backlog is told
 *   M_NO_HW2       a backlog is not told
 *   M_SUBMIT_HW    it is told by the thread that is to sleep alone
 *   M_NO_FLUSH     who sleeps does not first post what is due
 *   M_NO_LOST      a death is not told
 *   M_LOOKS_STILL  a worker looks out, as it says, until it has popped
 *   M_COUNT_FIRST  who looks out is counted before the head is read
 *   M_DEAD_LOOKS   who died looking out is counted still
 *   M_NO_STRANDED  who sleeps counts on those who look out
 *  with WORDS
 *   M_WAKES_LATE   `wakes` is read after the last look
 *   M_WAKES_IDLE   it is read before that, but when the worker is idle
 *   M_NO_COMPARE   it is not compared
 *   M_NO_COUNT     it is not counted up
 *   M_COUNT_LATE   it is counted up after the wake
 *   M_ERA_FIRST    whether the queue is shut is looked at before `wakes` is read
 *   M_SHUT_LATE    it is shut after the wake
 *   M_SHUT_QUIET   it is shut, and nobody is woken
 */
#ifndef NW
#define NW 2
#endif
#ifndef TK
#define TK NW
#endif
#ifndef WK
#define WK NW
#endif
#ifndef NT
#define NT 3
#endif
#ifndef NKILL
#define NKILL 0
#endif

/* ---- shared memory and pipes -------------------------------------------------------------------- */
byte q[TK], head, tail;         /* a ticket is its number, from 1 on */
bit  idle[NW], looking[NW];
byte hw;
#ifdef WORDS
bit  same[NW];                  /* `wakes` is what the worker has read, on its way to sleep */
bit  shut;
#else
byte wake;                      /* bytes in the wake pipe */
#endif
bit  bell;
bit  lost;                      /* a worker has died, and the host has not seen it */

/* ---- ghosts ------------------------------------------------------------------------------------- */
bit  asleep[NW];                /* with WORDS the kernel's */
byte popped;                    /* so many tickets */
bit  dying[NW];
byte nk=NKILL;
bit  posted;                    /* all of them */
bit  spare[NT+NKILL+2];         /* this ticket is */
byte need=NT, served;           /* tickets that are not */
bit  robbed;                    /* the worker that has died had popped one */

#if NW>2
#define EACHW(M) M(0) M(1) M(2)
#define SLEEPS (asleep[0] || asleep[1] || asleep[2])
#define IDLE (idle[0]+idle[1]+idle[2])
#define LOOKING (looking[0]+looking[1]+looking[2])
#else
#define EACHW(M) M(0) M(1)
#define SLEEPS (asleep[0] || asleep[1])
#define IDLE (idle[0]+idle[1])
#define LOOKING (looking[0]+looking[1])
#endif

/* ---- a worker ----------------------------------------------------------------------------------- */
#define RING2 atomic { if :: hw==2 -> bell=1 :: else fi }
#ifdef WORDS
#define WAKES same[w]=1;        /* read it */
#define UP same[w]=0;
#define LEAVE if :: atomic { shut -> UP idle[w]=0; goto busy } :: !shut fi;     /* it exits */
#ifdef M_NO_COMPARE
#define DOZE asleep[w]=1
#else
#define DOZE if :: same[w] -> asleep[w]=1 :: else fi
#endif
#else
#define WAKES
#define UP
#define LEAVE
#endif
#define POPPED popped++; assert(id==popped); if :: !spare[id] -> served++; have=1 :: else fi

proctype Worker(byte w) {
  byte h, id; bit have, slept;
begin:
  {
  idle[w]=0;                    /* a predecessor died asleep */
pop:
#ifdef M_RING2_FIRST
  RING2;
#endif
  h=head;
look:
  if :: h<tail :: atomic { h>=tail -> h=0; goto look_out } fi;
#ifdef M_ENTRY_LATE
  atomic { if :: head==h -> head=h+1 :: else -> h=head; goto look fi };
  atomic { id=q[h%TK]; POPPED };
#elif defined(M_POP_ADD)
  atomic { h=head; head++ };
  atomic { id=q[h%TK]; POPPED };
#else
  id=q[h%TK];
#ifdef M_POP_STORE
  atomic { head=h+1; POPPED };
#else
  atomic { if :: head==h -> head=h+1; POPPED :: else -> h=head; id=0; goto look fi };
#endif
#endif
#ifdef M_LOOKS_STILL
  looking[w]=0;
#endif
#if !defined(M_RING2_FIRST) && !defined(M_NO_RING2)
  RING2;
#endif
  if
  :: atomic { h=0; id=0; have=0; slept=0; goto pop }                     /* the task returns */
  :: atomic { have -> h=0; id=0; have=0; slept=0; goto busy }            /* or never */
  fi;
look_out:                       /* for a while */
  if
  :: atomic { !slept -> looking[w]=1 };
     if
     :: head<tail ->
#ifndef M_LOOKS_STILL
        looking[w]=0;
#endif
        goto pop
     :: looking[w]=0
     fi
  :: atomic { slept -> slept=0 }
  fi;
#ifdef M_ERA_FIRST
  LEAVE
#endif
#if !defined(M_WAKES_LATE) && !defined(M_WAKES_IDLE)
  WAKES
#endif
#ifndef M_IDLE_LATE
  idle[w]=1;
#endif
#ifdef M_WAKES_IDLE
  WAKES
#endif
#ifndef M_NO_LAST_LOOK
  h=head;
  if :: atomic { h<tail -> h=0; slept=1; goto woken } :: atomic { h>=tail -> h=0 } fi;
#endif
#ifdef M_IDLE_LATE
  idle[w]=1;
#endif
#ifdef M_WAKES_LATE
  WAKES
#endif
#ifndef M_ERA_FIRST
  LEAVE
#endif
#ifdef WORDS
  atomic { DOZE; UP skip };
end_sleep:
  !asleep[w];
#else
  asleep[w]=1;
end_sleep:
  atomic { wake>0 -> wake--; asleep[w]=0 };
#endif
  slept=1;
woken:
  atomic { UP idle[w]=0; goto pop };
busy:
end_busy:
  false
  } unless { atomic { dying[w] -> dying[w]=0 } };
#ifdef M_NO_LOST
  atomic { UP asleep[w]=0; h=0; id=0; have=0; slept=0 };
#else
  atomic { if :: have -> need++; robbed=1 :: else fi; UP asleep[w]=0; h=0; id=0; have=0; slept=0 };
#ifndef M_DEAD_LOOKS
  looking[w]=0;                 /* the supervisor, before it tells */
#endif
  atomic { lost=1; bell=1 };
#endif
#ifdef NOFORK
end_dead:
  false
#else
  goto begin
#endif
}

/* ---- deaths ------------------------------------------------------------------------------------- */
#define HIT(i) :: atomic { nk>0 && !dying[i] -> nk--; dying[i]=1 }

proctype World() {
end_w:
  do
  :: false
#if NKILL>0
  EACHW(HIT)
#endif
  od
}

/* ---- the host ----------------------------------------------------------------------------------- */
#ifdef M_NO_FULL
#define LOOKFULL
#define FULL false
#elif defined(M_HEAD_KEPT)
#define LOOKFULL
#define FULL (tail-seen>=TK)
#else
#define LOOKFULL atomic { if :: tail-seen>=TK -> seen=head :: else fi };
#define FULL (tail-seen>=TK)
#endif
#ifdef M_TAIL_FIRST
#define PUT tail++; q[(tail-1)%TK]=tail
#else
#define PUT q[tail%TK]=tail+1; tail++
#endif
#define PUSH do \
             :: due>0 -> LOOKFULL if :: atomic { FULL -> break } :: !FULL fi; PUT; atomic { due--; p++ } \
             :: due==0 -> break \
             od;
#define LEAST(a,b) ((a)<(b) -> (a) : (b))
#ifdef WORDS
#define OTHER(i) same[i]=0;
#define ROUSE(i) :: p>0 && asleep[i] -> asleep[i]=0; p--
#define COUNT atomic { EACHW(OTHER) skip };
#define FUTEX_WAKE atomic { do EACHW(ROUSE) :: p==0 || !SLEEPS -> p=0; break od };
#if defined(M_NO_COUNT)
#define WOKEN FUTEX_WAKE
#elif defined(M_COUNT_LATE)
#define WOKEN FUTEX_WAKE COUNT
#else
#define WOKEN COUNT FUTEX_WAKE
#endif
#define WRITE if :: p>0 -> WOKEN n=0 :: atomic { p==0 -> n=0 } fi;
#elif defined(PAGES)
bit wfull;                       /* it was, and has not been empty since */
#define WRITE atomic { if :: wake==0 -> wfull=0 :: else fi; \
                       if :: wfull || wake+p>WK :: else -> wake=wake+p; wfull=(wake==WK) fi; n=0; p=0 };
#else
#define WRITE atomic { wake=LEAST(wake+p,WK); n=0; p=0 };
#endif
/* For all tickets that are there: mp_queue_stranded() */
#define WAKEALL n=IDLE; counted=0; if :: n>0 -> f=head; atomic { p=LEAST(tail-f,n); f=0 }; WRITE :: n==0 -> p=0 fi
#ifdef M_COUNT_FIRST
#define LOOKERS l=LOOKING; f=head
#else
#define LOOKERS f=head; l=LOOKING
#endif
#if defined(M_NO_WAKE)
#define WAKE p=0
#elif defined(M_WAKE_FIRST)
#define WAKE p=LEAST(p,n); WRITE
#elif defined(M_WAKE_ONE)
#define WAKE p=(IDLE>0); WRITE
#else                   /* mp_queue_sleepers() */
#define WAKE if \
             :: hw!=0 -> WAKEALL \
             :: hw==0 -> \
                n=IDLE; \
                if \
                :: n>0 -> LOOKERS; \
                   atomic { if :: tail-f<=l -> n=0 :: else fi; f=0; l=0; p=LEAST(p,n); if :: p==0 -> counted=1 :: else fi }; \
                   WRITE \
                :: atomic { n==0 -> p=0; counted=1 } \
                fi \
             fi
#endif
#ifdef M_WAKE_FIRST
#define FLUSH1 n=IDLE; PUSH if :: p>0 -> WAKE :: p==0 fi;
#else
#define FLUSH1 PUSH if :: p>0 -> WAKE :: p==0 fi;
#endif
#ifdef M_NO_RETRY
#define RETRY
#else
#define RETRY FLUSH1
#endif
#ifdef M_SUBMIT_HW
#define TOLD (due>0 && sl && !other)
#elif defined(M_NO_HW2)
#define TOLD false
#else
#define TOLD (due>0 && sl)
#endif
#define FLUSH if :: due>0 -> FLUSH1 if :: TOLD -> hw=2; RETRY skip :: !TOLD fi :: due==0 fi;

/* The number of a ticket is known when it is due */
#define AGAIN lost=0; due++; if :: robbed -> robbed=0 :: else -> spare[tail+due]=1 fi

proctype Host() {
  byte left=NT, due, p, n, seen, f, l;
  bit sl, other, counted;       /* counted: on somebody who looks out */
loop:
#ifdef BUSY
  posted=(left==0 && due==0);
end_busy:
#endif
  if
#ifdef BUSY
  :: atomic { lost -> AGAIN; goto post }
  :: due>0 -> goto post
#else
  :: goto wait
#endif
  :: atomic { left>0 -> left--; due++; if :: goto loop :: goto post fi }
  fi;
post:
  FLUSH
  if :: atomic { other -> other=0; goto sleep } :: !other -> goto loop fi;
wait:
  atomic { sl=1; hw=1 };
#ifndef M_NO_FLUSH
  FLUSH
#endif
#ifndef M_NO_STRANDED
  if :: counted -> WAKEALL :: !counted fi;
#endif
  atomic { if :: lost -> AGAIN; goto awake :: else fi };
sleep:
  posted=(left==0 && due==0);
end_sleep:
  if
  :: atomic { bell -> bell=0 }
  :: atomic { left>0 -> left--; due++; other=1; if :: goto post :: left>0 -> left--; due++; goto post fi }
#ifdef SHUT
  :: goto shutting
#endif
  fi;
awake:
  atomic { sl=0; hw=0 };
  FLUSH
  atomic { if :: lost -> AGAIN :: else fi };
  goto wait
#ifdef SHUT
  ;
shutting:
#ifndef M_SHUT_LATE
  shut=1;
#endif
#ifndef M_SHUT_QUIET
  p=NW;
  WRITE
#endif
#ifdef M_SHUT_LATE
  shut=1;
#endif
end_shut:
  false
#endif
}

proctype Monitor() {
#ifdef SHUT
  timeout -> assert(!SLEEPS)
#else
  timeout -> assert(posted && served==need || !SLEEPS)
#endif
}

#define RUNW(i) run Worker(i);
init { atomic { EACHW(RUNW) run World(); run Host(); run Monitor() } }

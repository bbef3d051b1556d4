/* SPDX-License-Identifier: MIT */
/*
 * queue.pml - Promela model of the ticket queue, src/shm/queue.c, and of who is woken for a ticket:
 * flush_once() in src/pool/submit.c, take_ticket() and sleep_till_woken() in src/pool/worker.c.
 * protocol.pml takes the queue for a channel whose tickets somebody reads; here is shown that it is one.
 *
 * The host pushes NT tickets, two at a time, into a ring of Q entries; NW workers pop them, say that they
 * look out for one for a while when there is none, are idle then, and sleep in a read of the wake pipe.
 * Nobody is woken where as many look out as there are tickets.  Up to NKILL of them die anywhere: a
 * ticket in hand is then lost, and the host, told of the death, pushes again what is not done.  Up to
 * NSTUCK tasks do not return before all others are done.
 *
 * What must hold: every ticket is done once and by its own entry, whoever sleeps, and all processes come to
 * their end when the host has closed the pipe.  A ticket that nobody pops is an invalid end state.
 *
 * Memory is sequentially consistent here.  In the code that a worker is no more idle may be seen late: a
 * byte too many, as after a death.
 *
 *   M_POP_STORE     the head is stored, and not exchanged for what was loaded
 *   M_PUSH_FULL     a full ring is pushed to
 *   M_LOOK_FIRST    a worker looks at the queue, and says then that it is idle
 *   M_NO_LOOK       it does not look once it has said so
 *   M_AWAKE_EARLY   it is not idle any more before it reads the pipe
 *   M_IDLE_FIRST    the host looks who is idle before it pushes
 *   M_ONE_BYTE      it wakes one, whatever it has pushed
 *   M_NO_AGAIN      it does not push again what a death may have lost
 *   M_ENTRY_LATE    the tail moves before the entry is written
 *   M_LOOKS_STILL   a worker looks out, as it says, until it has popped
 *   M_COUNT_FIRST   the host counts who looks out before it reads the head
 *   M_DEAD_LOOKS    who died looking out is counted still
 */
#ifndef NW
#define NW 2
#endif
#ifndef NT
#define NT 3
#endif
#ifndef Q
#define Q 2
#endif
#ifndef NKILL
#define NKILL 0
#endif
#ifndef NSTUCK
#define NSTUCK 0
#endif

/* ---- shared memory, and the pipe ----------------------------------------------------------------- */
byte ring[Q], head, tail;       /* counts of tickets ever popped and pushed */
bit idle[NW], looking[NW], killed[NW];
byte wake;                      /* bytes in the wake pipe: room for as many as there are workers */
bit closed;
byte lost, lost_seen;           /* deaths */
byte nkill=NKILL, nstuck=NSTUCK;

/* ---- ghosts --------------------------------------------------------------------------------------- */
bit done[NT];                   /* as the chunk words say */
byte busy[NW];                  /* 1 + the ticket of a task that does not return yet */

#if NT==2
#define DONE (done[0] && done[1])
#define OTHERS(t) (done[1-(t)])
#else
#define DONE (done[0] && done[1] && done[2])
#define OTHERS(t) (((t)==0 || done[0]) && ((t)==1 || done[1]) && ((t)==2 || done[2]))
#endif
#if NW==1
#define IDLE idle[0]
#define LOOKING looking[0]
#else
#define IDLE (idle[0]+idle[1])
#define LOOKING (looking[0]+looking[1])
#endif

proctype Worker(byte w) {
  byte h, t; bit have;

start:
  {
    idle[w]=0;                  /* a predecessor may have died asleep */
pop:
    h=head;
    do
    :: h<tail ->
       t=ring[h%Q];
#ifdef M_POP_STORE
       atomic { assert(head==h); head=h+1; have=1; break }
#else
       atomic { if :: head==h -> head=h+1; have=1; break :: else -> h=head fi }
#endif
    :: h>=tail -> break
    od;
#ifdef M_LOOKS_STILL
    looking[w]=0;
#endif
    if
    :: have ->                  /* a claim of the chunk: it is begun once */
       atomic { if :: !done[t] && busy[0]!=t+1 && busy[NW-1]!=t+1 ->
                      if :: nstuck>0 -> nstuck--; busy[w]=t+1 :: true -> done[t]=1; t=0 fi
                   :: else -> t=0 fi;
                have=0; h=0 };
       if :: atomic { busy[w]!=0 && OTHERS(busy[w]-1) -> done[busy[w]-1]=1; busy[w]=0; t=0 }
          :: busy[w]==0 fi;
       goto pop
    :: !have
    fi;
    h=0; t=0;
    if
    :: true ->                  /* for a while */
       looking[w]=1;
       if
       :: head<tail ->
#ifndef M_LOOKS_STILL
          looking[w]=0;
#endif
          goto pop
       :: true -> looking[w]=0
       fi
    :: true
    fi;
#ifdef M_LOOK_FIRST
    if :: head<tail -> goto pop :: head>=tail fi;
    idle[w]=1;
#else
    idle[w]=1;
#ifndef M_NO_LOOK
    if :: head<tail -> idle[w]=0; goto pop :: head>=tail fi;
#endif
#endif
#ifdef M_AWAKE_EARLY
    idle[w]=0;
#endif
    if
    :: atomic { wake>0 -> wake-- }
    :: atomic { wake==0 && closed -> goto left }
    fi;
    idle[w]=0;
    goto pop
  } unless { atomic { killed[w] -> killed[w]=0; busy[w]=0; have=0; h=0; t=0 };
#ifndef M_DEAD_LOOKS
    looking[w]=0;               /* the supervisor, before it tells */
#endif
    atomic { lost++; goto start } };
left:
  killed[w]=0
}

proctype World() {
end_world:
  do
  :: atomic { nkill>0 -> nkill--; killed[0]=1 }
  :: atomic { nkill>0 -> nkill--; killed[NW-1]=1 }
  od
}

#ifdef M_PUSH_FULL
#define ROOM true
#else
#define ROOM (tail-head<Q)
#endif
#define NEXT atomic { if :: i<NT && done[i] -> i++ :: else fi }
inline push()                   /* one ticket, if there is room */
{
#ifdef M_ENTRY_LATE
  tail++;
  ring[(tail-1)%Q]=i;
#else
  ring[tail%Q]=i;
  tail++;
#endif
  pushed++; i++
}

proctype Host() {
  byte i, pushed, k, f, l;

again:                          /* what is not done: all at first, after a death what it may have lost */
  lost_seen=lost;
  i=0;
  do
  :: i<NT ->
#ifdef M_IDLE_FIRST
     k=IDLE;
#endif
     pushed=0;
     do                         /* what is due, as far as there is room */
     :: i<NT && pushed<2 && ROOM && !done[i] -> push()
     :: i<NT && pushed<2 && done[i] -> i++
     :: i==NT || pushed==2 || (!ROOM && !done[i]) -> break
     od;
#ifndef M_IDLE_FIRST
     k=IDLE;
#endif
     if
     :: atomic { pushed==0 || k==0 -> k=0 }
     :: atomic { pushed>0 && k>0 };
#ifdef M_COUNT_FIRST
        l=LOOKING; f=head;
#else
        f=head; l=LOOKING;
#endif
        atomic { if :: tail-f<=l -> k=0 :: else fi; f=0; l=0 }
     fi;
     atomic {
#ifdef M_ONE_BYTE
       if :: k>1 -> k=1 :: else fi;
#endif
       if :: pushed<k -> k=pushed :: else fi;
       if :: wake+k>NW -> wake=NW :: else -> wake=wake+k fi;
       k=0; pushed=0 };
     if :: i==NT || ROOM        /* the bell of who pops: see HOST_HAS_BACKLOG */
#ifndef M_NO_AGAIN
        :: lost!=lost_seen -> goto again
#endif
     fi
  :: i==NT -> break
  od;
  if
  :: DONE
#ifndef M_NO_AGAIN
  :: !DONE && lost!=lost_seen -> goto again
#endif
  fi;
  closed=1
}

init {
  atomic {
    run Worker(0);
#if NW>1
    run Worker(1);
#endif
    run World(); run Host()
  }
}

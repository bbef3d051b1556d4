/* SPDX-License-Identifier: MIT */
/*
 * sleeper.pml - Promela model of the threads of one host that wait for jobs, src/pool/wait.c.
 *
 * NT threads wait for one job each.  The first that comes sleeps on the bell and looks for all (the
 * sleeper); the others wait on a condition of their own.  Who leaves passes the role on, by a signal to
 * the first that still waits.  A worker ends each job, leaves its ready bit and rings if the host says
 * that it waits; other threads cancel (NCANCEL) and look (NLOOK), and wake the sleeper by the nudge pipe
 * if its own job has ended by that.  Limits pass (NLATE): a waiter leaves that has not what it waited for.
 *
 * What must hold: every thread comes to its end.  One that sleeps or waits for ever, while the others are
 * done, is an invalid end state.  Conditions are never woken for nothing here: that could only hide it.
 * With NEVER the first job is ended by no worker, so that a thread may rightly stay: then no thread may
 * wait whose job has ended, when nothing moves any more.
 * With WORDS the bell is a word, and to nudge is to ring it.  Who rings sets it and then wakes; the sleeper
 * compares and sleeps in one step, the kernel's, and may be woken by who rang before.  A nudge is one
 * step: it is made under the lock, without which nobody sleeps again.
 * The lock is one bit; what happens under it is a step for each access to what a worker shares.
 *
 *   M_NO_HAND_OVER   who leaves wakes nobody to take its place
 *   M_HAND_SELF      who leaves is in the list still, and may wake itself
 *   M_NO_WAKE        the sleeper does not wake those whose jobs have ended
 *   M_NO_NUDGE       who ends the sleeper's job signals its condition, where it does not wait
 *   M_NUDGE_ALL      the others are nudged, too, and not signalled
 *   M_STAYS          the sleeper leaves and is taken for the sleeper still
 *   M_NO_HW          the sleeper does not say that it waits
 *   M_HW_LATE        it says so after it has looked
 *   M_NO_LOOK        it says so and does not look
 *   M_DRAIN_LATE     the bell is read empty after the look
 *   M_CHECK_FIRST    a waiter looks for the sleeper, lets go of the lock, and waits then
 *   M_LATE_KEEPS     a waiter that is late leaves without handing over
 *  with WORDS
 *   M_WAKE_BEFORE_SET who rings wakes and then sets the bell
 *   M_NO_COMPARE     the sleeper sleeps whether or not it has rung
 *   M_SILENCE_LATE   it silences the bell when it is to sleep
 */
#ifndef NT
#define NT 3
#endif
#ifndef NCANCEL
#define NCANCEL 1
#endif
#ifndef NLOOK
#define NLOOK 1
#endif
#ifndef NLATE
#define NLATE 1
#endif

/* ---- shared with the worker -------------------------------------------------------------------- */
bit ready[NT], bell, hw;

/* ---- the host's, under the lock ----------------------------------------------------------------- */
bit lock;
bit gone[NT];                   /* a ghost: the thread has come to its end */
bit ended[NT], listed[NT];
chan list = [NT] of {byte};     /* of those who wait, in the order in which they came */
byte sleeper;                   /* 1 + its number; 0: nobody */
bit blocked[NT], signalled[NT]; /* in pthread_cond_wait(), and to be woken from it */
#ifdef WORDS
bit asleep;                     /* somebody, on the bell */
#else
bit nudge;                      /* the nudge pipe is not empty */
#endif
byte ncancel=NCANCEL, nlook=NLOOK, nlate=NLATE;

#define LOCK   atomic { !lock -> lock=1 }
#define UNLOCK lock=0

/* pthread_cond_signal() is lost on who does not wait */
#define SIGNAL(k) if :: blocked[k] -> signalled[k]=1 :: else fi

#ifndef WORDS
#define RING bell=1
#define NUDGE nudge=1
#else
#ifdef M_WAKE_BEFORE_SET
#define RING asleep=0; bell=1
#else
#define RING bell=1; asleep=0
#endif
#define NUDGE bell=1; asleep=0
#endif

#if defined(M_NO_NUDGE)
#define WAKE(k) SIGNAL(k)
#elif defined(M_NUDGE_ALL)
#define WAKE(k) NUDGE
#else
#define WAKE(k) if :: sleeper==k+1 -> NUDGE :: else -> SIGNAL(k) fi
#endif

/* mp_wake_waiters() */
inline wake_waiters()
{
  d_step {
    j=0;
    do
    :: j<NT -> if :: listed[j] && ended[j] -> WAKE(j) :: else fi; j++
    :: else -> j=0; break
    od
  }
}

/* look(): the ready bits, each exchanged for 0 */
inline look()
{
  any=0;
  do
  :: atomic { j<NT -> if :: ready[j] -> ready[j]=0; if :: !ended[j] -> ended[j]=1; any=1 :: else fi
                         :: else fi; j++ }
  :: atomic { j==NT -> j=0; break }
  od
}

/* mp_hand_over() */
inline hand_over()
{
  d_step {
    if
    :: sleeper==0 && nempty(list) -> list?<j>; SIGNAL(j); j=0
    :: else
    fi
  }
}

proctype Waiter(byte i) {
  byte j; bit any, late;
#ifndef WORDS
  bit pb, pn;
#endif

  atomic { !lock -> if :: ended[i] -> goto out :: else -> lock=1; list!i; listed[i]=1 fi };
again:
  if
  :: ended[i] || late -> goto leave
  :: !ended[i] && !late && sleeper!=0 ->                /* wait_for_sleeper() */
#ifdef M_CHECK_FIRST
     UNLOCK;
     blocked[i]=1;
#else
     atomic { blocked[i]=1; UNLOCK };
#endif
#ifdef NEVER
end_waiter:
#endif
     if
     :: atomic { signalled[i] -> signalled[i]=0; blocked[i]=0 }
     :: atomic { !signalled[i] && nlate>0 -> nlate--; late=1; blocked[i]=0 }
     fi;
     LOCK;
     goto again
  :: !ended[i] && !late && sleeper==0                   /* wait_for_bell() */
  fi;
  sleeper=i+1;
#if !defined(M_HW_LATE) && !defined(M_NO_HW)
  hw=1;
#endif
#ifdef M_NO_LOOK
  any=0;
#else
  look();
#endif
#ifdef M_HW_LATE
  hw=1;
#endif
  if
  :: any
  :: !any ->
     UNLOCK;
#ifdef WORDS
     if
#if defined(M_NO_COMPARE)
     :: asleep=1;
#elif defined(M_SILENCE_LATE)
     :: atomic { bell=0; asleep=1 };
#else
     :: atomic { !bell -> asleep=1 };
#endif
#ifdef NEVER
end_sleeper:
#endif
        if
        :: !asleep
        :: atomic { asleep && nlate>0 -> nlate--; late=1; asleep=0 }
        fi
     :: bell                                            /* it need not */
     fi;
#if !defined(M_DRAIN_LATE) && !defined(M_SILENCE_LATE)
     atomic { if :: !late -> bell=0 :: else fi };
#endif
#else
#ifdef NEVER
end_sleeper:
#endif
     if                                                 /* poll() */
     :: atomic { bell || nudge -> pb=bell; pn=nudge }
     :: atomic { nlate>0 -> nlate--; late=1 }
     fi;
     atomic { if :: pn -> nudge=0; pn=0 :: else fi };
#ifndef M_DRAIN_LATE
     atomic { if :: pb -> bell=0; pb=0 :: else fi };
#endif
#endif
     LOCK
  fi;
#ifndef M_STAYS
  sleeper=0;
#endif
  hw=0;
  look();
#ifdef M_DRAIN_LATE
  bell=0;
#ifndef WORDS
  pb=0;
#endif
#endif
#ifndef M_NO_WAKE
  wake_waiters();
#endif
  goto again;

leave:
  atomic {
#ifdef M_HAND_SELF
    hand_over();
#endif
    list??eval(i); listed[i]=0;
#ifdef M_LATE_KEEPS
    if :: ended[i] -> hand_over() :: else fi;
#elif !defined(M_NO_HAND_OVER) && !defined(M_HAND_SELF)
    hand_over();
#endif
    UNLOCK
  };
out:
  assert(ended[i] || late);
  gone[i]=1
}

/* A thread that does not wait: mp_job_close(), mp_pool_look(). */
proctype Other() {
  byte j; bit any;

end_other:
  do
  :: atomic { ncancel>0 && !lock -> ncancel--;
              if :: ended[0]=1 :: ended[1]=1 :: ended[NT-1]=1 fi;
              wake_waiters() }
  :: atomic { nlook>0 && !lock -> nlook--; lock=1 };
     look();
     atomic { wake_waiters(); UNLOCK }
  od
}

/* announce() in worker.c, once for each job, in any order */
proctype Worker() {
  byte j; bit told[NT];

end_worker:
  do
#ifndef NEVER
  :: atomic { !told[0] -> told[0]=1; ready[0]=1 }; if :: hw -> RING :: !hw fi
#endif
  :: atomic { !told[1] -> told[1]=1; ready[1]=1 }; if :: hw -> RING :: !hw fi
#if NT>2
  :: atomic { !told[2] -> told[2]=1; ready[2]=1 }; if :: hw -> RING :: !hw fi
#endif
  od
}

#ifdef NEVER
active proctype Quiet() {
end_quiet:
  timeout -> assert(!(ended[0] && !gone[0]) && !(ended[1] && !gone[1]) && !(ended[NT-1] && !gone[NT-1]))
}
#endif

init {
  atomic {
    run Waiter(0); run Waiter(1);
#if NT>2
    run Waiter(2);
#endif
    run Other(); run Worker()
  }
}

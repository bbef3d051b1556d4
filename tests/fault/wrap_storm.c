/* SPDX-License-Identifier: MIT */
/*
 * The kill storm with a library that has so few tags and slots that they come round all the time:
 * each ticket, record or glance of a worker that is late is one of a later job's, too.
 */
#include "kill_storm.c"

_Static_assert(MP_TAG_BITS == 2 && MP_SLOTS == 2, "this is for the library of that build");

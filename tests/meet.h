/* SPDX-License-Identifier: MIT */
/*
 * Two parties that meet between any two instructions.  One is a child that is stepped from instruction
 * to instruction, and between two of them the test does what the other party does: for each place there
 * is.  Threads alone seldom meet so.
 */
#ifndef TEST_MEET_H
#define TEST_MEET_H

#include <stdbool.h>
#include <stdint.h>

struct meeting {
    void (*begin)(void);   /* by the test, before each time */
    void (*stepped)(void); /* by the child: it shares with the test what test_share() gave */
    void (*other)(void);
    bool (*holds)(void);
};

/* Fails where it does not hold.  Between how many instructions they met; 0: nobody can be stepped here. */
uint32_t test_meet(const struct meeting *meeting);

#endif

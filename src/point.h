/* SPDX-License-Identifier: MIT */
/*
 * point.h: the places where a death leaves something different behind.  They are nothing but in a
 * build for tests, which defines MPROC_POINTS and mp_point(), a function that leaves errno alone:
 * see tests/fault/crash_points.c.
 */
#ifndef MP_POINT_H
#define MP_POINT_H

#ifdef MPROC_POINTS
void mp_point(const char *label);
#define CRASH_POINT(label) mp_point(label)
#else
#define CRASH_POINT(label) ((void)0)
#endif

#endif

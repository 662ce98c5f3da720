/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Whether the program was paused, so that what it sees may be no fault of the kernel. */
#ifndef PAUSE_HPP
#define PAUSE_HPP

/*
 * To be called by main(), before any test: starts a process that sleeps until the program ends.
 * Nothing wakes it but what stops or freezes the whole program, for however short a time.
 */
void post_sentry();

/* To be called in a test, before it begins: what came before is not its matter. */
void watch_for_pauses();
/*
 * True if the program was stopped or frozen since, or a wait came back 2 s late.  A stop
 * interrupts what workers wait in (-EINTR, before v7.3.2 -512), and makes their 5 s start anew.
 */
bool was_paused();

#endif /* PAUSE_HPP */

/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the programs inherit from who starts them. */
#ifndef ENVIRONMENT_HPP
#define ENVIRONMENT_HPP

/* True if a security module or seccomp forbids a call that returned @ret, or no kernel has it. */
bool refused(long ret);

/*
 * Undoes what would change how tests run: goes back to ordinary scheduling, nice 0
 * and all CPUs that are allowed, and to the signals of a new program.  A null
 * pointer, or of kernel.hpp why that cannot be, or what seccomp refuses.
 */
const char *shed_inheritance();

#endif /* ENVIRONMENT_HPP */

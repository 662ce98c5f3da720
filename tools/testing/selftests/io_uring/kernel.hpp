/* SPDX-License-Identifier: GPL-2.0 */
/* What the running kernel has, promises, and forbids. */
#ifndef KERNEL_HPP
#define KERNEL_HPP

/* Why a program or a test is skipped.  Bots make these texts part of names. */
namespace skip {
inline constexpr char no_io_uring[] = "kernel has no io_uring (CONFIG_IO_URING)";
inline constexpr char disabled[] = "io_uring is forbidden by kernel.io_uring_disabled";
inline constexpr char forbidden[] = "io_uring is forbidden by seccomp or an LSM";
inline constexpr char no_proc[] = "no /proc that shows this PID namespace";
inline constexpr char few_files[] = "RLIMIT_NOFILE is too low";
inline constexpr char little_memory[] = "RLIMIT_MEMLOCK is too low";
inline constexpr char few_threads[] = "RLIMIT_NPROC or pids.max is too low";
inline constexpr char no_promise[] = "kernel does not promise that idle io-wq workers exit";
inline constexpr char no_setup_flag[] = "kernel does not know this ring setup flag";
inline constexpr char no_nproc_limit[] = "RLIMIT_NPROC does not bind this user";
}

/*
 * Why no test can run here, one of the above, or a null pointer.  Raises
 * RLIMIT_NOFILE and RLIMIT_MEMLOCK to their hard limits on the way.
 */
const char *cannot_test();

/*
 * What says that this kernel lets idle workers exit once a task has no ring
 * left (io_wq_set_exit_on_idle(), since v7.0 and in stable kernels by
 * backport): the symbol, the version, or KSFT_REQUIRE_EXIT_ON_IDLE in the
 * environment.  A null pointer if nothing does.  To be asked only about a
 * worker that lingers: one that exits needs no promise.
 */
const char *exit_on_idle_promise();

#endif /* KERNEL_HPP */

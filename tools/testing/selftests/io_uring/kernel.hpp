/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the running kernel has, promises, and forbids. */
#ifndef KERNEL_HPP
#define KERNEL_HPP

#include <string>
#include <string_view>
#include <vector>

/* Why a program or a test is skipped.  Bots make these texts part of names. */
namespace skip {
inline constexpr char no_io_uring[] = "kernel has no io_uring (CONFIG_IO_URING)";
inline constexpr char disabled[] = "io_uring is forbidden by kernel.io_uring_disabled";
inline constexpr char forbidden[] = "io_uring is forbidden by seccomp or an LSM";
inline constexpr char no_calls[] = "a system call that tests make is forbidden by seccomp";
inline constexpr char no_proc[] = "no /proc that shows this PID namespace";
inline constexpr char real_time[] = "real-time priority cannot be given up";
inline constexpr char few_files[] = "RLIMIT_NOFILE is too low";
inline constexpr char little_memory[] = "RLIMIT_MEMLOCK is too low";
inline constexpr char small_files[] = "RLIMIT_FSIZE is too low";
inline constexpr char no_memory_file[] = "no file in memory can be made";
inline constexpr char no_lease[] = "no file can be leased";
inline constexpr char short_lease[] = "fs.lease-break-time is too short";
inline constexpr char little_address_space[] = "RLIMIT_AS or RLIMIT_DATA is too low";
inline constexpr char no_pidfd[] = "pidfd_open() is forbidden by seccomp";
inline constexpr char no_threads[] = "threads are forbidden by seccomp";
inline constexpr char few_threads[] = "RLIMIT_NPROC or pids.max is too low";
inline constexpr char no_promise[] = "kernel does not promise that idle io-wq workers exit";
inline constexpr char no_setup_flag[] = "kernel does not know this ring setup flag";
inline constexpr char not_this_user[] = "this user cannot have a ring";
inline constexpr char no_namespace[] = "a namespace that this needs may not be made or joined here";
inline constexpr char no_unshare[] = "unshare() or close_range() is forbidden by seccomp";
inline constexpr char no_namespace_type[] = "kernel does not know this type of namespace";
inline constexpr char one_cpu[] = "needs a second CPU";
inline constexpr char no_affinity[] = "may not choose its CPU";
inline constexpr char no_sqpoll[] = "IORING_SETUP_SQPOLL is forbidden by an LSM";
inline constexpr char no_socket[] = "no socket can be made";
inline constexpr char no_other_user[] = "may not become another user";
inline constexpr char no_pids_cgroup[] = "no cgroup that limits processes can be made";
inline constexpr char no_keyrings[] = "no session keyring can be given to a parent";
inline constexpr char no_core_file[] = "no core file is written to the working directory";
inline constexpr char no_procps[] = "no ps(1) that lists threads";
inline constexpr char not_root[] = "needs root's privilege";
inline constexpr char no_checkpoint_restore[] = "kernel lacks CONFIG_CHECKPOINT_RESTORE";
inline constexpr char no_ptrace[] = "may not trace a process of its own";
inline constexpr char no_proc_sys[] = "no /proc/sys";
inline constexpr char no_program_file[] = "the program is not at its path any more";
inline constexpr char no_criu[] = "criu is not installed";
inline constexpr char criu_fails[] = "criu fails here even without io_uring";
inline constexpr char no_registration[] = "kernel does not know this registration";
inline constexpr char no_request[] = "kernel does not know this request";
inline constexpr char no_cpuset[] = "no cpuset can be made";
inline constexpr char no_freezer[] = "no cgroup can be frozen";
inline constexpr char no_hotplug[] = "no CPU can be unplugged";
inline constexpr char may_not_disturb[] =
	"would change the whole machine: KSFT_DISTURB=1 allows it";
inline constexpr char no_userfaultfd[] = "userfaultfd(2) is missing or forbidden";
inline constexpr char no_aim[] = "no worker can be stopped at a chosen moment";
inline constexpr char paused[] = "the program was stopped or had no CPU meanwhile";
inline constexpr char no_nproc_limit[] = "RLIMIT_NPROC does not bind this user";
}

/*
 * Why no test can run here, one of the above, or a null pointer.  On the way it raises limits of
 * resources to their hard limits, where they are too low.
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

/*
 * skip::may_not_disturb, or a null pointer where KSFT_DISTURB=1 says that the machine is
 * the test's own: for tests that others on the machine would feel.
 */
const char *must_not_disturb();

/* The address of a function of the kernel, 0 if /proc/kallsyms does not tell. */
unsigned long symbol_address(std::string_view symbol);

#endif /* KERNEL_HPP */

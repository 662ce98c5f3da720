// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * As observers_test, for observers that not every system has: keyrings, core files, procps.
 * A worker that stays keeps a shell from getting a keyring by keyctl_session_to_parent(), as it
 * makes the shell multi-threaded, and puzzles whoever debugs the process.
 */
#include <algorithm>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <link.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "janitor.hpp"
#include "observer.hpp"

/* 0 if a child may give its parent, this process, a session keyring; else an errno. */
static int give_session()
{
	return in_child([] {
		const bool given =
			syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) >= 0 &&
			syscall(SYS_keyctl, KEYCTL_SESSION_TO_PARENT) == 0;

		return given ? 0 : errno;
	});
}

TEST(child_gives_its_session_keyring)
{
	/* It may be forbidden to begin with, as where the user is changed in part. */
	if (give_session())
		SKIP(return, "%s", skip::no_keyrings);
	ASSERT_RELIEVED(EPERM, 0, give_session);
}

/* How many threads the core file @path tells of. */
static int threads_in_core(const std::string &path)
{
	std::ifstream core(path, std::ios::binary);
	ElfW(Ehdr) elf = {};
	ElfW(Phdr) segment = {};
	ElfW(Nhdr) note = {};
	int threads = 0;

	const auto read_at = [&](auto offset, auto &to) {
		core.seekg(static_cast<std::streamoff>(offset));
		return !!core.read(reinterpret_cast<char *>(&to), sizeof(to));
	};
	const auto padded = [](auto size) { return (size + 3UL) & ~3UL; };

	/* The notes are of the first segment. */
	read_at(0, elf);
	read_at(elf.e_phoff, segment);
	if (segment.p_type != PT_NOTE)
		return 0;

	const auto end = segment.p_offset + segment.p_filesz;

	for (auto at = segment.p_offset; at < end && read_at(at, note);) {
		threads += note.n_type == NT_PRSTATUS;
		at += sizeof(note) + padded(note.n_namesz) + padded(note.n_descsz);
	}
	return threads;
}

enum class Use { no_ring, ring, closed_ring };

/* Dumps core into the empty directory @dir, after a ring has been put to @use. */
static void crash(const std::string &dir, Use use)
{
	struct rlimit core;
	Uring ring;

	getrlimit(RLIMIT_CORE, &core);
	core.rlim_cur = core.rlim_max;
	if (chdir(dir.c_str()) || setrlimit(RLIMIT_CORE, &core))
		_exit(1);
	if (use != Use::no_ring && (ring.open() || serve(ring, Class::unbounded)))
		_exit(1);
	if (use == Use::closed_ring) {
		const WorkerSet workers = WorkerSet::now();
		const RingEnd end = ring.end();

		ring.close();
		if (workers.await_exit(end).fate != Exit::gone)
			_exit(1);
	}
	abort();
}

/* How many threads are in the core file of a child that used a ring so; -1 without one. */
static int threads_of_crashed(const std::string &dir, Use use)
{
	int threads = -1;

	std::error_code err;

	in_child([&] {
		crash(dir, use);
		return 0;
	});
	for (const auto &file : std::filesystem::directory_iterator(dir, err)) {
		threads = threads_in_core(file.path());
		std::filesystem::remove(file.path(), err);
	}
	return threads;
}

TEST(core_file_has_no_worker)
{
	const std::string dir = "/tmp/" + unique_name();
	std::string pattern = "|";
	std::error_code err;
	Janitor cleanup;

	/* A core file elsewhere would stay, and a program would report it to somebody. */
	std::getline(std::ifstream("/proc/sys/kernel/core_pattern"), pattern);
	if (pattern.find_first_of("/|@") != std::string::npos)
		SKIP(return, "%s", skip::no_core_file);
	ASSERT_EQ(0, cleanup.start([&] {
		return std::filesystem::remove_all(dir, err) != static_cast<std::uintmax_t>(-1);
	}));
	if (!std::filesystem::create_directory(dir, err) ||
	    threads_of_crashed(dir, Use::no_ring) != 1)
		SKIP(return, "%s", skip::no_core_file);
	ASSERT_EQ(2, threads_of_crashed(dir, Use::ring));
	/* Fails or skips if workers do not leave, before a child is asked to see it. */
	ASSERT_RELIEVED(2, 1, thread_count);
	ASSERT_EQ(1, threads_of_crashed(dir, Use::closed_ring));
}

/* How many threads of this process ps(1) lists, or -1. */
static int threads_by_ps()
{
	const std::string self = std::to_string(getpid());
	Process ps;

	if (ps.start([&](Process &) { return execute({ "ps", "-T", "-o", "tid=", "-p", self }); }))
		return -1;
	const std::string lines = ps.output();

	return ps.await_result() ? -1 : static_cast<int>(std::ranges::count(lines, '\n'));
}

TEST(ps_lists_no_worker)
{
	if (threads_by_ps() != 1)
		SKIP(return, "%s", skip::no_procps);
	ASSERT_RELIEVED(2, 1, threads_by_ps);
}

TEST_HARNESS_MAIN

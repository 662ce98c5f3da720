// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The core file of a process that uses io_uring is whole, even if its workers are busy and its
 * requests complete during the dump: it has all memory and all threads of the process, and no
 * worker once the last ring is closed.  By core(5) it is "an image of the process's memory at the
 * time of termination", also where core_pattern sends it to a pipe.  Whoever debugs a crash relies
 * on that.  Workers stop for the dump like other threads, in coredump_task_exit(), and task work
 * must not interrupt the writes of vfs_coredump().
 */
#include <elf.h>
#include <fcntl.h>
#include <filesystem>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>

#include "cgroup.hpp"
#include "janitor.hpp"
#include "observer.hpp"

namespace {

constexpr char pattern_file[] = "/proc/sys/kernel/core_pattern";

/* Memory to be found in the core file.  Requests complete as so much is written. */
constexpr size_t nr_bytes = 8 << 20;
constexpr int nr_timeouts = 32;

/* What a core file contains. */
struct CoreFile {
	unsigned threads = 0;
	/* It ends before what its headers announce, or is none. */
	bool cut = false;
	/* One of its segments has all of the memory that is looked for. */
	bool memory = false;
};

/* Parses the core file @file, and looks in it for the @nr_bytes at @ours. */
CoreFile parse(const std::string &file, const unsigned char *ours)
{
	const auto start = reinterpret_cast<std::uintptr_t>(ours);
	ElfW(Ehdr) elf = {};
	CoreFile core;

	const auto read_at = [&](size_t offset, auto &to) {
		if (offset + sizeof(to) > file.size())
			return false;
		memcpy(&to, file.data() + offset, sizeof(to));
		return true;
	};
	const auto padded = [](size_t bytes) { return (bytes + 3) & ~3UL; };

	core.cut = !read_at(0, elf) || memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0;
	for (unsigned i = 0; !core.cut && i < elf.e_phnum; i++) {
		ElfW(Phdr) segment = {};
		ElfW(Nhdr) note = {};

		core.cut = !read_at(elf.e_phoff + i * sizeof(segment), segment) ||
			   segment.p_offset + segment.p_filesz > file.size();
		if (core.cut)
			break;
		if (segment.p_type == PT_LOAD && segment.p_vaddr <= start &&
		    start + nr_bytes <= segment.p_vaddr + segment.p_filesz)
			core.memory = memcmp(file.data() + segment.p_offset +
						     (start - segment.p_vaddr),
					     ours, nr_bytes) == 0;
		for (size_t at = segment.p_offset;
		     segment.p_type == PT_NOTE && at < segment.p_offset + segment.p_filesz &&
		     read_at(at, note);
		     at += sizeof(note) + padded(note.n_namesz) + padded(note.n_descsz))
			core.threads += note.n_type == NT_PRSTATUS;
	}
	return core;
}

/* Reads a file, or a FIFO until its writer has closed it. */
std::string read_all(const std::string &path)
{
	const Fd file(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));

	return read_to_end(file.get());
}

enum class RingUse { no_ring, idle, busy, closed_ring };

/* Blocks two workers, and has requests complete from now on.  False if that failed. */
bool keep_busy(Uring &ring, Work &work)
{
	struct __kernel_timespec times[nr_timeouts] = {};

	if (work.submit(ring) || WorkerSet::await(2).count() < 2)
		return false;
	for (int i = 0; i < nr_timeouts; i++) {
		times[i].tv_nsec = 2'000'000L * i;
		io_uring_prep_timeout(io_uring_get_sqe(ring.get()), &times[i], 0, 0);
	}
	return io_uring_submit(ring.get()) == nr_timeouts;
}

/* Closes the ring, and awaits that its workers leave.  False if they do not. */
bool close_and_await_exit(Uring &ring)
{
	const WorkerSet workers = WorkerSet::now();
	const RingEnd end = ring.end();

	ring.close();
	return workers.await_exit(end).fate == Exit::gone;
}

/* Uses a ring as @use says, beside a second thread, and dumps core into @dir.  1 if it cannot. */
int use_ring_and_crash(const std::string &dir, RingUse use)
{
	Work work(Class::unbounded, 2);
	struct rlimit core;
	Uring ring;

	getrlimit(RLIMIT_CORE, &core);
	core.rlim_cur = core.rlim_max;
	if (chdir(dir.c_str()) || setrlimit(RLIMIT_CORE, &core))
		return 1;
	std::thread(pause).detach();
	if (use != RingUse::no_ring && (ring.open() || serve(ring, Class::unbounded)))
		return 1;
	if (use == RingUse::closed_ring && !close_and_await_exit(ring))
		return 1;
	if (use == RingUse::busy && !keep_busy(ring, work))
		return 1;
	abort();
}

} // namespace

FIXTURE(core)
{
	std::string *dir;
	Janitor *janitor;
	unsigned char *memory;
};

FIXTURE_VARIANT(core)
{
	RingUse use;
	/* Whether core_pattern sends the core file to a pipe. */
	bool piped;
};

FIXTURE_VARIANT_ADD(core, file_with_idle_worker) { .use = RingUse::idle, .piped = false };
FIXTURE_VARIANT_ADD(core, file_with_busy_workers) { .use = RingUse::busy, .piped = false };
FIXTURE_VARIANT_ADD(core, file_with_closed_ring) { .use = RingUse::closed_ring, .piped = false };
FIXTURE_VARIANT_ADD(core, pipe_with_idle_worker) { .use = RingUse::idle, .piped = true };
FIXTURE_VARIANT_ADD(core, pipe_with_busy_workers) { .use = RingUse::busy, .piped = true };

FIXTURE_SETUP(core)
{
	const std::string dir = "/tmp/" + unique_name(), pattern = words(pattern_file);
	const bool piped = variant->piped;
	std::error_code err;

	if (piped && must_not_disturb())
		SKIP(return, "%s", must_not_disturb());
	/* Elsewhere a core file would stay, and a program might report it to somebody. */
	if (!piped && pattern.find_first_of("/|@%") != std::string::npos)
		SKIP(return, "%s", skip::no_core_file);
	self->dir = new std::string(dir);
	self->janitor = new Janitor;
	ASSERT_EQ(0, self->janitor->start([=] {
		std::error_code err;

		return (!piped || put(pattern_file, pattern) == 0) &&
		       std::filesystem::remove_all(dir, err) != static_cast<std::uintmax_t>(-1);
	}));
	if (!std::filesystem::create_directory(dir, err) ||
	    (piped && put(pattern_file, "|/bin/dd of=" + dir + "/core")))
		SKIP(return, "%s", skip::no_core_file);

	void *const map = mmap(nullptr, nr_bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, map);
	self->memory = static_cast<unsigned char *>(map);
	for (size_t i = 0; i < nr_bytes; i++)
		self->memory[i] = static_cast<unsigned char>(i + i / 251);
}

FIXTURE_TEARDOWN(core)
{
	delete self->janitor;
	delete self->dir;
}

/* The core file of a child that has used a ring as @use says. */
static std::string dump(const std::string &dir, bool piped, RingUse use)
{
	const std::string path = dir + "/core";
	std::string file;
	std::error_code err;
	Process child;

	if (piped && mkfifo(path.c_str(), 0600))
		return {};
	if (child.start([&](Process &) { return use_ring_and_crash(dir, use); }))
		return {};
	/* The child does not end before all has been read. */
	if (piped)
		file = read_all(path);
	child.await_end();
	for (const auto &entry : std::filesystem::directory_iterator(dir, err)) {
		if (!piped)
			file = read_all(entry.path());
		std::filesystem::remove(entry.path(), err);
	}
	return file;
}

TEST_F(core, is_whole)
{
	/* Here a process without a ring has a core file, or none can be expected with a ring. */
	if (parse(dump(*self->dir, variant->piped, RingUse::no_ring), self->memory).cut)
		SKIP(return, "%s", skip::no_core_file);

	const CoreFile core =
		parse(dump(*self->dir, variant->piped, variant->use), self->memory);

	ASSERT_FALSE(core.cut)
	{
		TH_LOG("the core file is cut short or missing, though nobody interrupted the dump");
		TH_LOG("v7.3 cures this: see vfs_coredump() in fs/coredump.c");
	}
	ASSERT_TRUE(core.memory) TH_LOG("memory is missing from the core file");
	ASSERT_LE(2U, core.threads) TH_LOG("a thread is missing from the core file");
	if (variant->use == RingUse::closed_ring) {
		if (core.threads == 3 && !exit_on_idle_promise())
			SKIP(return, "%s", skip::no_promise);
		ASSERT_EQ(2U, core.threads) TH_LOG("a worker is in the core file");
	}
}

TEST_HARNESS_MAIN

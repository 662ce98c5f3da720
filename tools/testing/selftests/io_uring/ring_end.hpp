/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The event of a ring's end. */
#ifndef RING_END_HPP
#define RING_END_HPP

#include "deadline.hpp"
#include "fd.hpp"

/*
 * The end of a ring, as an event: the only write end of a pipe, held by the
 * ring as a registered file.  io_ring_ctx_free() lets go of it, and only after
 * io_ring_exit_work() made every task that used the ring drop its tctx node,
 * that is, after the kernel decided about these tasks' idle workers.
 */
class RingEnd {
public:
	RingEnd() = default;
	explicit RingEnd(Fd rd) : rd(std::move(rd)) {}

	/* Reports POLLHUP once the ring is gone. */
	int fd() const { return rd.get(); }
	/* True if the ring is gone by now. */
	bool over() const;
	/* True once the ring is gone, false if limit::event passed before: explain_held_ring(). */
	bool await() const;
	bool await(const Deadline &deadline) const;

private:
	Fd rd;
};

/*
 * Says as "# " lines who may hold a closed ring that did not come to its end: itself, if one
 * that is made now does end, or else tasks of whoever's that are stopped or frozen.
 */
void explain_held_ring();

/*
 * Has a thread open and close three rings, each after the end of the one before.  True
 * if they ended: then a ring that was closed earlier had three times what it needs, a
 * grace period of RCU and a turn of a kworker.  One ring would not do: of two that end
 * side by side, the later may be first.
 */
bool others_end();

#endif /* RING_END_HPP */

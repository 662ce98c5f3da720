/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A second thread, told what to do step by step. */
#ifndef PEER_HPP
#define PEER_HPP

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "deadline.hpp"

/*
 * A thread that sleeps, so that task work reaches it, until it is told to run a step.  Steps
 * must not assert: the harness would end the test from the wrong thread.
 */
class PeerThread {
public:
	PeerThread() : thread([this](const std::stop_token &stop) { loop(stop); }) {}

	/* Runs @step there.  What it returns, or -ETIME if it takes longer than limit::event. */
	[[nodiscard]] int run(std::function<int()> step);

	/*
	 * Tells the thread to end, and does not wait: it ends only after its workers, so that a
	 * test has to look at these first.
	 */
	void end() { thread.request_stop(); }
	/* Waits for the thread's end. */
	void join() { thread.join(); }

private:
	void loop(const std::stop_token &stop);

	std::mutex mutex;
	std::condition_variable_any changed;
	std::function<int()> todo;
	int result = 0;
	/* Last, so that what it uses outlives it. */
	std::jthread thread;
};

#endif /* PEER_HPP */

#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# Slow and busy machines, and what a program inherits from who starts it.

load programs
bats_require_minimum_version 1.5.0

# No test fails but by a bug that this kernel is known to have.
nothing_new()
{
	run timeout 120 "${@:2}"
	log_of_program "$1" "$output" | "$top/tools/kernels/judge"
}

# The output of one program, as the runner shows it.
log_of_program()
{
	printf 'TAP version 13\n1..1\n# selftests: io_uring: %s\n' "$1"
	printf '%s\n' "$2" | sed 's/^/# /'
	if grep -q '^not ok' <<<"$2"; then
		echo "not ok 1 selftests: io_uring: $1 # exit=1"
	else
		echo "ok 1 selftests: io_uring: $1"
	fi
}

@test "slow: real-time priority and one CPU, as a bot's chrt and taskset leave them" {
	need_root
	for program in hashed_test cancel_test limits_test sqpoll_test task_lifetime_test; do
		nothing_new $program chrt -f 50 taskset -c 0 ./$program
	done
}

@test "slow: nice 19" {
	nothing_new idle_exit_test nice -n 19 ./idle_exit_test
}

@test "slow: signals ignored and blocked" {
	for program in task_lifetime_test idle_exit_test fork_test; do
		nothing_new $program env --ignore-signal --block-signal ./$program
	done
}

@test "slow: 64 MiB of memory" {
	local group=/sys/fs/cgroup/memory/io_uring_check.$$ limit=memory.limit_in_bytes

	need_root
	[ -d /sys/fs/cgroup/memory ] ||
		{ group=/sys/fs/cgroup/io_uring_check.$$ limit=memory.max; }
	mkdir "$group" && [ -e "$group/$limit" ] || skip "no cgroup that limits memory"
	echo 64M >"$group/$limit"
	for program in hashed_test cancel_test; do
		nothing_new $program sh -c "echo 0 >'$group/cgroup.procs' && exec ./$program"
	done
	rmdir "$group"
}

@test "slow: files of no size, and of a page" {
	for program in hashed_test cancel_test idle_exit_test rearm_test; do
		run -4 prlimit --fsize=0:0 ./$program
		[[ $output == *"1..0 # SKIP RLIMIT_FSIZE is too low"* ]]
		nothing_new $program prlimit --fsize=0:4096 ./$program
	done
}

@test "slow: a variable that says nothing" {
	for value in '' no 0; do
		[ "$(KSFT_MACHINE_SLOW=$value limit)" -eq "$(limit)" ]
	done
	[ "$(KSFT_MACHINE_SLOW=yes limit)" -eq $((2 * $(limit))) ]
}

# The milliseconds of limit::event.
limit()
{
	[ -e limit ] || g++ -std=c++20 -I "$source" -o limit -x c++ - "$source/deadline.cpp" <<-END
	#include "deadline.hpp"
	#include <cstdio>
	int main() { printf("%ld\n", static_cast<long>(limit::event.count())); }
	END
	./limit
}

# Stops all that program $1 has made, $2 seconds after its start, for $3 seconds.
pause_in()
{
	local session

	setsid "./$1" >"$1.$2.log" 2>&1 3>&- &
	session=$!
	sleep "$2"
	pkill -STOP -s $session || true
	sleep "$3"
	pkill -CONT -s $session || true
	wait $session || true
	log_of_program "$1" "$(cat "$1.$2.log")" | "$top/tools/kernels/judge"
}

@test "slow: a pause in the middle is no verdict" {
	local jobs=()

	for program in hashed_test idle_exit_test limits_test rearm_test task_lifetime_test \
		placement_test keepalive_test multi_ring_test; do
		for after in 0.1 0.3 3; do
			pause_in $program $after 12 3>&- &
			jobs+=($!)
		done
	done
	for job in "${jobs[@]}"; do
		wait $job
	done
}

# Freezes programs as a container's pause does, $1 seconds after their start, for 12.
freeze_in()
{
	local group=/sys/fs/cgroup/freezer/io_uring_check.$$.$1 file=freezer.state
	local frozen=FROZEN thawed=THAWED after=$1 program

	shift
	[ -d /sys/fs/cgroup/freezer ] ||
		{ group=/sys/fs/cgroup/io_uring_check.$$.$after file=cgroup.freeze frozen=1 thawed=0; }
	mkdir "$group"
	for program; do
		sh -c "echo 0 >'$group/cgroup.procs' && exec ./$program" \
			>"$program.frozen.$after.log" 2>&1 3>&- &
	done
	sleep "$after"
	echo $frozen >"$group/$file"
	sleep 12
	echo $thawed >"$group/$file"
	wait
	rmdir "$group"
	for program; do
		log_of_program "$program" "$(cat "$program.frozen.$after.log")" |
			"$top/tools/kernels/judge" ||
			{ grep -B 20 '^not ok' "$program.frozen.$after.log"; false; }
	done
}

@test "slow: a frozen cgroup is no verdict" {
	local jobs=()

	need_root
	[ -d /sys/fs/cgroup/freezer ] || [ -e /sys/fs/cgroup/cgroup.procs ] ||
		skip "no cgroup that can be frozen"
	for after in 0.1 0.3 3; do
		freeze_in $after hashed_test idle_exit_test limits_test rearm_test \
			task_lifetime_test placement_test keepalive_test multi_ring_test 3>&- &
		jobs+=($!)
	done
	for job in "${jobs[@]}"; do
		wait "$job"
	done
}

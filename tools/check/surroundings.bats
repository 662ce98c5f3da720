#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# Hostile surroundings beyond refusals.bats, each with the verdict that is to be expected.

load programs
bats_require_minimum_version 1.5.0

# The program passes, or skips as a whole with text $1.
skips_or_passes()
{
	run "${@:2}"
	[ "$status" -eq 0 ] || [[ $status -eq 4 && $output == *"1..0 # SKIP $1"* ]]
}

passes()
{
	run -0 "$@"
	[[ $output == *"fail:0"* ]]
	[[ $output != *"# SKIP"* ]]
}

# What a guest, where nobody else feels it, says of the programs once $1 is done.
in_guest()
{
	"$top/tools/kernels/boot" 7.3 -- "cd io_uring; mkdir -p /etc
		echo nobody:x:65534:65534::/:/bin/sh >/etc/passwd
		$1" 2>/dev/null
}

@test "surroundings: kernel.io_uring_disabled" {
	run -0 in_guest "echo 2 >/proc/sys/kernel/io_uring_disabled
		for program in *_test; do ./\$program; done
		echo 1 >/proc/sys/kernel/io_uring_disabled
		su nobody -c ./rearm_test
		for program in credentials limits namespaces observers_privileged; do
			./\${program}_test
		done
		true"
	[ "$(grep -c '^1..0 # SKIP io_uring is forbidden by kernel.io_uring_disabled' <<<"$output")" \
		-eq "$(($(wc -w <<<"$programs") + 1))" ]
	# Who was root, and had a ring.
	grep '^ok .*user_changes # SKIP this user cannot have a ring' <<<"$output"
	! grep '^not ok' <<<"$output"
}

@test "surroundings: no namespaces, no leases, or but for a moment" {
	run -0 in_guest 'for type in user mnt pid time; do
			cd /proc/sys/user
			max=$(cat max_${type}_namespaces)
			for few in 0 1; do
				echo $few >max_${type}_namespaces
				/tree/io_uring/namespaces_test
			done
			echo $max >max_${type}_namespaces
		done
		cd /tree/io_uring
		echo 5 >/proc/sys/fs/lease-break-time
		./rearm_test
		echo 0 >/proc/sys/fs/leases-enable
		./rearm_test
		true'
	! grep '^not ok' <<<"$output"
	grep 'SKIP a namespace that this needs may not be made' <<<"$output"
	grep '^1..0 # SKIP fs.lease-break-time is too short' <<<"$output"
	grep '^1..0 # SKIP no file can be leased' <<<"$output"
}

@test "surroundings: a PID namespace with a /proc of its own" {
	need_root
	passes unshare -pf --mount-proc ./idle_exit_test
	passes unshare -pf --mount-proc ./multi_ring_test
}

@test "surroundings: few PIDs, each used again and again" {
	need_root
	printf '%s\n' 6.14 "$(uname -r)" | sort -VC || skip "kernel.pid_max is the machine's"
	for program in idle_exit_test rearm_test multi_ring_test task_lifetime_test; do
		passes unshare -pf --mount-proc \
			sh -c 'echo 301 >/proc/sys/kernel/pid_max && exec "$0"' ./$program
	done
}

@test "surroundings: limits that can be raised, and RLIMIT_MEMLOCK" {
	need_root
	passes prlimit --nofile=20:4096 ./multi_ring_test
	passes prlimit --memlock=0:0 ./multi_ring_test
	passes as_nobody prlimit --memlock=0:8388608 ./multi_ring_test
	# Since v6.14 a ring counts.
	skips_or_passes "RLIMIT_MEMLOCK is too low" as_nobody prlimit --memlock=0:0 ./rearm_test
}

@test "surroundings: a race that nobody could aim at is no pass" {
	need_root
	run -4 as_nobody ./rearm_race_test
	[ "$(grep -c '^ok .* # SKIP no worker can be stopped at a chosen moment' <<<"$output")" -eq 3 ]
}

@test "surroundings: stdin closed" {
	passes sh -c './idle_exit_test <&-'
	passes sh -c './multi_ring_test <&-'
}

@test "surroundings: stdout a full pipe that is slow" {
	./idle_exit_test 2>&1 | (
		while read -r -N 64 part; do
			printf '%s' "$part"
			sleep 0.005
		done
		printf '%s' "$part"
	) >"$BATS_TEST_TMPDIR/log"
	grep 'pass:[0-9]* fail:0' "$BATS_TEST_TMPDIR/log"
}

@test "surroundings: nothing survives SIGTERM in the middle" {
	cp keepalive_test "$BATS_TEST_TMPDIR/killed_test"
	"$BATS_TEST_TMPDIR/killed_test" >"$BATS_TEST_TMPDIR/log" 2>&1 3>&- &
	harness=$!
	# It is in the middle once the test proper has its workers.
	until pgrep -x killed_test | grep -qvx $harness; do
		kill -0 $harness
	done
	kill $harness
	wait $harness || true
	# SIGKILL by PR_SET_PDEATHSIG is under way; its end is bounded.
	timeout 5 sh -c 'while pgrep -x killed_test; do :; done'
}

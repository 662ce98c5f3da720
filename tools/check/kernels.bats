#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# Kernels in guests: what is refused, how results are judged, and real boots.

load common
bats_require_minimum_version 1.5.0

boot()
{
	"$top/tools/kernels/boot" "$@"
}

# Refused with one line, that says $1.
refused()
{
	run -2 --separate-stderr "${@:2}"
	[ "${#stderr_lines[@]}" -eq 1 ]
	[[ $stderr == *"$1"* ]]
}

@test "kernels: what cannot be booted is refused with one line" {
	cd "$top/tools/kernels"
	refused "the archive has no kernel 9.9" ./check 9.9
	refused "is neither a series" ./check newest
	refused "is no kernel image" ./check /etc/passwd
	refused "No such file" ./get /nonexistent/bzImage
	refused "is no installed kselftest tree" ./boot --tree /etc 7.3
	refused "ARCH=vax" env ARCH=vax ./check
	refused "qemu-system-x86_64 is not installed" env PATH="$BATS_TEST_TMPDIR" \
		"$(python3 -c "import sys; print(sys.executable)")" ./boot --tree /etc "$(./get 7.3)"
}

@test "kernels: no network, and nothing downloaded yet" {
	need_root
	refused "cannot look up" env XDG_CACHE_HOME="$BATS_TEST_TMPDIR" \
		unshare -n "$top/tools/kernels/get" 7.3
}

judged()
{
	run -"$1" "$top/tools/kernels/judge" "$2"
	[[ $output == *"$3"* ]]
}

@test "judge: the promise, where it is kept, missing, and demanded" {
	skip="kernel does not promise that idle io-wq workers exit"
	for kernel in 6.18.11 6.19.1 7.0 7.3.4 8.1 "6.18.44-fc-v782 #1 SMP"; do
		log_of idle_exit_test ok | judged 0 "$kernel" "1 passed: as expected"
		log_of idle_exit_test "not ok" | judged 1 "$kernel" "unexpected: idle_exit_test:"
		log_of idle_exit_test ok "$skip" | judged 1 "$kernel" "unexpected: idle_exit_test:"
	done
	for kernel in 6.1.176 6.12.117 6.18.9 "6.1.0-50-amd64 #1 SMP Debian 6.1.176-1"; do
		log_of idle_exit_test ok "$skip" | judged 0 "$kernel" "1 skipped: as expected"
		log_of idle_exit_test ok | judged 1 "$kernel" "does not promise"
		log_of idle_exit_test "not ok" | judged 1 "$kernel" "unexpected"
		log_of new_test ok | judged 0 "$kernel" "as expected"
	done
	export KSFT_REQUIRE_EXIT_ON_IDLE=1
	log_of idle_exit_test "not ok" | judged 0 6.18.9 "1 failed: as expected"
	log_of idle_exit_test ok "$skip" | judged 1 6.18.9 "unexpected"
}

@test "judge: the race may be lost up to 7.3.1, and is told as a finding; no aim is no pass" {
	race() { log_of rearm_race_test "$@" | sed 's/global.claim/new_work.natural.claim/'; }

	for kernel in 6.18.44 7.0.13 7.2.13 7.3.1; do
		race ok | judged 0 $kernel "1 passed: as expected"
		race ok "no worker can be stopped at a chosen moment" |
			judged 0 $kernel "1 skipped: as expected"
		race "not ok" | sed 's/why it is so/see io_worker_retire()/' |
			judged 0 $kernel "finding: rearm_race_test:new_work.natural.claim"
		# A failure of another kind, as of the set-up, is not taken for the bug.
		race "not ok" | judged 1 $kernel "unexpected: rearm_race_test:new_work"
	done
	for kernel in 6.12.117 7.3.2 7.3.4 7.4; do
		race ok | judged 0 $kernel "1 passed: as expected"
		race "not ok" | judged 1 $kernel "unexpected: rearm_race_test:new_work"
	done
}

@test "judge: a bug of 32 bit is none of other machines" {
	awake()
	{
		log_of idle_cost_test "not ok" |
			sed 's/global.claim/global.sqpoll_thread_of_new_ring_sleeps/; s/why it is so/see io_sq_thread()/'
	}

	awake | judged 0 "7.3.4+deb14-armmp-lpae #1 SMP Debian 7.3.4-1 armv7l" "finding: idle_cost_test"
	awake | judged 1 "7.3.4+deb14-amd64 #1 SMP Debian 7.3.4-1 x86_64" "unexpected: idle_cost_test"
	awake | judged 1 7.3.4 "unexpected: idle_cost_test"
}

@test "judge: a complaint of the kernel is known only of a bug that it has" {
	run -0 python3 -c 'import sys
sys.path.insert(0, sys.argv[1])
import judge
splats = ["WARNING: CPU: 0 PID: 12 at io_uring.c:1 io_ring_exit_work+0x1", "BUG: another"]
print(*(len(judge.unknown(splats, kernel)) for kernel in ("6.18.9", "7.3.4")))
' "$top/tools/kernels"
	[ "$output" = "1 2" ]
}

@test "judge: programs that died, tests that did not run, skips of unknown cause, nothing" {
	log_of idle_exit_test ok | sed '$s/.*/not ok 1 selftests: io_uring: idle_exit_test # exit=139/' |
		judged 1 7.3.4 "unexpected: idle_exit_test failed"
	log_of idle_exit_test ok | sed 's/# 1..1/# 1..7/' | judged 1 7.3.4 "did not run"
	log_of idle_exit_test ok | sed '/ok 1/d' | judged 1 7.3.4 "unexpected"
	log_of idle_exit_test ok "bad weather" | judged 1 7.3.4 "bad weather"
	judged 1 7.3.4 "no test ran" </dev/null
	judged 2 newest "no version" </dev/null
}

@test "judge: what is other than the last time is told, by kernel and commit" {
	export XDG_CACHE_HOME=$BATS_TEST_TMPDIR
	kept()
	{
		log_of new_test "$1" "${2-}" | python3 -c 'import sys
sys.path.insert(0, sys.argv[1])
import types, history, judge
run = types.SimpleNamespace(title="7.3.4", outcome=types.SimpleNamespace(seconds=1),
                            judgement=judge.judge(sys.stdin.read(), "7.3.4"))
print(*history.keep([run]), sep="\n")
' "$top/tools/kernels"
	}
	[ -z "$(kept ok)" ]
	[ -z "$(kept ok)" ]
	[[ $(kept "not ok") == "changed: 7.3.4: new_test:global.claim passed -> failed, since "* ]]
	[[ $(kept ok) == "changed: 7.3.4: new_test:global.claim failed -> passed, since "* ]]
}

@test "judge: tally counts what bails out as failed" {
	run -1 "$top/tools/kselftest/tally" <<<$'ok 1 global.claim\nBail out! The kernel hung'
	[ "${lines[-1]}" = "1 passed, 1 failed, 0 skipped" ]
}

@test "guest: a program passes, its KTAP whole, its files brought back" {
	run -0 --separate-stderr boot --out "$BATS_TEST_TMPDIR/out" 7.3 -- \
		"io_uring/rearm_test; uname -r >/out/release"
	[ "$(grep -c '^ok ' <<<"$output")" -eq "$(sed -n 's/^1\.\.//p' <<<"$output")" ]
	grep '^7\.3\.' "$BATS_TEST_TMPDIR/out/release"
}

@test "guest: a command's status, a panic, a hang, a splat, each told apart" {
	run -5 boot 7.3 -- exit 5
	run -3 boot 7.3 -- "echo c >/proc/sysrq-trigger"
	[[ $output == *"Bail out! The kernel panicked"* ]]
	run -3 boot --limit 30 7.3 -- "sleep 100"
	[[ $output == *"Bail out! The kernel hung"* ]]
	run -3 boot 7.3 -- "echo 'WARNING: CPU: 0 PID: 1 at io_uring/io-wq.c:1' >/dev/kmsg"
	[[ $output == *"WARNING: CPU: 0"* ]]
}

@test "guest: boots again, three times at most, if QEMU emulated stale code" {
	mkdir "$BATS_TEST_TMPDIR/bin"
	cat >"$BATS_TEST_TMPDIR/bin/qemu-system-x86_64" <<-END
		#!/bin/sh
		echo "\$*" >>"$BATS_TEST_TMPDIR/boots"
		echo "Oops: int3: 0000 [#1] SMP NOPTI"
	END
	chmod +x "$BATS_TEST_TMPDIR/bin/qemu-system-x86_64"
	PATH="$BATS_TEST_TMPDIR/bin:$PATH" run -3 boot 7.3 -- exit 0
	[ "$(grep -c tcg "$BATS_TEST_TMPDIR/boots")" -eq 3 ]
	[[ $output == *"Bail out! The kernel died"* ]]
}

@test "guest: ends with the command that booted it, killed or interrupted" {
	for signal in TERM KILL; do
		log=$BATS_TEST_TMPDIR/$signal.log
		TMPDIR=$BATS_TEST_TMPDIR "$top/tools/kernels/boot" 7.3 -- "echo up; sleep 100" \
			>"$log" 2>&1 3>&- &
		pid=$!
		until grep -qs up "$log"; do
			kill -0 $pid
			sleep 0.1
		done
		pgrep -f "initrd $BATS_TEST_TMPDIR/"
		# As impatient users do, and make passes on what it gets.
		sh -c "while kill -$signal $pid; do :; done"
		wait $pid || true
		timeout 5 sh -c "while pgrep -f '[i]nitrd $BATS_TEST_TMPDIR/'; do :; done"
		[ $signal = KILL ] || run -1 compgen -G "$BATS_TEST_TMPDIR/guest.*"
	done
}

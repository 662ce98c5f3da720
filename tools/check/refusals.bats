#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# Each program, where something is refused: it passes, or skips and says why.

load programs
bats_require_minimum_version 1.5.0

# The table of refusals, each in a line: command|text|text...
table()
{
	awk '/^#|^$/ { next }
	     /^\t/ { sub("\t", "|"); printf "%s", $0; next }
	     { printf "%s%s", end, $0; end = "\n" }
	     END { print "" }' "$BATS_TEST_DIRNAME/refusals"
}

refuse()
{
	"$BATS_TEST_DIRNAME/refuse" "$@"
}

# Root, but for capabilities.
lacks()
{
	local fewer=-${1//,/,-}

	setpriv --inh-caps "$fewer" --bounding-set "$fewer" "${@:2}"
}

# An empty file system that is full, or no program, in place of what is there.
without()
{
	unshare -m sh -c '
		if [ -d "$1" ]; then
			mount -t tmpfs -o mode=755,size=4k,nr_inodes=1 none "$1"
		else
			mount --bind /dev/null "$(realpath "$1")"
		fi
		shift
		exec "$@"' - "$@"
}

read_only()
{
	unshare -m sh -c '
		cut -d" " -f5 /proc/self/mountinfo | while read -r mount; do
			mount -o remount,bind,ro "$mount" 2>/dev/null
		done
		cd .
		exec "$@"' - "$@"
}

# Has what a program, started by $2, says in the file $1.  Where this machine paused, that says
# nothing of what is refused.
try()
{
	for _ in 1 2 3; do
		timeout -k 5 300 bash -c "$2" </dev/null 2>&1 | cat >"$1"
		echo "ended with ${PIPESTATUS[0]}" >>"$1"
		grep -q "# SKIP the program was stopped or had no CPU meanwhile$" "$1" || break
	done
}

# What is wrong with the logs of row $1, which has texts $2; row 1 has those of all rows.
wrong()
{
	local texts=${2//|/$'\n'} all seen

	grep -LE '^ended with [04]$' "$1".* | sed 's/.*[.]//; s/$/ fails/'
	all=$(sed -n 's/.*# SKIP //p' 1.*)
	seen=$(sed -n 's/.*# SKIP //p' "$1".* | sort -u | grep -Fvx "$all")
	grep -Fvx "$texts" <<<"$seen"
	[ -z "$2" ] || grep -Fqx "${2%%|*}" <<<"$seen" || echo "no skip says ${2%%|*}"
}

@test "refusals: each program passes, or skips for what is refused" {
	local row=0 bad

	need_root
	export -f refuse lacks without read_only try
	export BATS_TEST_DIRNAME
	table | while IFS='|' read -r how texts; do
		row=$((row + 1))
		for program in $steady; do
			printf '%s\n' "$BATS_TEST_TMPDIR/$row.$program" "$how ./$program"
		done
	done | xargs -P 40 -d '\n' -n 2 bash -c 'try "$@"' -

	cd "$BATS_TEST_TMPDIR"
	bad=$(table | while IFS='|' read -r how texts; do
		row=$((row + 1))
		wrong $row "$texts" | while read -r what; do
			echo "$how: $what"
		done
	done)
	echo "$bad"
	[ -z "$bad" ]
}

# In any program, as that is seen to before the first test.
@test "refusals: a system call that tests make, refused alone" {
	local calls program

	# Those that this architecture has.
	calls=$(sed -n '/^static bool calls_forbidden/,/^}/p' "$source/environment.cpp" |
		g++ -E -fdirectives-only -include sys/syscall.h -xc++ - |
		sed -n '/^static bool calls_forbidden/,$p' | grep -o 'SYS_[a-z0-9_]*' | sed 's/SYS_//')
	program=$(tr -s ' ' '\n' <<<"$steady" | grep . | shuf -n 1)
	[ "$(wc -l <<<"$calls")" -ge 20 ]
	for call in vfork $calls; do
		for error in EPERM ENOSYS; do
			echo "$error from $call in $program"
			run refuse $error "$call" "./$program"
			[ "$status" -eq 4 ]
			[ "${lines[-1]}" = "1..0 # SKIP a system call that tests make is forbidden by seccomp" ]
		done
	done
}

#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# What goes to other trees: the series for the kernel and for liburing.

load common
bats_require_minimum_version 1.5.0

S=tools/testing/selftests

setup_file()
{
	load common
	export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0="A Tester"
	export GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=tester@example.org
}

# A kernel tree, as far as kselftest is concerned, under git.
make_git()
{
	cp -r "$("$top/tools/kselftest/fetch" "${2-}")" "$1"
	git -C "$1" init -q
	git -C "$1" add -A
	git -C "$1" commit -q -m base
}

all_series=$(sed -n 's/^\[\(.*\)\..*_test\]$/\1/p' "$BATS_TEST_DIRNAME/../upstream/series.toml" | uniq)

@test "patch: every program is in exactly one series" {
	sed -n 's/^\[.*\.\(.*_test\)\]$/\1/p' "$top/tools/upstream/series.toml" | sort |
		diff - <(printf '%s\n' $programs)
}

@test "patch: each step of each series builds, and its program runs; then the tree has all" {
	tree=$BATS_TEST_TMPDIR/tree
	make_git "$tree"
	for series in $all_series; do
		"$top/tools/upstream/patch" "$BATS_TEST_TMPDIR/patches" "" "$series"
		[ "$(ls "$BATS_TEST_TMPDIR"/patches/*-selftests-*.patch | wc -l)" -le \
			$([ "$series" = core ] && echo 5 || echo 10) ]
		for patch in "$BATS_TEST_TMPDIR"/patches/*-selftests-*.patch; do
			git -C "$tree" am -q "$patch"
			selftests FORCE_TARGETS=1 USERCFLAGS=-Werror all
			for program in $(git -C "$tree" show --format= --name-only |
					sed -n 's/\(.*_test\)\.cpp$/\1/p'); do
				# Without CRIU, criu_test skips.
				"$tree/$program" -l || [ $? -eq 4 ]
			done
			[ -z "$(git -C "$tree" status --short)" ]
			# It tells of no program that is not there.
			for program in $(grep -o '^[a-z_]*_test\>' "$tree/$S/io_uring/README"); do
				[ -e "$tree/$S/io_uring/$program.cpp" ]
			done
			git -C "$tree" log -1 --format=%B | grep -v '^Link: ' >"$BATS_TEST_TMPDIR/message"
			grep '^Signed-off-by: A Tester <tester@example.org>$' "$BATS_TEST_TMPDIR/message"
			run ! grep '.\{76\}' "$BATS_TEST_TMPDIR/message"
		done
	done
	run_tests="make -C $S TARGETS=io_uring TEST_GEN_PROGS=$tree/$S/io_uring/idle_exit_test run_tests"
	(cd "$tree" && $run_tests) | grep '^ok 1 selftests: io_uring: idle_exit_test$'
	selftests clean

	ours $S/io_uring | while read -r file; do
		diff "$top/$file" "$tree/$file"
	done
	grep -x -B1 -A1 'TARGETS += io_uring' "$tree/$S/Makefile" | sort -c
	sed -n '/^IO_URING$/,/^$/s/^F://p' "$tree/MAINTAINERS" | grep -x "	$S/io_uring/"
}

@test "patch: applies to the oldest tree when made against it, and says so" {
	tree=$BATS_TEST_TMPDIR/tree
	make_git "$tree" "$(oldest_series)"
	"$top/tools/upstream/patch" "$BATS_TEST_TMPDIR/patches" "$tree"
	git -C "$tree" am -q "$BATS_TEST_TMPDIR"/patches/*-selftests-*.patch
	run -2 "$top/tools/upstream/patch" "$BATS_TEST_TMPDIR/patches" "$tree"
	[[ $output == *"has $S/io_uring already" ]]
	"$top/tools/upstream/patch" "$BATS_TEST_TMPDIR/patches"
	grep '^Made against Linux [0-9.]*[0-9]\.$' "$BATS_TEST_TMPDIR"/patches/0000-*
	grep '^To: .*axboe' "$BATS_TEST_TMPDIR"/patches/0000-*
	grep 'linux-kselftest@vger.kernel.org' "$BATS_TEST_TMPDIR"/patches/0001-*
}

@test "patch: checkpatch --strict has only remarks that the cover letter answers" {
	cd "$BATS_TEST_TMPDIR"
	checkpatch=$("$top/tools/kselftest/fetch")/scripts/checkpatch.pl
	for series in $all_series; do
		"$top/tools/upstream/patch" patches "" "$series"
		perl "$checkpatch" --strict --no-tree --terse --show-types patches/*-selftests-*.patch |
			sed -n 's/.*: \(ERROR\|WARNING\|CHECK\):\([A-Z_]*\):.*/\2/p' | sort -u >remarks
		cat remarks
		while read -r remark; do
			grep "^- $remark: " patches/0000-*
		done <remarks
	done
}

@test "patch: bad input is named" {
	run -2 "$top/tools/upstream/patch" "$BATS_TEST_TMPDIR/patches" /nonexistent
	[ "$output" = "patch: /nonexistent is no kernel tree: it has no MAINTAINERS" ]
	run -2 "$top/tools/upstream/patch" "$BATS_TEST_TMPDIR/patches" "" nonexistent
	[[ $output == "patch: no such series: nonexistent: it can be core, "* ]]
	tree=$BATS_TEST_TMPDIR/tree
	cp -r "$("$top/tools/kselftest/fetch")" "$tree"
	sed -i 's/^IO_URING$/ANOTHER/' "$tree/MAINTAINERS"
	run -2 "$top/tools/upstream/patch" "$BATS_TEST_TMPDIR/patches" "$tree"
	[[ $output == *"MAINTAINERS has no entry IO_URING" ]]
	GIT_CONFIG_COUNT=0 HOME=/nonexistent run -2 "$top/tools/upstream/patch" \
		"$BATS_TEST_TMPDIR/patches" "$tree"
	[[ $output == *"git config needs user.name and user.email" ]]
}

# Debian's liburing, with the series, as git; and what is in it.
make_liburing()
{
	"$top/tools/upstream/liburing-series" "$BATS_TEST_TMPDIR/liburing" "$@" >/dev/null
	tree=$BATS_TEST_TMPDIR/liburing/tree
	tests=$(sed '/^#/d; s/[[:space:]].*//' "$top/tools/upstream/liburing/series")
}

@test "liburing: each patch is one test, builds in its CI's ways, and is listed in place" {
	make_liburing
	flags="-g -O3 -Wall -Wextra -Werror -Wno-sign-compare"
	clang="-Wmissing-prototypes -Wstrict-prototypes -Wunreachable-code-loop-increment"
	clang+=" -Wunreachable-code -Wmissing-variable-declarations -Wextra-semi-stmt"
	for cc in gcc clang; do
		# Not in the source tree: nothing may be left there.
		mkdir "$BATS_TEST_TMPDIR/$cc"
		cd "$BATS_TEST_TMPDIR/$cc"
		"$tree/configure" --cc=$cc >/dev/null
		make -s -C src
		for test in $tests; do
			commit=$(git -C "$tree" log --format=%h --grep "^test/$test: " io-wq)
			git -C "$tree" checkout -q "$commit"
			[ "$(git -C "$tree" show --format= --name-only --diff-filter=A |
				wc -l)" -le 1 ]
			make -s -C test CPPFLAGS=-Werror \
				CFLAGS="$flags $([ $cc = gcc ] || echo "$clang")" "$test.t"
		done
	done
	[ -z "$(git -C "$tree" status --short)" ]
	for test in $tests; do
		[ "$(grep -cx "	$test\.c \\\\" "$tree/test/Makefile")" -eq 1 ]
	done
	grep '^	io-wq-' "$tree/test/Makefile" | LC_ALL=C sort -c
	! grep -L '^/\* SPDX-License-Identifier: MIT \*/$' "$tree"/test/io-wq-*.c | grep .
	! git -C "$tree" log --format=%B io-wq | grep '.\{76\}'
	wc -l "$top"/tools/upstream/liburing/*.c | awk '$1 > 250 && $2 != "total" { print; bad = 1 } END { exit bad }'
}

@test "liburing: they build with sanitizers and for other architectures" {
	make_liburing
	mkdir "$BATS_TEST_TMPDIR/out"
	for way in "gcc --enable-sanitizer" "clang --enable-tsan" aarch64-linux-gnu-gcc \
			i686-linux-gnu-gcc arm-linux-gnueabihf-gcc riscv64-linux-gnu-gcc; do
		rm -rf "$BATS_TEST_TMPDIR/out"
		mkdir "$BATS_TEST_TMPDIR/out"
		cd "$BATS_TEST_TMPDIR/out"
		# shellcheck disable=SC2086 # words
		"$tree/configure" --cc=$way >/dev/null
		make -s -C src ENABLE_SHARED=0
		# shellcheck disable=SC2046 # words
		make -s -C test CPPFLAGS=-Werror \
			CFLAGS="-g -O3 -Wall -Wextra -Werror -Wno-sign-compare" $(printf '%s.t ' $tests)
	done
}

@test "liburing: they pass by its runner, or show a bug of this kernel, as root or not" {
	make_liburing
	cd "$tree"
	./configure >/dev/null
	make -s -C src
	targets=$(printf '%s.t ' $tests)
	# shellcheck disable=SC2086 # words
	make -s -C test $targets
	chmod -R a+rX "$BATS_RUN_TMPDIR" "$tree"
	# Not one that makes a cgroup.
	targets=${targets/io-wq-cpuset.t/}
	for who in "" $([ "$(id -u)" -ne 0 ] || echo as_nobody); do
		$who bash -c "cd $tree/test && ./runtests.sh $targets" \
			>"$BATS_TEST_TMPDIR/log" 2>&1 || :
		cat "$BATS_TEST_TMPDIR/log"
		grep "^Test run complete" "$BATS_TEST_TMPDIR/log"
		run ! grep "timed out" "$BATS_TEST_TMPDIR/log"
		sed -n 's/^Test \(.*\)\.t failed with.*/\1/p' "$BATS_TEST_TMPDIR/log" | while read -r test; do
			python3 -c "
import sys
sys.path.insert(0, '$top/tools/kernels')
import judge
sys.exit(not judge.explains('$(uname -rv)', '$test'))"
		done
	done
	! find "$tree/test" -name '.io-wq*' | grep .
	[ -z "$(git -C "$tree" status --short)" ]
	run -77 test/io-wq-rearm.t /dev/null
	run -77 "$BATS_TEST_DIRNAME/refuse" ENOSYS io_uring_setup test/io-wq-rearm.t
}

@test "liburing: the series applies to a checkout, to its newest commit" {
	[ -n "${LIBURING_SRC-}" ] || skip "LIBURING_SRC names no checkout of liburing"
	git clone -q "$LIBURING_SRC" "$BATS_TEST_TMPDIR/newest"
	make_liburing
	git -C "$BATS_TEST_TMPDIR/newest" am -q "$BATS_TEST_TMPDIR"/liburing/*-test-*.patch
	make_liburing "$LIBURING_SRC"
	git -C "$tree" log -1 --format=%B | grep '^Signed-off-by: A Tester <tester@example.org>$'
}

@test "liburing: bad input is named" {
	run -2 "$top/tools/upstream/liburing-series" "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR"
	[[ $output == *"is no tree of liburing: it has no test/io-wq-unused-exit.c" ]]
}

# What of a file of bots/ goes into the bot's.
bot_lines()
{
	sed '/^#/d' "$top/tools/upstream/bots/$1"
}

# Puts standard input into file $1 before the first line that matches $2.
insert_before()
{
	awk -v pattern="$2" 'NR == FNR { text = text $0 "\n"; next }
		!done && $0 ~ pattern { printf "%s", text; done = 1 }
		{ print }
		END { exit !done }' - "$1" >"$1.new"
	mv "$1.new" "$1"
}

@test "bots: KernelCI's validator takes the job" {
	[ -n "${KERNELCI_SRC-}" ] || skip "KERNELCI_SRC names no checkout of kernelci-pipeline"
	python3 -c "import yaml" || skip "no PyYAML"
	cp -r "$KERNELCI_SRC/config" "$KERNELCI_SRC/tests" "$BATS_TEST_TMPDIR"
	cd "$BATS_TEST_TMPDIR"
	python3 tests/validate_yaml.py >before
	bot_lines kernelci-jobs.yaml | insert_before config/jobs.yaml '^  kselftest-ipc:'
	bot_lines kernelci-scheduler.yaml | insert_before config/scheduler.yaml '^  - job: kselftest-ipc$'
	python3 tests/validate_yaml.py | diff before -
	python3 -c "
import yaml
job = yaml.safe_load(open('config/jobs.yaml'))['jobs']['kselftest-io_uring']
assert job['params']['rootfs_ref'] == 'trixie-kselftest', job
assert job['params']['collections'] == 'io_uring', job
runs = [run for run in yaml.safe_load(open('config/scheduler.yaml'))['scheduler']
        if run['job'] == 'kselftest-io_uring']
assert [run['platforms'] for run in runs] == [['bcm2711-rpi-4-b']], runs"
}

@test "bots: 0-day's lists take the group, with what config asks for" {
	diff <(bot_lines lkp-include | sed -n 's/^- \(.*\): \(.\)$/CONFIG_\1=\2/p') "$source/config"
	[ -n "${LKP_SRC-}" ] || skip "LKP_SRC names no checkout of lkp-tests"
	cp "$LKP_SRC/jobs/kselftests/kselftests.yaml" "$LKP_SRC/programs/kselftests/include" \
		"$BATS_TEST_TMPDIR"
	cd "$BATS_TEST_TMPDIR"
	echo "    - io_uring" | insert_before kselftests.yaml '^    - iommu$'
	bot_lines lkp-include | insert_before include '^% elsif ___[.]group == "iommu"$'
	grep -x -A1 '    - io_uring' kselftests.yaml | LC_ALL=C sort -c
	! command -v ruby >/dev/null ||
		ruby -ryaml -rerb -e 'require "ostruct"; ___ = OpenStruct.new(group: "io_uring")
			text = ERB.new(File.read("include"), trim_mode: "%").result(binding)
			YAML.load(text)["need_kconfig"].include?({ "IO_URING" => "y" }) or exit 1'
}

@test "bots: what they know of kernels' bugs is what expectations.toml has" {
	files="tools/upstream/bots/lkft-skipfile.yaml tools/upstream/bots/kernelci-issues.json
		tools/testing/selftests/io_uring/README"
	cd "$top"
	# shellcheck disable=SC2086 # several words
	tar -c $files | tar -x -C "$BATS_TEST_TMPDIR"
	tools/upstream/known-bugs "$BATS_TEST_TMPDIR"
	for file in $files; do
		diff "$file" "$BATS_TEST_TMPDIR/$file" || { echo "make known-bugs"; return 1; }
	done
	python3 -c "
import json, sys, tomllib
issues = json.load(open('tools/upstream/bots/kernelci-issues.json'))['issues']
bugs = tomllib.load(open('tools/kernels/expectations.toml', 'rb'))['bug']
assert len({issue['id'] for issue in issues}) == len(bugs)"
}

@test "bots: LKFT's skipgen reads the list" {
	[ -n "${TEST_DEFINITIONS_SRC-}" ] || skip "TEST_DEFINITIONS_SRC names no checkout of test-definitions"
	"$TEST_DEFINITIONS_SRC/automated/bin/$(uname -m)/skipgen" --board x15 --branch mainline \
		--environment production "$top/tools/upstream/bots/lkft-skipfile.yaml" >"$BATS_TEST_TMPDIR/tests"
	while read -r test; do
		[[ $programs == *"${test#io_uring:}"* ]]
	done <"$BATS_TEST_TMPDIR/tests"
	[ -s "$BATS_TEST_TMPDIR/tests" ]
}

@test "bots: NIPA's literal call runs one program" {
	make_tree "$BATS_TEST_TMPDIR/tree"
	cd "$BATS_TEST_TMPDIR/tree"
	make -s -C $S TARGETS=io_uring FORCE_TARGETS=1 all
	call=$(sed -n 's/^    \(make .*TEST_PROGS=.*\)/\1/p' "$top/tools/upstream/bots/README.md")
	bash -c "$call" | tee log
	[ "$(grep -c '^ok .* selftests: io_uring: idle_exit_test$' log)" -eq 1 ]
	[ "$(grep -c '^# selftests: io_uring: ' log)" -eq 1 ]
}

#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# Cures of faults that no release mends, and the mails about these.

load common
bats_require_minimum_version 1.5.0

setup_file()
{
	load common
	export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0="A Tester"
	export GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=tester@example.org
	linux=$("$top/tools/kernels/source")
	"$top/tools/upstream/findings" "$BATS_FILE_TMPDIR/findings"
	export linux
}

@test "findings: each fault that no release mends has a mail, and each cure is for one" {
	cd "$BATS_FILE_TMPDIR/findings"
	# Of kernels to come, too.
	PYTHONPATH=$top/tools/kernels python3 -c '
import judge
print(*sorted({bug["finding"] for bug in judge.TABLE["bug"] if not bug["fixed"]}), sep=".mail\n", end=".mail\n")
' | diff - <(ls)
	sed -n 's/^\[\([a-z-]*\)\]$/\1.mail/p' "$top/tools/upstream/findings.toml" | sort | diff - <(ls)
	sed -n 's/^\[\[\(.*\)\]\]$/\1/p' "$top/tools/mutants/cures.toml" | sort -u |
		diff - <(sed -n '/^cures/s/[^"]*"\([^"]*\)"[^"]*/\1\n/gp' "$top/tools/upstream/findings.toml" |
			grep . | sort -u)
}

@test "findings: each mail is from us, to the list, in lines of a mail, and names tests that exist" {
	for mail in "$BATS_FILE_TMPDIR"/findings/*; do
		grep -x 'From: A Tester <tester@example.org>' "$mail"
		grep -x 'To: io-uring@vger.kernel.org' "$mail"
		grep '^Cc: .*@' "$mail"
		grep '^Subject: io_uring.\{10,67\}$' "$mail"
		sed '1,/^$/d; /^--- /,$d' "$mail" >"$BATS_TEST_TMPDIR/text"
		grep '^Seen on .*7\.3\.4' "$BATS_TEST_TMPDIR/text"
		run ! grep '.\{76\}' "$BATS_TEST_TMPDIR/text"
		grep -o '[a-z_]*()' "$BATS_TEST_TMPDIR/text" | tr -d '()' | sort -u | while read -r function; do
			grep -rqw "$function" "$linux/io_uring" "$linux/kernel" || { echo "no $function()"; false; }
		done
		sed -n 's/^    \([a-z_]*_test\): .*/\1/p' "$BATS_TEST_TMPDIR/text" >"$BATS_TEST_TMPDIR/programs"
		[ -s "$BATS_TEST_TMPDIR/programs" ]
		while read -r program; do
			[ -e "$source/$program.cpp" ]
		done <"$BATS_TEST_TMPDIR/programs"
	done
}

@test "findings: each mail applies to the newest source, alone and all together" {
	cd "$BATS_TEST_TMPDIR"
	mkdir -p include/linux
	cp "$linux"/include/linux/io_uring_types.h include/linux
	cp -r "$linux/io_uring" .
	git init -q .
	git add .
	git commit -q -m base
	for mail in "$BATS_FILE_TMPDIR"/findings/*; do
		git apply --check --whitespace=error-all "$mail"
		git apply "$mail"
		git diff >"$(basename "$mail").diff"
		perl "$("$top/tools/kselftest/fetch")/scripts/checkpatch.pl" --no-tree --no-signoff --quiet \
			--ignore COMMIT_MESSAGE,FILE_PATH_CHANGES "$(basename "$mail").diff"
		git checkout -q .
	done
	for mail in cpuset stopped-rings splice-files cancel-count sqpoll-sync-cancel sqpoll-idle linked-timeout; do
		patch -s -p1 <"$BATS_FILE_TMPDIR/findings/$mail.mail"
	done
	# As the kernels that we try have it.
	PYTHONPATH=$top/tools/mutants:$top/tools/kernels python3 -c '
import pathlib, schema, sys
linux = pathlib.Path(sys.argv[1])
for file, text in schema.cured(schema.cures().values(), schema.reader(linux)).items():
    assert text == pathlib.Path("io_uring", file).read_text(), file
' "$linux"
}

@test "findings: bad input is named" {
	KSRC=/nonexistent run -2 "$top/tools/upstream/findings" "$BATS_TEST_TMPDIR/out"
	[ "$output" = "findings: /nonexistent is no kernel tree: it has no io_uring/io-wq.c" ]
	mkdir -p "$BATS_TEST_TMPDIR/tree"
	cp -r "$linux/io_uring" "$linux/MAINTAINERS" "$linux/Makefile" "$BATS_TEST_TMPDIR/tree"
	KSRC=$BATS_TEST_TMPDIR/tree run -2 "$top/tools/upstream/findings" "$BATS_TEST_TMPDIR/out"
	[[ $output == *"no file ../include/linux/io_uring_types.h" ]]
	GIT_CONFIG_COUNT=0 HOME=/nonexistent XDG_CACHE_HOME=$(dirname "$("$top/tools/archive/cache")") \
		run -2 "$top/tools/upstream/findings" "$BATS_TEST_TMPDIR/out"
	[[ $output == *"git config needs user.name and user.email" ]]
}

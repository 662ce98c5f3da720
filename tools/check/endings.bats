#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# A run that is killed, or fails, ends at once and leaves nothing behind.

load common

# Has the nth assertion that a test comes to fail, by KSFT_FAIL_NTH=n in the environment.
break_assertions()
{
	local selftests=$BATS_FILE_TMPDIR/tree/tools/testing/selftests

	cat >"$selftests/fails_here.h" <<-END
		#pragma once
		#include <stdio.h>
		#include <stdlib.h>
		static inline int fails_here(int *met)
		{
			static int nr;
			const char *nth = getenv("KSFT_FAIL_NTH");

			if (!nth || (*met)++ || ++nr != atoi(nth))
				return 0;
			fprintf(stderr, "# fails on purpose\n");
			return 1;
		}
		#define FAILS_HERE ({ static int met; fails_here(&met); })
	END
	sed -i -e 's/^#include "kselftest.h"/&\n#include "fails_here.h"/' \
		-e 's/if (!\((__exp _t __seen)\)) /if (!\1 || FAILS_HERE) /' \
		-e 's/if (!\((strcmp(__exp, __seen) _t 0)\)) /if (!\1 || FAILS_HERE) /' \
		"$selftests/kselftest_harness.h"
	[ "$(grep -c FAILS_HERE "$selftests/kselftest_harness.h")" -eq 2 ]
}

setup_file()
{
	load common
	[ "$(id -u)" -eq 0 ] || return 0
	make_tree "$BATS_FILE_TMPDIR/tree"
	break_assertions
	build_programs
}

@test "endings: nothing is left, wherever a program is killed or fails" {
	need_root
	timeout 900 "$top/tools/measure/endings" --kills 2 --failures 2 "$BATS_FILE_TMPDIR/bin"
}

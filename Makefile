# SPDX-License-Identifier: GPL-2.0

SELFTESTS := tools/testing/selftests
KSELFTEST := $(MAKE) --no-print-directory -C $(SELFTESTS) TARGETS=io_uring

# To build and run the tests; to check them.
RUN_NEEDS := g++ liburing-dev make perl python3 pkg-config rsync xz-utils
CHECK_NEEDS := bats clang clang-format clang-tidy libclang-rt-dev npm shellcheck valgrind

.PHONY: help run_tests check install-tree clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run_tests: ## build the selftest and run it on this machine's kernel (KSRC=linux)
	@tools/setup/setup $(RUN_NEEDS)
	@$(KSELFTEST) FORCE_TARGETS=1 all
	@$(KSELFTEST) run_tests 2>&1 | tools/kselftest/tally

check: ## test the selftest itself: contract, parsers, surroundings, lint
	@tools/setup/setup $(RUN_NEEDS) $(CHECK_NEEDS)
	@bats --tap tools/check 2>&1 | tools/kselftest/tally

install-tree: ## copy the selftest into the kernel tree KSRC=/path/to/linux
	@tools/kselftest/install-tree "$(KSRC)"

clean: ## remove what was built and borrowed
	git clean -fdXq $(SELFTESTS)

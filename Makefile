# SPDX-License-Identifier: GPL-2.0

SELFTESTS := tools/testing/selftests
KSELFTEST := $(MAKE) --no-print-directory -C $(SELFTESTS) TARGETS=io_uring

# To build and run the tests; on other kernels; on kernels of our making; to check them.
RUN_NEEDS := g++ liburing-dev make perl python3 pkg-config rsync xz-utils
ARCH ?= amd64
KERNELS_NEEDS := $(RUN_NEEDS) busybox-static cpio dpkg-dev gnuplot-nox \
	$(if $(filter amd64 i386,$(ARCH)),qemu-system-x86) \
	$(if $(filter arm64 armhf,$(ARCH)),qemu-system-arm) \
	$(if $(filter ppc64el,$(ARCH)),qemu-system-ppc) \
	$(if $(filter riscv64 s390x,$(ARCH)),qemu-system-misc)
KERNEL_BUILD_NEEDS := $(KERNELS_NEEDS) bc bison ccache flex gcc libelf-dev
MUTATE_NEEDS := $(KERNEL_BUILD_NEEDS) npm
MUTATE = $(SAMPLE:%=--sample=%) $(SEED:%=--seed=%) $(SHARD:%=--shard=%) $(IN)
CROSS := aarch64-linux-gnu arm-linux-gnueabihf i686-linux-gnu powerpc64le-linux-gnu \
	riscv64-linux-gnu s390x-linux-gnu
CHECK_NEEDS := $(KERNELS_NEEDS) $(CROSS:%=g++-%) bats ccache clang clang-format clang-tidy \
	debootstrap file git libc++-dev libc++abi-dev libclang-rt-dev npm procps pyflakes3 \
	shellcheck

# All of these leave here what they make.
ifneq ($(filter-out help install-tree clean-cache,$(MAKECMDGOALS)),)
ifeq ($(shell [ -w . ] && echo yes),)
$(error $(CURDIR) cannot be written to: copy it to where it can)
endif
endif

.PHONY: help run_tests check check-kernels check-mutants mutate delays check-debug coverage \
	install-tree patch liburing-series known-bugs findings clean clean-cache

help: ## this list
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run_tests: ## build the selftest and run it on this machine's kernel (TESTS="a_test b_test:test" KERNEL=7.2)
	@tools/setup/setup $(if $(KERNEL),$(KERNELS_NEEDS),$(RUN_NEEDS))
	@tools/kselftest/run "$(KERNEL)" $(TESTS) | tools/kselftest/tally build/run_tests.ktap

check-kernels: ## see what the selftest says of Debian's kernels (KERNELS="6.18 7.2-rt" ARCH="arm64 s390x")
	@tools/setup/setup $(KERNELS_NEEDS)
	@tools/kernels/check $(KERNELS)

check: ## test the selftest itself: contract, parsers, surroundings, lint
	@tools/setup/setup $(CHECK_NEEDS)
	@bats --tap --print-output-on-failure tools/check 2>&1 | tools/kselftest/tally

check-mutants: ## see every broken kernel noticed (MUTANTS="a b" LIBURING_SRC=tree KSRC=linux)
	@tools/setup/setup $(MUTATE_NEEDS)
	@tools/mutants/check $(MUTANTS)

mutate: ## see mutants by rule noticed (SAMPLE=100 SEED=1 SHARD=1/4 IN=io-wq.c:io_wq_worker)
	@tools/setup/setup $(MUTATE_NEEDS)
	@tools/mutants/mutate $(MUTATE)

delays: ## see no test fail on kernels that are slow by rule (as mutate; PAIRS=20: two at once)
	@tools/setup/setup $(MUTATE_NEEDS)
	@tools/mutants/mutate $(if $(PAIRS),--pairs=$(PAIRS),--delays) $(MUTATE)

check-debug: ## run the selftest on a kernel with lockdep and KASAN, and on one with PREEMPT_RT
	@tools/setup/setup $(KERNEL_BUILD_NEEDS)
	@tools/kernels/check $$(tools/mutants/debug)

coverage: ## see what of io-wq.c and tctx.c is reached (LIBURING_SRC=tree KSRC=linux)
	@tools/setup/setup $(KERNEL_BUILD_NEEDS) gcovr
	@tools/mutants/coverage

install-tree: ## copy the selftest into the kernel tree KSRC=/path/to/linux
	@tools/kselftest/install-tree "$(KSRC)"

patch: ## write the first series for the kernel to build/patches (KSRC=linux SERIES=races)
	@tools/setup/setup git rsync xz-utils
	@tools/upstream/patch build/patches "$(KSRC)" "$(SERIES)"

liburing-series: ## write tests for liburing, in C, to build/liburing (LIBURING_SRC=liburing)
	@tools/setup/setup dpkg-dev git
	@tools/upstream/liburing-series build/liburing "$(LIBURING_SRC)"

known-bugs: ## write what bots and README are to know of kernels' bugs, from expectations.toml
	@tools/upstream/known-bugs

findings: ## write a mail for each fault that no release mends to build/findings (KSRC=linux)
	@tools/setup/setup dpkg-dev git
	@tools/upstream/findings build/findings

clean: ## remove what was built and borrowed
	find $(SELFTESTS) -mindepth 1 -maxdepth 1 ! -name Makefile ! -name io_uring -exec rm -rf {} +
	rm -rf build $(SELFTESTS)/io_uring/*.o $(SELFTESTS)/io_uring/*_test

clean-cache: ## remove what was downloaded or built once: kernels, sources, lists of packages
	rm -rf "$$(tools/archive/cache)"

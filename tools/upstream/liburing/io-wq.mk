# SPDX-License-Identifier: GPL-2.0 OR MIT
# The lifetime of io-wq workers, where the C++ compiler knows C++20.

.DEFAULT_GOAL := all

io_wq_dir := $(root)/test/io-wq
io_wq_tests := $(patsubst $(root)/test/%.cc,%,$(wildcard $(root)/test/io-wq-*.cc))
io_wq_targets := $(io_wq_tests:%=%.t)
io_wq_helpers := $(patsubst %.cpp,%.o,$(wildcard $(io_wq_dir)/*.cpp))
all_targets += $(io_wq_targets) $(io_wq_helpers)

pound := \#
ifeq ($(CONFIG_HAVE_CXX)-$(shell echo '$(pound)include <concepts>' | \
	$(CXX) -std=gnu++20 -fsyntax-only -x c++ - 2>/dev/null && echo c++20),y-c++20)
test_srcs += $(io_wq_tests:%=%.cc)
endif

$(io_wq_targets) $(io_wq_helpers): override CPPFLAGS += -I$(root)/test -I$(io_wq_dir)
$(io_wq_targets) $(io_wq_helpers): override CXXFLAGS += -std=gnu++20
$(io_wq_targets): helpers += $(io_wq_helpers)
$(io_wq_targets): $(io_wq_helpers) $(wildcard $(io_wq_dir)/*.hpp)
$(io_wq_helpers): %.o: %.cpp $(wildcard $(io_wq_dir)/*.hpp)
	$(QUIET_CXX)$(CXX) $(CPPFLAGS) $(CXXFLAGS) -c -o $@ $<

// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "fd.hpp"

#include <errno.h>
#include <fcntl.h>

int PipeEnds::open()
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	rd = Fd(fds[0]);
	wr = Fd(fds[1]);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0 OR MIT

#include "cpus.hpp"

cpu_set_t allowed_cpus(pid_t tid)
{
	cpu_set_t allowed;

	CPU_ZERO(&allowed);
	sched_getaffinity(tid, sizeof(allowed), &allowed);
	return allowed;
}

cpu_set_t allowed_cpu(int nr)
{
	const cpu_set_t allowed = allowed_cpus();
	cpu_set_t one;

	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE && nr >= 0; cpu++) {
		if (!CPU_ISSET(cpu, &allowed))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		nr--;
	}
	return one;
}

int first_cpu(const cpu_set_t &set)
{
	int cpu = 0;

	while (!CPU_ISSET(cpu, &set))
		cpu++;
	return cpu;
}

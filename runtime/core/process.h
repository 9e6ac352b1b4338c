/* Which process this is, for less than a system call: whoever owns threads asks at every use whether it was forked since. */
#ifndef FV_CORE_PROCESS_H
#define FV_CORE_PROCESS_H

#include <sys/types.h>

pid_t fv_process(void);

#endif

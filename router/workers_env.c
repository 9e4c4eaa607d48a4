/* router/workers_env.c - what a worker may know of our environment, where backends' API keys stand:
 * how it computes, and what the dynamic linker, the allocator, sanitizers and qemu-user go by. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hatchway/assert.h"
#include "router/workers_private.h"

static const char *const passed_on[] = {
    "HATCHWAY_KERNELS=", "GLIBC_TUNABLES=", "LD_",           "MALLOC_",      "ASAN_OPTIONS=",
    "UBSAN_OPTIONS=",    "QEMU_",           "TSAN_OPTIONS=", "LSAN_OPTIONS="};

static bool
is_passed_on(const char *variable)
{
    for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
        if (strncmp(variable, passed_on[i], strlen(passed_on[i])) == 0)
            return true;
    return false;
}

char **
hw_worker_environment(void)
{
    size_t count = 0, kept = 0;

    while (environ != NULL && environ[count] != NULL)
        count++;
    char **env = hw_xcalloc(count + 1, sizeof(*env));
    for (size_t i = 0; i < count; i++)
        if (is_passed_on(environ[i]))
            env[kept++] = environ[i];
    return env;
}

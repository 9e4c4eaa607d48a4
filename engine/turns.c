/* engine/turns.c - see turns.h. */
#include "engine/turns.h"

#include <stdio.h>

size_t
hw_turn_sessions(size_t sessions, size_t state_bytes, size_t cache_bytes)
{
    /* Weights, other processes and other cores have their part of it. */
    size_t fit = state_bytes > 0 ? cache_bytes / 8 * 3 / state_bytes : sessions;

    if (state_bytes > cache_bytes)
        return sessions;
    return fit < 1 && sessions > 0 ? 1 : fit < sessions ? fit : sessions;
}

size_t
hw_turn_cache_bytes(void)
{
    size_t largest = 0;

    for (int i = 0; i < 8; i++) {
        char path[80], unit = 0;
        size_t size = 0;
        snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            break;
        if (fscanf(file, "%8zu%c", &size, &unit) == 2)
            size *= unit == 'K' ? 1024u : unit == 'M' ? 1024u * 1024u : 1u;
        fclose(file);
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* engine/file_read.h - exactly so many bytes of a file, or an error. */
#ifndef HW_ENGINE_FILE_READ_H
#define HW_ENGINE_FILE_READ_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "hatchway/err.h"

static inline int
hw_file_read(int fd, void *bytes, size_t len, uint64_t offset, struct hw_err *err)
{
    char *at = bytes;

    while (len > 0) {
        ssize_t got = pread(fd, at, len, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return hw_err_set(err, HW_EIO, "cannot read: %s", strerror(errno));
        if (got == 0)
            return hw_err_set(err, HW_EINVAL, "the file ends early");
        at += got;
        offset += (uint64_t)got;
        len -= (size_t)got;
    }
    return 0;
}

#endif

/* engine/file_write.h - a file all or nothing.
 *
 * Written under a temporary name in the same folder, synced, then renamed: a reader, or a writer
 * cut off here, finds the old file or the new one. */
#ifndef HW_ENGINE_FILE_WRITE_H
#define HW_ENGINE_FILE_WRITE_H

#include <stdio.h>

#include "hatchway/err.h"

/* write puts everything into the file and returns 0, HW_EIO (errno says why) or HW_ENOMEM; errors
 * are prefixed by the path. */
int hw_file_write(const char *path, int (*write)(FILE *file, const void *what), const void *what,
                  struct hw_err *err);

#endif

/* engine/file_write.c - temporary file, fsync, rename. */
#include "engine/file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* So that the rename itself survives a power cut. Best effort: some file systems refuse it. */
static void
sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];

    snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1,
             slash == NULL ? "." : path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

int
hw_file_write(const char *path, int (*write)(FILE *file, const void *what), const void *what,
              struct hw_err *err)
{
    char temporary[PATH_MAX];
    int n = snprintf(temporary, sizeof(temporary), "%s.tmp.%ld", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof(temporary))
        return hw_err_set(err, HW_EINVAL, "%.80s...: the path is too long", path);

    FILE *file = fopen(temporary, "wbe");
    if (file == NULL)
        return hw_err_set(err, HW_EIO, "%s: cannot write: %s", temporary, strerror(errno));
    int rc = write(file, what);
    if (rc == 0 && (fflush(file) != 0 || fsync(fileno(file)) != 0))
        rc = HW_EIO;
    if (fclose(file) != 0 && rc == 0)
        rc = HW_EIO;
    if (rc == 0 && rename(temporary, path) != 0)
        rc = HW_EIO;
    if (rc != 0) {
        hw_err_set(err, rc, "%s: cannot write: %s", path,
                   rc == HW_ENOMEM ? "no memory" : strerror(errno));
        unlink(temporary);
        return rc;
    }
    sync_folder(path);
    return 0;
}

/* router/workers_dir.c - see workers_dir.h.
 *
 * The parent may be /tmp, where anybody may put anything: folders are opened without following
 * links, and only those of our own user are touched, and in them only sockets and the lock. */
#include "router/workers_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hatchway/assert.h"
#include "router/log.h"

#define PREFIX "hatchway-"
#define RANDOM_CHARS 6
#define LOCK "lock"
#define MAKE_ATTEMPTS 8

static void
remove_sockets(int folder_fd)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    struct stat st;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (fstatat(folder_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISSOCK(st.st_mode))
            unlinkat(folder_fd, entry->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
}

/* Removes a folder if its gateway is dead. One without a lock is being made just now, or was left
 * by something else: it stays. */
static void
sweep_folder(int parent_fd, const char *parent, const char *name)
{
    struct stat st;
    int folder_fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (folder_fd < 0)
        return;
    int lock_fd = -1;
    if (fstat(folder_fd, &st) == 0 && st.st_uid == geteuid())
        lock_fd = openat(folder_fd, LOCK, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (lock_fd >= 0 && flock(lock_fd, LOCK_EX | LOCK_NB) == 0) {
        remove_sockets(folder_fd);
        unlinkat(folder_fd, LOCK, 0);
        if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0)
            hw_log(HW_LOG_INFO, "removed %s/%s, left by a gateway that was killed", parent, name);
    }
    if (lock_fd >= 0)
        close(lock_fd);
    close(folder_fd);
}

static void
sweep(const char *parent)
{
    int parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int list_fd = parent_fd >= 0 ? dup(parent_fd) : -1;
    DIR *dir = list_fd >= 0 ? fdopendir(list_fd) : NULL;
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 &&
            strlen(entry->d_name) == strlen(PREFIX) + RANDOM_CHARS)
            sweep_folder(parent_fd, parent, entry->d_name);
    if (dir != NULL)
        closedir(dir);
    else if (list_fd >= 0)
        close(list_fd);
    if (parent_fd >= 0)
        close(parent_fd);
}

/* -1: see errno. Another gateway's sweep may take the lock between our open and our flock, and the
 * folder with it: then its lock has no name any more. */
static int
hold_lock(const char *folder)
{
    char path[4096];
    struct stat st;

    snprintf(path, sizeof(path), "%s/" LOCK, folder);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0)
        return fd;
    close(fd);
    errno = EAGAIN;
    return -1;
}

int
hw_workers_dir_make(struct hw_workers_dir *dir, const char *parent, size_t max_bytes,
                    struct hw_err *err)
{
    char path[256];

    int n = snprintf(path, sizeof(path), "%s/" PREFIX "XXXXXX", parent);
    if (n < 0 || (size_t)n >= sizeof(path) || (size_t)n >= max_bytes)
        return hw_err_set(err, HW_EINVAL,
                          "worker_dir %s is too long: a Unix socket's path has at most 107 bytes",
                          parent);
    sweep(parent);
    for (int attempt = 0; attempt < MAKE_ATTEMPTS; attempt++) {
        snprintf(path, sizeof(path), "%s/" PREFIX "XXXXXX", parent);
        if (mkdtemp(path) == NULL)
            break;
        dir->lock_fd = hold_lock(path);
        if (dir->lock_fd >= 0) {
            dir->path = strdup(path);
            HW_ASSERT(dir->path != NULL);
            return 0;
        }
        int saved = errno;
        rmdir(path);
        errno = saved;
    }
    return hw_err_set(err, HW_EIO, "cannot make a folder for the workers' sockets in %s: %s",
                      parent, strerror(errno));
}

void
hw_workers_dir_remove(struct hw_workers_dir *dir)
{
    char path[256];

    if (dir->path == NULL)
        return;
    snprintf(path, sizeof(path), "%s/" LOCK, dir->path);
    unlink(path);
    if (rmdir(dir->path) != 0)
        hw_log(HW_LOG_WARN, "cannot remove %s: %s", dir->path, strerror(errno));
    close(dir->lock_fd);
    free(dir->path);
    dir->path = NULL;
}

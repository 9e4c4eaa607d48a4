/* router/record_file.c - see record_file.h. */
#include "router/record_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hatchway/assert.h"

#define ARENA_MAX ((size_t)4 << 20)

struct hw_record_file {
    FILE *stream;
    char *path;
    char *line; /* HW_RECORD_LINE_MAX + 2 bytes */
    size_t number;
    struct hw_arena arena; /* of the last record */
};

int
hw_record_file_open(const char *path, struct hw_record_file **out, struct hw_err *err)
{
    /* A pipe without a writer would be waited for without end. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        close(fd);
        return hw_err_set(err, HW_EIO, "%s: this is no plain file", path);
    }
    FILE *stream = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (stream == NULL) {
        int saved = errno;
        if (fd >= 0)
            close(fd);
        return hw_err_set(err, HW_EIO, "%s: cannot be read: %s", path, strerror(saved));
    }
    struct hw_record_file *file = hw_xcalloc(1, sizeof(*file));
    size_t size = strlen(path) + 1;
    file->stream = stream;
    file->path = hw_xcalloc(size, 1);
    memcpy(file->path, path, size);
    file->line = hw_xcalloc(HW_RECORD_LINE_MAX + 2, 1);
    hw_arena_init(&file->arena, ARENA_MAX);
    *out = file;
    return 0;
}

/* 1: *len bytes are in file->line, without the '\n'; 0: the end; HW_EINVAL: it is too long. */
static int
read_line(struct hw_record_file *file, size_t *len)
{
    int c = 0;

    *len = 0;
    while (*len <= HW_RECORD_LINE_MAX && (c = getc_unlocked(file->stream)) != EOF && c != '\n')
        file->line[(*len)++] = (char)c;
    if (*len == 0 && c == EOF)
        return 0;
    file->number++;
    if (*len <= HW_RECORD_LINE_MAX)
        return 1;
    while (c != EOF && c != '\n')
        c = getc_unlocked(file->stream);
    return HW_EINVAL;
}

int
hw_record_file_next(struct hw_record_file *file, struct hw_record *record, struct hw_err *err)
{
    size_t len = 0;
    int rc;

    do
        rc = read_line(file, &len);
    while (rc == 1 && len == 0);
    if (rc == 0 && ferror(file->stream))
        return hw_err_set(err, HW_EIO, "%s: cannot be read any further: %s", file->path,
                          strerror(errno));
    if (rc == 0)
        return 0;
    if (rc == HW_EINVAL)
        return hw_err_set(err, rc, "%s:%zu: the line has more than %zu bytes", file->path,
                          file->number, HW_RECORD_LINE_MAX);
    hw_arena_free(&file->arena);
    hw_arena_init(&file->arena, ARENA_MAX);
    rc = hw_record_read(file->line, len, &file->arena, record, err);
    if (rc == 0)
        return 1;
    hw_err_prefix(err, "%s:%zu", file->path, file->number);
    return HW_EINVAL;
}

void
hw_record_file_close(struct hw_record_file **file)
{
    struct hw_record_file *f = *file;

    if (f == NULL)
        return;
    *file = NULL;
    fclose(f->stream);
    hw_arena_free(&f->arena);
    free(f->line);
    free(f->path);
    free(f);
}

#include "engine/train_folder.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

enum { MAX_FILES = 100000, MAX_DEPTH = 32 };
#define MAX_BYTES ((size_t)1 << 30)

static int
by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int
add_text(struct hw_train_folder *out, const char *path, struct hw_err *err)
{
    char *bytes;
    size_t len;
    int rc = hw_train_read_file(path, &bytes, &len, err);

    if (rc != 0)
        return rc;
    if (memchr(bytes, '\0', len) != NULL) {
        out->skipped++;
    } else if (len > MAX_BYTES - out->len - 2) {
        rc = hw_err_set(err, HW_ELIMIT, "%s: the folder's texts are more than 1 GiB", path);
    } else if (len > 0) {
        out->bytes = realloc(out->bytes, out->len + len + 3);
        HW_ASSERT(out->bytes != NULL);
        if (out->text_count++ > 0) {
            memcpy(out->bytes + out->len, "\n\n", 2);
            out->len += 2;
        }
        memcpy(out->bytes + out->len, bytes, len);
        out->len += len;
        out->bytes[out->len] = '\0';
    }
    free(bytes);
    return rc;
}

static int
add_file(struct hw_train_folder *out, struct hw_train_rows *rows, const FTSENT *file,
         struct hw_err *err)
{
    size_t len = file->fts_namelen;

    if (len > 6 && strcmp(file->fts_name + len - 6, ".jsonl") == 0)
        return hw_train_rows_read(rows, file->fts_path, err);
    return add_text(out, file->fts_path, err);
}

/* 0, or what makes the walk end. */
static int
visit(FTS *walk, FTSENT *entry, size_t *files, struct hw_train_rows *rows,
      struct hw_train_folder *out, struct hw_err *err)
{
    switch (entry->fts_info) {
    case FTS_D:
        if (entry->fts_level > MAX_DEPTH)
            return hw_err_set(err, HW_ELIMIT, "%s: more than %d folders deep", entry->fts_path,
                              (int)MAX_DEPTH);
        if (entry->fts_level > 0 && entry->fts_name[0] == '.')
            fts_set(walk, entry, FTS_SKIP);
        return 0;
    case FTS_F:
        if (entry->fts_name[0] == '.')
            return 0;
        if (++*files > MAX_FILES)
            return hw_err_set(err, HW_ELIMIT, "%s: more than %d files", entry->fts_path,
                              (int)MAX_FILES);
        return add_file(out, rows, entry, err);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return hw_err_set(err, HW_EIO, "%s: %s", entry->fts_path, strerror(entry->fts_errno));
    default:
        return 0;
    }
}

int
hw_train_folder_read(const char *path, struct hw_train_rows *rows, struct hw_train_folder *out,
                     struct hw_err *err)
{
    char *roots[] = {strdup(path), NULL};
    size_t files = 0, rows_before = rows->count;
    int rc = 0;

    HW_ASSERT(roots[0] != NULL);
    *out = (struct hw_train_folder){0};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    if (walk == NULL)
        rc = hw_err_set(err, HW_EIO, "%s: %s", path, strerror(errno));
    for (FTSENT *entry; rc == 0 && (entry = fts_read(walk)) != NULL;)
        rc = visit(walk, entry, &files, rows, out, err);
    if (walk != NULL)
        fts_close(walk);
    free(roots[0]);
    if (rc == 0 && out->text_count == 0 && rows->count == rows_before)
        rc = hw_err_set(err, HW_EINVAL, "%s: no text and no *.jsonl in it", path);
    if (rc != 0) {
        free(out->bytes);
        *out = (struct hw_train_folder){0};
    }
    return rc;
}

/* config/jsonl.c - see jsonl.h. cJSON reads a line; its tree is the price of a few lines of code,
 * and bounded by the line. */
#include "config/jsonl.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

struct hw_jsonl {
    FILE *stream;
    char *path;
    char *line; /* HW_JSONL_LINE_MAX + 2 bytes */
    size_t number;
    cJSON *row; /* what the last row's strings live in */
};

int
hw_jsonl_open(const char *path, struct hw_jsonl **out, struct hw_err *err)
{
    FILE *stream = fopen(path, "re");
    if (stream == NULL)
        return hw_err_set(err, HW_EIO, "%s: cannot be read: %s", path, strerror(errno));
    struct hw_jsonl *file = hw_xcalloc(1, sizeof(*file));
    size_t size = strlen(path) + 1;
    file->stream = stream;
    file->path = hw_xcalloc(size, 1);
    memcpy(file->path, path, size);
    file->line = hw_xcalloc(HW_JSONL_LINE_MAX + 2, 1);
    *out = file;
    return 0;
}

void
hw_jsonl_close(struct hw_jsonl **file)
{
    struct hw_jsonl *f = *file;
    if (f == NULL)
        return;
    cJSON_Delete(f->row);
    fclose(f->stream);
    free(f->line);
    free(f->path);
    free(f);
    *file = NULL;
}

static int
fill_row(struct hw_jsonl *file, struct hw_jsonl_row *row, struct hw_err *err)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(file->row, "text"));
    const cJSON *label = cJSON_GetObjectItemCaseSensitive(file->row, "label");
    const cJSON *weak = cJSON_GetObjectItemCaseSensitive(file->row, "weak");
    const cJSON *strong = cJSON_GetObjectItemCaseSensitive(file->row, "strong");
    if (text == NULL)
        return hw_err_set(err, HW_EINVAL, "%s:%zu: expected {\"text\": \"...\"}", file->path,
                          file->number);
    if (label != NULL && !cJSON_IsString(label))
        return hw_err_set(err, HW_EINVAL, "%s:%zu: 'label' must be a text", file->path,
                          file->number);
    *row = (struct hw_jsonl_row){.line = file->number,
                                 .text = text,
                                 .label = label != NULL ? label->valuestring : NULL,
                                 .has_outcome = cJSON_IsNumber(weak) && cJSON_IsNumber(strong)};
    if (!row->has_outcome)
        return 1;
    row->weak = weak->valuedouble;
    row->strong = strong->valuedouble;
    if (!(row->weak >= 0 && row->weak <= 1 && row->strong >= 0 && row->strong <= 1))
        return hw_err_set(err, HW_EINVAL, "%s:%zu: 'weak' and 'strong' are between 0 and 1",
                          file->path, file->number);
    return 1;
}

int
hw_jsonl_next(struct hw_jsonl *file, struct hw_jsonl_row *row, struct hw_err *err)
{
    size_t len;
    cJSON_Delete(file->row);
    file->row = NULL;
    do {
        file->number++;
        errno = 0;
        if (fgets(file->line, HW_JSONL_LINE_MAX + 2, file->stream) == NULL)
            return ferror(file->stream) ? hw_err_set(err, HW_EIO, "%s: cannot be read: %s",
                                                     file->path, strerror(errno))
                                        : 0;
        len = strlen(file->line);
        if ((len == 0 || file->line[len - 1] != '\n') && !feof(file->stream))
            return hw_err_set(err, HW_ELIMIT,
                              "%s:%zu: the line has a NUL byte or more than %d bytes", file->path,
                              file->number, HW_JSONL_LINE_MAX);
    } while (strspn(file->line, " \t\r\n") == len);
    file->row = cJSON_ParseWithOpts(file->line, NULL, true);
    if (!cJSON_IsObject(file->row))
        return hw_err_set(err, HW_EINVAL, "%s:%zu: this is no JSON object", file->path,
                          file->number);
    return fill_row(file, row, err);
}

/* Rows are kept as plain strings: some hundreds to some thousands of them, read once. */
#include "engine/train_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "engine/prompt.h"
#include "hatchway/assert.h"

#define MAX_FILE_BYTES ((size_t)1 << 30)

int
hw_train_read_file(const char *path, char **out, size_t *len, struct hw_err *err)
{
    FILE *file = fopen(path, "rb");
    char *data = NULL;
    size_t used = 0, room = 0, got;

    if (file == NULL)
        return hw_err_set(err, HW_EIO, "%s: %s", path, strerror(errno));
    do {
        if (room - used < 2) {
            room = room == 0 ? 65536 : 2 * room;
            char *more = room > MAX_FILE_BYTES ? NULL : realloc(data, room);
            if (more == NULL) {
                free(data);
                fclose(file);
                return hw_err_set(err, HW_ELIMIT, "%s: more than fits in memory (1 GiB)", path);
            }
            data = more;
        }
        got = fread(data + used, 1, room - used - 1, file);
        used += got;
    } while (got > 0);
    int failed = ferror(file);
    fclose(file);
    if (failed) {
        free(data);
        return hw_err_set(err, HW_EIO, "%s: cannot be read", path);
    }
    data[used] = '\0';
    *out = data;
    *len = used;
    return 0;
}

/* Trimmed, as the prompt of a question will be. */
static char *
copy_text(const char *text)
{
    size_t len = strlen(text);
    const char *start = hw_prompt_trim(text, &len);
    char *copy = strndup(start, len);

    HW_ASSERT(copy != NULL);
    return copy;
}

/* A string becomes a list of one; absent becomes an empty list. */
static int
read_texts(const cJSON *item, char ***out, size_t *count)
{
    size_t n = cJSON_IsString(item)  ? 1
               : cJSON_IsArray(item) ? (size_t)cJSON_GetArraySize(item)
                                     : 0;

    if (item != NULL && !cJSON_IsString(item) && !cJSON_IsArray(item))
        return HW_EINVAL;
    *out = hw_xcalloc(n + 1, sizeof(**out));
    *count = 0;
    if (cJSON_IsString(item)) {
        (*out)[(*count)++] = copy_text(item->valuestring);
        return 0;
    }
    const cJSON *element;
    cJSON_ArrayForEach(element, item)
    {
        if (!cJSON_IsString(element))
            return HW_EINVAL;
        (*out)[(*count)++] = copy_text(element->valuestring);
    }
    return 0;
}

static void
free_row(struct hw_train_row *row)
{
    for (size_t i = 0; i < row->question_count; i++)
        free(row->questions[i]);
    for (size_t i = 0; i < row->held_out_count; i++)
        free(row->held_out[i]);
    free(row->questions);
    free(row->held_out);
    free(row->answer);
    *row = (struct hw_train_row){0};
}

static int
read_row(const char *line, size_t len, struct hw_train_row *row, struct hw_err *err)
{
    cJSON *json = cJSON_ParseWithLength(line, len);
    const cJSON *questions = cJSON_GetObjectItemCaseSensitive(json, "questions");
    const cJSON *answer = cJSON_GetObjectItemCaseSensitive(json, "answer");
    int rc = 0;

    if (questions == NULL)
        questions = cJSON_GetObjectItemCaseSensitive(json, "question");
    if (!cJSON_IsObject(json))
        rc = hw_err_set(err, HW_EINVAL, "is no JSON object; write one a line");
    else if (!cJSON_IsString(answer))
        rc = hw_err_set(err, HW_EINVAL, "has no \"answer\" text");
    else if (read_texts(questions, &row->questions, &row->question_count) != 0 ||
             row->question_count == 0)
        rc = hw_err_set(err, HW_EINVAL, "needs \"question\", or \"questions\" as a list of texts");
    else if (read_texts(cJSON_GetObjectItemCaseSensitive(json, "held_out"), &row->held_out,
                        &row->held_out_count) != 0)
        rc = hw_err_set(err, HW_EINVAL, "\"held_out\" must be a list of texts");
    else
        row->answer = copy_text(answer->valuestring);
    cJSON_Delete(json);
    if (rc != 0)
        free_row(row);
    return rc;
}

int
hw_train_rows_read(struct hw_train_rows *rows, const char *path, struct hw_err *err)
{
    char *data = NULL;
    size_t len = 0, line_no = 0;
    int rc = hw_train_read_file(path, &data, &len, err);

    if (rc != 0)
        return rc;
    for (const char *line = data; line < data + len && rc == 0;) {
        const char *end = memchr(line, '\n', (size_t)(data + len - line));
        end = end == NULL ? data + len : end;
        line_no++;
        if (strspn(line, " \t\r") < (size_t)(end - line)) {
            if (rows->count == rows->room) {
                rows->room = rows->room == 0 ? 256 : 2 * rows->room;
                rows->rows = realloc(rows->rows, rows->room * sizeof(*rows->rows));
                HW_ASSERT(rows->rows != NULL);
            }
            struct hw_train_row *row = &rows->rows[rows->count];
            *row = (struct hw_train_row){0};
            rc = read_row(line, (size_t)(end - line), row, err);
            if (rc == 0)
                rows->count++;
            else
                hw_err_prefix(err, "%s:%zu", path, line_no);
        }
        line = end + 1;
    }
    free(data);
    return rc;
}

void
hw_train_rows_free(struct hw_train_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        free_row(&rows->rows[i]);
    free(rows->rows);
    *rows = (struct hw_train_rows){0};
}

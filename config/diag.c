/* config/diag.c - mistakes: kept, sorted, printed; and the nearest right word. */
#include "config/diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

#define WORD_MAX 64

static struct hw_diag *
append(struct hw_diags *diags)
{
    struct hw_diag *items = realloc(diags->items, (diags->count + 1) * sizeof(*items));
    HW_ASSERT(items != NULL);
    diags->items = items;
    items[diags->count] = (struct hw_diag){0};
    return &items[diags->count++];
}

void
hw_diags_add(struct hw_diags *diags, bool warning, uint32_t line, uint32_t column, const char *fmt,
             va_list ap)
{
    size_t kept_errors = 0;
    for (size_t i = 0; i < diags->count; i++)
        kept_errors += !diags->items[i].warning;
    size_t kept = warning ? diags->count - kept_errors : kept_errors;
    if (!warning)
        diags->errors++;
    if (kept >= HW_DIAGS_MAX)
        return;
    struct hw_diag *diag = append(diags);
    diag->warning = warning;
    diag->line = line;
    diag->column = column;
    vsnprintf(diag->msg, sizeof(diag->msg), fmt, ap);
}

void
hw_diags_addf(struct hw_diags *diags, bool warning, uint32_t line, uint32_t column, const char *fmt,
              ...)
{
    va_list ap;
    va_start(ap, fmt);
    hw_diags_add(diags, warning, line, column, fmt, ap);
    va_end(ap);
}

static bool
comes_before(const struct hw_diag *a, const struct hw_diag *b)
{
    return a->line != b->line ? a->line < b->line : a->column < b->column;
}

static void
sort(struct hw_diags *diags)
{
    /* Insertion keeps the order of equals; there are at most 2 * HW_DIAGS_MAX. */
    for (size_t i = 1; i < diags->count; i++) {
        struct hw_diag moving = diags->items[i];
        size_t at = i;
        for (; at > 0 && comes_before(&moving, &diags->items[at - 1]); at--)
            diags->items[at] = diags->items[at - 1];
        diags->items[at] = moving;
    }
}

void
hw_diags_finish(struct hw_diags *diags)
{
    sort(diags);
    if (diags->errors <= HW_DIAGS_MAX)
        return;
    struct hw_diag *last = append(diags);
    last->warning = true;
    snprintf(last->msg, sizeof(last->msg), "%zu more errors are not shown",
             diags->errors - HW_DIAGS_MAX);
}

void
hw_diags_free(struct hw_diags *diags)
{
    free(diags->items);
    *diags = (struct hw_diags){0};
}

void
hw_diag_format(const struct hw_diag *diag, const char *path, char *out, size_t size)
{
    const char *what = diag->warning ? "warning" : "error";
    if (diag->line == 0)
        snprintf(out, size, "%s: %s: %s", path, what, diag->msg);
    else
        snprintf(out, size, "%s:%u:%u: %s: %s", path, diag->line, diag->column, what, diag->msg);
}

static unsigned
least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edit distance in which swapping two neighbours costs one. Both at most WORD_MAX bytes. */
static unsigned
distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][WORD_MAX + 1];
    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i - 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned cost = a[i - 1] != b[j - 1];
            row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], rows[(i - 2) % 3][j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}

const char *
hw_nearest_word(const char *text, const char *const *words)
{
    size_t len = strlen(text);
    if (len == 0 || len > WORD_MAX)
        return NULL;
    const char *best = NULL;
    unsigned best_distance = len < 4 ? 2 : (unsigned)(len < 9 ? 3 : 4); /* must stay below */
    for (; *words != NULL; words++) {
        size_t word_len = strlen(*words);
        if (word_len > WORD_MAX)
            continue;
        unsigned d = distance(text, len, *words, word_len);
        if (d < best_distance && d < word_len) {
            best = *words;
            best_distance = d;
        }
    }
    return best;
}

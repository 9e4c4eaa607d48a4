/* router/check_roles.c - see check_roles.h. */
#include "router/check_roles.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hatchway/assert.h"
#include "policies/classify.h"
#include "policies/learn.h"

#define FEW 5      /* below it a role is left to its keywords (policies/learn_roles.h) */
#define QUICK 2000 /* examples that are cross-validated in passing */
#define FOLDS 5
#define TRIED_MIN 10    /* examples of a role, before they say anything */
#define TAKEN_MIN 3     /* of them taken for one other role, */
#define TAKEN_SHARE 0.3 /* and such a share of them */
#define SHOWN_MAX 10    /* warnings of a sort */
#define SHOWN_BYTES 60  /* of an example */

struct checking {
    const char *file;
    const struct hw_snapshot *snapshot;
    FILE *out;
};

static void
begin(struct checking *checking, size_t role)
{
    const struct hw_conf_role *conf = &checking->snapshot->roles[role];

    fprintf(checking->out, "hatchway: %s:%u:%u: warning: roles.%s: ", checking->file, conf->line,
            conf->column, conf->name);
}

static void
check_few(struct checking *checking)
{
    const struct hw_snapshot *snapshot = checking->snapshot;

    for (size_t i = 0; i < snapshot->role_count; i++) {
        size_t count = snapshot->roles[i].examples.count;
        if (count == 0 || count >= FEW)
            continue;
        begin(checking, i);
        fprintf(checking->out,
                "%zu example%s nothing: a role is learned from %d on, and well from 50 or "
                "100 (docs/policy-classifier.md: of 13 roles with 5 each two thirds of the "
                "queries were found, with 20 five sixths, with 100 nine tenths)\n",
                count, count == 1 ? " teaches" : "s teach", FEW);
    }
}

/* --- in two roles ---------------------------------------------------------------------------- */

struct sentence {
    const char *text;
    size_t role;
};

static int
by_text(const void *a, const void *b)
{
    const struct sentence *x = a, *y = b;
    int order = strcasecmp(x->text, y->text);

    return order != 0 ? order : (x->role > y->role) - (x->role < y->role);
}

static int
shown_bytes(const char *text)
{
    size_t len = strcspn(text, "\r\n");

    if (len > SHOWN_BYTES)
        for (len = SHOWN_BYTES; len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80;)
            len--;
    return (int)len;
}

static void
check_twice(struct checking *checking)
{
    const struct hw_snapshot *snapshot = checking->snapshot;
    size_t count = 0, shown = 0;

    for (size_t i = 0; i < snapshot->role_count; i++)
        count += snapshot->roles[i].examples.count;
    struct sentence *all = hw_xcalloc(count + 1, sizeof(*all));
    count = 0;
    for (size_t i = 0; i < snapshot->role_count; i++)
        for (size_t j = 0; j < snapshot->roles[i].examples.count; j++)
            all[count++] = (struct sentence){snapshot->roles[i].examples.items[j], i};
    qsort(all, count, sizeof(*all), by_text);
    for (size_t i = 1; i < count; i++) {
        if (all[i].role == all[i - 1].role || strcasecmp(all[i].text, all[i - 1].text) != 0)
            continue;
        if (++shown > SHOWN_MAX)
            continue;
        begin(checking, all[i].role);
        fprintf(checking->out,
                "its example '%.*s' is one of '%s' as well: a query has one role, give it to "
                "that one\n",
                shown_bytes(all[i].text), all[i].text, snapshot->roles[all[i - 1].role].name);
    }
    if (shown > SHOWN_MAX)
        fprintf(checking->out, "hatchway: %s: warning: %zu more examples stand in two roles\n",
                checking->file, shown - SHOWN_MAX);
    free(all);
}

/* --- taken for each other -------------------------------------------------------------------- */

static void
tell_taken(struct checking *checking, const struct hw_examples *examples, size_t class,
           const struct hw_learn_report *report)
{
    const uint32_t *taken = report->taken_for + class * hw_examples_classes(examples);
    uint32_t tried = report->class_tried[class];
    size_t most = class == 0 ? 1 : 0;

    for (size_t c = 0; c < hw_examples_classes(examples); c++)
        if (c != class && taken[c] > taken[most])
            most = c;
    if (tried < TRIED_MIN || taken[most] < TAKEN_MIN || taken[most] < TAKEN_SHARE * tried)
        return;
    const char *name = hw_examples_label(examples, (int)class);
    int role = hw_snapshot_role(checking->snapshot, name, strlen(name));
    HW_ASSERT(role >= 0);
    begin(checking, (size_t)role);
    fprintf(checking->out,
            "of %u examples without a keyword, each left out of learning in turn, %u were taken "
            "for '%s' and %u found: examples or keywords that tell the two apart are missing\n",
            tried, taken[most], hw_examples_label(examples, (int)most), report->class_right[class]);
}

static void
check_confused(struct checking *checking)
{
    const struct hw_snapshot *snapshot = checking->snapshot;
    struct hw_classifier *classifier = NULL;
    struct hw_examples *examples = NULL;
    struct hw_learn_conf conf;
    struct hw_err err;
    size_t count = 0;

    for (size_t i = 0; i < snapshot->role_count; i++)
        count += snapshot->roles[i].examples.count;
    if (!snapshot->classifier.learned || count < TRIED_MIN || count > QUICK)
        return;
    hw_learn_conf_init(&conf);
    int rc = hw_classifier_create(snapshot, &classifier, &err);
    if (rc == 0)
        rc = hw_classifier_examples(classifier, snapshot, &examples, &err);
    size_t classes = rc == 0 ? hw_examples_classes(examples) : 0;
    struct hw_learn_report report = {.class_tried = hw_xcalloc(classes + 1, sizeof(uint32_t)),
                                     .class_right = hw_xcalloc(classes + 1, sizeof(uint32_t)),
                                     .taken_for =
                                         hw_xcalloc(classes * classes + 1, sizeof(uint32_t))};
    if (classes >= 2 && hw_learn_validate(examples, &conf, FOLDS, &report, &err) == 0)
        for (size_t c = 0; c < classes; c++)
            tell_taken(checking, examples, c, &report);
    free(report.class_tried);
    free(report.class_right);
    free(report.taken_for);
    hw_examples_destroy(&examples);
    hw_classifier_destroy(&classifier);
}

void
hw_check_roles(const char *file, const struct hw_snapshot *snapshot, FILE *out)
{
    struct checking checking = {.file = file, .snapshot = snapshot, .out = out};

    if (snapshot->classifier.learned)
        check_few(&checking);
    check_twice(&checking);
    check_confused(&checking);
}

/* policies/learn_examples.c - examples, kept as their n-grams.
 *
 * The texts themselves are not kept: a model is learned from buckets alone. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/learn_private.h"

#define FEATURES_TOTAL_MAX ((size_t)1 << 30)

struct hw_examples *
hw_examples_create(uint32_t bits)
{
    struct hw_examples *examples = hw_xcalloc(1, sizeof(*examples));

    HW_ASSERT(bits >= HW_FEATURE_BITS_MIN && bits <= HW_FEATURE_BITS_MAX);
    examples->kinds = hw_kinds_create();
    HW_ASSERT(examples->kinds != NULL);
    examples->bits = bits;
    examples->labels = hw_xcalloc(HW_LEARN_CLASSES_MAX, sizeof(char *));
    examples->starts = hw_xcalloc(1, sizeof(size_t));
    return examples;
}

void
hw_examples_destroy(struct hw_examples **examples)
{
    struct hw_examples *e = *examples;

    if (e == NULL)
        return;
    for (size_t i = 0; i < e->class_count; i++)
        free(e->labels[i]);
    free(e->labels);
    free(e->classes);
    free(e->hints);
    free(e->starts);
    free(e->features);
    free(e->kinds);
    free(e);
    *examples = NULL;
}

bool
hw_learn_label_ok(const char *label, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)label[i] < ' ' || label[i] == 0x7f)
            return false;
    return len > 0 && len <= HW_LEARN_LABEL_MAX && !(len == 1 && *label == '-');
}

int
hw_examples_class(struct hw_examples *examples, const char *label, size_t len, struct hw_err *err)
{
    for (size_t i = 0; i < examples->class_count; i++)
        if (strlen(examples->labels[i]) == len && memcmp(examples->labels[i], label, len) == 0)
            return (int)i;
    if (!hw_learn_label_ok(label, len))
        return hw_err_set(err, HW_EINVAL, "a label has 1 to %d bytes and no control characters",
                          HW_LEARN_LABEL_MAX);
    if (examples->class_count == HW_LEARN_CLASSES_MAX)
        return hw_err_set(err, HW_ELIMIT, "more than %d labels", HW_LEARN_CLASSES_MAX);
    char *copy = hw_xcalloc(len + 1, 1);
    memcpy(copy, label, len);
    examples->labels[examples->class_count] = copy;
    return (int)examples->class_count++;
}

/* Room for one more example of `more` features. */
static int
reserve(struct hw_examples *examples, size_t more, struct hw_err *err)
{
    if (examples->count == HW_LEARN_EXAMPLES_MAX ||
        examples->feature_count + more > FEATURES_TOTAL_MAX)
        return hw_err_set(err, HW_ELIMIT, "more than %d examples, or texts too long for so many",
                          HW_LEARN_EXAMPLES_MAX);
    if (examples->count == examples->capacity) {
        size_t capacity = examples->capacity * 2 + 64;
        int32_t *classes = realloc(examples->classes, capacity * sizeof(*classes));
        examples->classes = classes != NULL ? classes : examples->classes;
        size_t *starts = realloc(examples->starts, (capacity + 1) * sizeof(*starts));
        examples->starts = starts != NULL ? starts : examples->starts;
        bool *hints = realloc(examples->hints, capacity * sizeof(*hints));
        examples->hints = hints != NULL ? hints : examples->hints;
        if (classes == NULL || starts == NULL || hints == NULL)
            return hw_err_set(err, HW_ENOMEM, "no memory for %zu examples", capacity);
        examples->capacity = capacity;
    }
    if (examples->feature_count + more > examples->feature_capacity) {
        size_t capacity = (examples->feature_count + more) * 2;
        uint16_t *features = realloc(examples->features, capacity * sizeof(*features));
        if (features == NULL)
            return hw_err_set(err, HW_ENOMEM, "no memory for the n-grams of %zu examples",
                              examples->count);
        examples->features = features;
        examples->feature_capacity = capacity;
    }
    return 0;
}

size_t
hw_learn_fewer_bits(const uint16_t *buckets, size_t count, uint32_t bits, uint16_t *out)
{
    uint32_t shift = HW_FEATURE_BITS_MAX - bits;
    size_t kept = 0;

    for (size_t i = 0; i < count && i < HW_FEATURES_MAX; i++) {
        uint16_t feature = (uint16_t)(buckets[i] >> shift);
        if (kept == 0 || out[kept - 1] != feature)
            out[kept++] = feature;
    }
    return kept;
}

int
hw_examples_add_features(struct hw_examples *examples, int label, const uint16_t *features,
                         size_t count, bool hint, struct hw_err *err)
{
    int rc = reserve(examples, count + 1, err);

    if (rc != 0)
        return rc;
    memcpy(examples->features + examples->feature_count, features, count * sizeof(features[0]));
    examples->feature_count += count;
    examples->hints[examples->count] = hint;
    examples->classes[examples->count++] = label;
    examples->starts[examples->count] = examples->feature_count;
    return 0;
}

static int
add(struct hw_examples *examples, int label, const char *text, size_t len, bool hint,
    struct hw_err *err)
{
    uint16_t features[HW_FEATURES_MAX];
    size_t count = hw_features(examples->kinds, text, len, examples->bits, NULL, 0, features);

    return hw_examples_add_features(examples, label, features, count, hint, err);
}

int
hw_examples_add(struct hw_examples *examples, int label, const char *text, size_t len,
                struct hw_err *err)
{
    return add(examples, label, text, len, false, err);
}

int
hw_examples_hint(struct hw_examples *examples, int label, const char *text, size_t len,
                 struct hw_err *err)
{
    return add(examples, label, text, len, true, err);
}

int
hw_examples_hint_names(struct hw_examples *examples, struct hw_err *err)
{
    char words[2 * HW_LEARN_LABEL_MAX];
    int rc = 0;

    for (size_t i = 0; i < examples->class_count && rc == 0; i++) {
        size_t len = 0;
        for (const char *p = examples->labels[i]; *p != '\0'; p++) {
            if (isupper((unsigned char)*p) && p > examples->labels[i] &&
                islower((unsigned char)p[-1]))
                words[len++] = ' ';
            words[len++] = *p == '_' || *p == '\'' ? ' ' : *p; /* other marks separate anyway */
        }
        rc = add(examples, (int)i, words, len, true, err);
    }
    return rc;
}

size_t
hw_examples_count(const struct hw_examples *examples)
{
    return examples->count;
}

size_t
hw_examples_classes(const struct hw_examples *examples)
{
    return examples->class_count;
}

const char *
hw_examples_label(const struct hw_examples *examples, int label)
{
    return examples->labels[label];
}

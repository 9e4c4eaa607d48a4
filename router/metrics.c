/* router/metrics.c - the registry of Prometheus metrics and their text form.
 *
 * A child keeps its labels as the text that goes between the braces, escaped once when it is made:
 * it is both the key of the look-up (rare: when a snapshot is loaded) and what a scrape prints. The
 * mutex guards the lists; counting itself touches only the child's atomics. */
#include "router/metrics.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

#define LABELS_MAX_BYTES ((size_t)64 * 1024)
#define LABEL_VALUE_MAX_BYTES ((size_t)512)

struct child {
    struct child *next;
    char *labels; /* `a="x",b="y"`, or "" */
    union {
        struct hw_metric metric;
        struct hw_histogram histogram;
    } as;
};

struct hw_metric_family {
    struct hw_metrics *metrics;
    struct hw_metric_family *next;
    enum hw_metric_type type;
    char *name;
    char *help; /* escaped */
    char *label_names;
    double scale;
    const double *bounds_s;
    size_t bound_count;
    struct child *children, **tail;
};

struct hw_metrics {
    pthread_mutex_t lock;
    struct hw_metric_family *families, **tail;
};

static char *
copy_text(const char *text)
{
    char *copy = hw_xcalloc(strlen(text) + 1, 1);
    memcpy(copy, text, strlen(text));
    return copy;
}

/* The exposition format escapes backslash and newline; in label values the quote as well. */
static void
append_escaped(struct hw_buf *out, const char *text, size_t len, bool quotes)
{
    for (const char *p = text; p < text + len; p++) {
        if (*p == '\\')
            hw_buf_puts(out, "\\\\");
        else if (*p == '\n')
            hw_buf_puts(out, "\\n");
        else if (*p == '"' && quotes)
            hw_buf_puts(out, "\\\"");
        else
            hw_buf_append(out, p, 1);
    }
}

struct hw_metrics *
hw_metrics_create(void)
{
    struct hw_metrics *metrics = hw_xcalloc(1, sizeof(*metrics));
    HW_ASSERT(pthread_mutex_init(&metrics->lock, NULL) == 0);
    metrics->tail = &metrics->families;
    return metrics;
}

static void
destroy_family(struct hw_metric_family *family)
{
    struct child *child = family->children;
    while (child != NULL) {
        struct child *next = child->next;
        free(child->labels);
        free(child);
        child = next;
    }
    free(family->name);
    free(family->help);
    free(family->label_names);
    free(family);
}

void
hw_metrics_destroy(struct hw_metrics **metrics)
{
    if (*metrics == NULL)
        return;
    struct hw_metric_family *family = (*metrics)->families;
    while (family != NULL) {
        struct hw_metric_family *next = family->next;
        destroy_family(family);
        family = next;
    }
    pthread_mutex_destroy(&(*metrics)->lock);
    free(*metrics);
    *metrics = NULL;
}

static struct hw_metric_family *
define(struct hw_metrics *metrics, enum hw_metric_type type, const char *name, const char *help,
       const char *label_names)
{
    struct hw_metric_family *family = hw_xcalloc(1, sizeof(*family));
    struct hw_buf escaped;
    hw_buf_init(&escaped, LABELS_MAX_BYTES);
    append_escaped(&escaped, help, strlen(help), false);
    HW_ASSERT(!escaped.failed); /* help texts are ours */
    family->metrics = metrics;
    family->type = type;
    family->name = copy_text(name);
    family->help = copy_text(escaped.len > 0 ? escaped.data : "");
    family->label_names = copy_text(label_names);
    family->scale = 1.0;
    family->tail = &family->children;
    hw_buf_free(&escaped);

    pthread_mutex_lock(&metrics->lock);
    *metrics->tail = family;
    metrics->tail = &family->next;
    pthread_mutex_unlock(&metrics->lock);
    return family;
}

struct hw_metric_family *
hw_metrics_define(struct hw_metrics *metrics, enum hw_metric_type type, const char *name,
                  const char *help, const char *label_names, double scale)
{
    HW_ASSERT(type != HW_METRIC_HISTOGRAM);
    struct hw_metric_family *family = define(metrics, type, name, help, label_names);
    if (scale > 0)
        family->scale = scale;
    return family;
}

struct hw_metric_family *
hw_metrics_define_histogram(struct hw_metrics *metrics, const char *name, const char *help,
                            const char *label_names, const double *bounds_s, size_t bound_count)
{
    HW_ASSERT(bound_count <= HW_METRIC_MAX_BUCKETS);
    struct hw_metric_family *family = define(metrics, HW_METRIC_HISTOGRAM, name, help, label_names);
    family->bounds_s = bounds_s;
    family->bound_count = bound_count;
    return family;
}

/* Values come from the configuration; one that is absurdly long is clipped between two characters,
 * which is better than no gateway. */
static void
append_value(struct hw_buf *out, const char *value)
{
    size_t len = strnlen(value, LABEL_VALUE_MAX_BYTES);
    while (len == LABEL_VALUE_MAX_BYTES || (len > 0 && ((unsigned char)value[len] & 0xc0) == 0x80))
        len--;
    append_escaped(out, value, len, true);
}

static char *
render_labels(const struct hw_metric_family *family, const char *const *values)
{
    struct hw_buf out;
    hw_buf_init(&out, LABELS_MAX_BYTES);
    const char *name = family->label_names;
    for (size_t i = 0; *name != '\0'; i++) {
        size_t len = strcspn(name, ",");
        hw_buf_printf(&out, "%s%.*s=\"", i > 0 ? "," : "", (int)len, name);
        append_value(&out, values[i] != NULL ? values[i] : "");
        hw_buf_puts(&out, "\"");
        name += len;
        name += *name == ',';
    }
    HW_ASSERT(!out.failed);
    char *labels = copy_text(out.len > 0 ? out.data : "");
    hw_buf_free(&out);
    return labels;
}

static struct child *
find_or_add(struct hw_metric_family *family, const char *const *values)
{
    char *labels = render_labels(family, values);
    pthread_mutex_lock(&family->metrics->lock);
    struct child *child = family->children;
    while (child != NULL && strcmp(child->labels, labels) != 0)
        child = child->next;
    if (child == NULL) {
        child = hw_xcalloc(1, sizeof(*child));
        child->labels = labels;
        labels = NULL;
        if (family->type == HW_METRIC_HISTOGRAM) {
            child->as.histogram.bounds_s = family->bounds_s;
            child->as.histogram.bound_count = family->bound_count;
        }
        *family->tail = child;
        family->tail = &child->next;
    }
    pthread_mutex_unlock(&family->metrics->lock);
    free(labels);
    return child;
}

struct hw_metric *
hw_metric_child(struct hw_metric_family *family, const char *const *values)
{
    HW_ASSERT(family->type != HW_METRIC_HISTOGRAM);
    return &find_or_add(family, values)->as.metric;
}

struct hw_histogram *
hw_histogram_child(struct hw_metric_family *family, const char *const *values)
{
    HW_ASSERT(family->type == HW_METRIC_HISTOGRAM);
    return &find_or_add(family, values)->as.histogram;
}

void
hw_histogram_observe_us(struct hw_histogram *histogram, uint64_t us)
{
    double seconds = (double)us / 1e6;
    size_t i = 0;
    while (i < histogram->bound_count && seconds > histogram->bounds_s[i])
        i++;
    atomic_fetch_add_explicit(&histogram->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_us, us, memory_order_relaxed);
}

static void
render_value(const struct hw_metric_family *family, struct child *child, struct hw_buf *out)
{
    int64_t value = atomic_load_explicit(&child->as.metric.value, memory_order_relaxed);
    hw_buf_puts(out, family->name);
    if (child->labels[0] != '\0')
        hw_buf_printf(out, "{%s}", child->labels);
    if (family->type == HW_METRIC_GAUGE && family->scale != 1.0)
        hw_buf_printf(out, " %.12g\n", (double)value / family->scale);
    else
        hw_buf_printf(out, " %lld\n", (long long)value);
}

/* _count is summed from the buckets that were just printed, so that one scrape agrees with itself
 * while loops go on counting. */
static void
render_histogram(const struct hw_metric_family *family, struct child *child, struct hw_buf *out)
{
    struct hw_histogram *histogram = &child->as.histogram;
    const char *labels = child->labels, *comma = labels[0] != '\0' ? "," : "";
    uint64_t count = 0;
    for (size_t i = 0; i <= histogram->bound_count; i++) {
        char bound[32] = "+Inf";
        if (i < histogram->bound_count)
            snprintf(bound, sizeof(bound), "%g", histogram->bounds_s[i]);
        count += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        hw_buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %llu\n", family->name, labels, comma, bound,
                      (unsigned long long)count);
    }
    const char *open = labels[0] != '\0' ? "{" : "", *close = labels[0] != '\0' ? "}" : "";
    uint64_t sum_us = atomic_load_explicit(&histogram->sum_us, memory_order_relaxed);
    hw_buf_printf(out, "%s_sum%s%s%s %llu.%06llu\n", family->name, open, labels, close,
                  (unsigned long long)(sum_us / 1000000), (unsigned long long)(sum_us % 1000000));
    hw_buf_printf(out, "%s_count%s%s%s %llu\n", family->name, open, labels, close,
                  (unsigned long long)count);
}

void
hw_metrics_render(struct hw_metrics *metrics, struct hw_buf *out)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};

    pthread_mutex_lock(&metrics->lock);
    for (struct hw_metric_family *family = metrics->families; family != NULL;
         family = family->next) {
        if (family->children == NULL)
            continue; /* a head without samples says nothing */
        hw_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                      types[family->type]);
        for (struct child *child = family->children; child != NULL; child = child->next) {
            if (family->type == HW_METRIC_HISTOGRAM)
                render_histogram(family, child, out);
            else
                render_value(family, child, out);
        }
    }
    pthread_mutex_unlock(&metrics->lock);
}

/* router/metrics.h - Prometheus metrics, safe from any thread.
 *
 * Families are defined once at start; children (one a label set) are looked up under a mutex when a
 * snapshot is loaded and then counted by relaxed atomics through their pointer, which stays good
 * for the life of the process. Label values come from the configuration, never from an agent. */
#ifndef HW_ROUTER_METRICS_H
#define HW_ROUTER_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "hatchway/buf.h"

enum hw_metric_type { HW_METRIC_COUNTER, HW_METRIC_GAUGE, HW_METRIC_HISTOGRAM };

struct hw_metrics;
struct hw_metric_family;

struct hw_metric { /* a child that is a counter or a gauge */
    _Atomic int64_t value;
};

#define HW_METRIC_MAX_BUCKETS 16
struct hw_histogram {
    _Atomic uint64_t buckets[HW_METRIC_MAX_BUCKETS + 1]; /* not cumulative; the last is +Inf */
    _Atomic uint64_t sum_us;
    const double *bounds_s;
    size_t bound_count;
};

struct hw_metrics *hw_metrics_create(void);
void hw_metrics_destroy(struct hw_metrics **metrics);
/* label_names: comma-separated, "" for none. Gauges may have a scale: rendered value = value /
 * scale. */
struct hw_metric_family *hw_metrics_define(struct hw_metrics *metrics, enum hw_metric_type type,
                                           const char *name, const char *help,
                                           const char *label_names, double scale);
/* bounds_s must outlive the registry (a static array). */
struct hw_metric_family *hw_metrics_define_histogram(struct hw_metrics *metrics, const char *name,
                                                     const char *help, const char *label_names,
                                                     const double *bounds_s, size_t bound_count);
/* As many label values as the family has names, as const char *. */
struct hw_metric *hw_metric_child(struct hw_metric_family *family, const char *const *values);
struct hw_histogram *hw_histogram_child(struct hw_metric_family *family, const char *const *values);

static inline void
hw_metric_add(struct hw_metric *metric, int64_t delta)
{
    atomic_fetch_add_explicit(&metric->value, delta, memory_order_relaxed);
}

static inline void
hw_metric_set(struct hw_metric *metric, int64_t value)
{
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

void hw_histogram_observe_us(struct hw_histogram *histogram, uint64_t us);

/* Text exposition format 0.0.4: what `promtool check metrics` accepts without a word. */
void hw_metrics_render(struct hw_metrics *metrics, struct hw_buf *out);

#endif

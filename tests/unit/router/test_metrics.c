/* Metrics: the text form, escapes, cumulative buckets, counting from several threads, and
 * promtool's opinion where it is installed. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/metrics.h"

static const double bounds[] = {0.001, 0.01, 0.25, 1, 10};

static struct hw_buf
render(struct hw_metrics *metrics)
{
    struct hw_buf out;
    hw_buf_init(&out, 1 << 20);
    hw_metrics_render(metrics, &out);
    assert_false(out.failed);
    return out;
}

static void
test_text(void **state)
{
    (void)state;
    struct hw_metrics *metrics = hw_metrics_create();
    struct hw_metric_family *requests =
        hw_metrics_define(metrics, HW_METRIC_COUNTER, "hatchway_requests_total",
                          "Requests\nanswered \\ all.", "dialect,code", 1);
    struct hw_metric_family *up =
        hw_metrics_define(metrics, HW_METRIC_GAUGE, "hatchway_up", "Up.", "", 1);
    struct hw_metric_family *load =
        hw_metrics_define(metrics, HW_METRIC_GAUGE, "hatchway_load_ratio", "Load.", "", 1000);
    hw_metrics_define(metrics, HW_METRIC_GAUGE, "hatchway_unused", "Never a child.", "", 1);

    const char *ok[] = {"openai", "200"};
    const char *odd[] = {"a\"b\\c\nd", "200"};
    struct hw_metric *counter = hw_metric_child(requests, ok);
    assert_ptr_equal(counter, hw_metric_child(requests, ok));
    assert_ptr_not_equal(counter, hw_metric_child(requests, odd));
    hw_metric_add(counter, 9007199254740993);
    hw_metric_set(hw_metric_child(up, NULL), -1);
    hw_metric_set(hw_metric_child(load, NULL), 1250);

    struct hw_buf out = render(metrics);
    assert_string_equal(
        out.data, "# HELP hatchway_requests_total Requests\\nanswered \\\\ all.\n"
                  "# TYPE hatchway_requests_total counter\n"
                  "hatchway_requests_total{dialect=\"openai\",code=\"200\"} 9007199254740993\n"
                  "hatchway_requests_total{dialect=\"a\\\"b\\\\c\\nd\",code=\"200\"} 0\n"
                  "# HELP hatchway_up Up.\n# TYPE hatchway_up gauge\nhatchway_up -1\n"
                  "# HELP hatchway_load_ratio Load.\n# TYPE hatchway_load_ratio gauge\n"
                  "hatchway_load_ratio 1.25\n");
    hw_buf_free(&out);
    hw_metrics_destroy(&metrics);
    assert_null(metrics);
    hw_metrics_destroy(&metrics);
}

static void
test_histogram(void **state)
{
    (void)state;
    struct hw_metrics *metrics = hw_metrics_create();
    struct hw_metric_family *family = hw_metrics_define_histogram(
        metrics, "hatchway_request_duration_seconds", "Time.", "lane", bounds, 5);
    const char *lane[] = {"realtime"};
    struct hw_histogram *histogram = hw_histogram_child(family, lane);
    hw_histogram_observe_us(histogram, 1000); /* on the bound: belongs below it */
    hw_histogram_observe_us(histogram, 1001);
    hw_histogram_observe_us(histogram, 250000);
    hw_histogram_observe_us(histogram, 99000000);
    struct hw_buf out = render(metrics);
    assert_non_null(strstr(out.data, "_bucket{lane=\"realtime\",le=\"0.001\"} 1\n"));
    assert_non_null(strstr(out.data, "_bucket{lane=\"realtime\",le=\"0.01\"} 2\n"));
    assert_non_null(strstr(out.data, "_bucket{lane=\"realtime\",le=\"0.25\"} 3\n"));
    assert_non_null(strstr(out.data, "_bucket{lane=\"realtime\",le=\"10\"} 3\n"));
    assert_non_null(strstr(out.data, "_bucket{lane=\"realtime\",le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(out.data, "_sum{lane=\"realtime\"} 99.252001\n"));
    assert_non_null(strstr(out.data, "_count{lane=\"realtime\"} 4\n"));
    hw_buf_free(&out);
    hw_metrics_destroy(&metrics);
}

static void
test_long_label_is_clipped(void **state)
{
    (void)state;
    struct hw_metrics *metrics = hw_metrics_create();
    struct hw_metric_family *family =
        hw_metrics_define(metrics, HW_METRIC_COUNTER, "hatchway_long_total", "Long.", "name", 1);
    char name[2001];
    for (size_t i = 0; i < 1000; i++)
        memcpy(name + 2 * i, "\xc3\xa9", 2);
    name[2000] = '\0';
    const char *values[] = {name};
    hw_metric_child(family, values);
    struct hw_buf out = render(metrics);
    char *value = strstr(out.data, "name=\"") + 6;
    size_t len = strcspn(value, "\"");
    assert_true(len <= 512 && len % 2 == 0 && len > 500);
    hw_buf_free(&out);
    hw_metrics_destroy(&metrics);
}

struct job {
    struct hw_metric_family *family, *histograms;
};

static void *
count(void *arg)
{
    struct job *job = arg;
    const char *values[] = {"x"};
    for (int i = 0; i < 10000; i++) {
        hw_metric_add(hw_metric_child(job->family, values), 1);
        hw_histogram_observe_us(hw_histogram_child(job->histograms, NULL), 1);
    }
    return NULL;
}

static void
test_threads(void **state)
{
    (void)state;
    struct hw_metrics *metrics = hw_metrics_create();
    struct job job = {
        hw_metrics_define(metrics, HW_METRIC_COUNTER, "hatchway_a_total", "A.", "l", 1),
        hw_metrics_define_histogram(metrics, "hatchway_b_seconds", "B.", "", bounds, 5)};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, count, &job);
    for (int i = 0; i < 50; i++) {
        struct hw_buf out = render(metrics);
        hw_buf_free(&out);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    struct hw_buf out = render(metrics);
    assert_non_null(strstr(out.data, "hatchway_a_total{l=\"x\"} 40000\n"));
    assert_non_null(strstr(out.data, "hatchway_b_seconds_bucket{le=\"+Inf\"} 40000\n"));
    assert_non_null(strstr(out.data, "hatchway_b_seconds_sum 0.040000\n"));
    assert_non_null(strstr(out.data, "hatchway_b_seconds_count 40000\n"));
    hw_buf_free(&out);
    hw_metrics_destroy(&metrics);
}

static void
test_promtool(void **state)
{
    (void)state;
    if (system("command -v promtool >/dev/null 2>&1") != 0) {
        print_message("promtool is not installed (Debian package prometheus)\n");
        skip();
    }
    struct hw_metrics *metrics = hw_metrics_create();
    const char *odd[] = {"a\"b\\c\nd"};
    hw_metric_child(hw_metrics_define(metrics, HW_METRIC_COUNTER, "hatchway_x_total",
                                      "Back\\slash\nand line.", "l", 1),
                    odd);
    hw_metric_set(
        hw_metric_child(
            hw_metrics_define(metrics, HW_METRIC_GAUGE, "hatchway_load_ratio", "L.", "", 3), NULL),
        1);
    struct hw_metric_family *family =
        hw_metrics_define_histogram(metrics, "hatchway_y_seconds", "Y.", "l", bounds, 5);
    hw_histogram_observe_us(hw_histogram_child(family, odd), 123);
    struct hw_buf out = render(metrics);
    FILE *pipe = popen("promtool check metrics >/tmp/hatchway-promtool.txt 2>&1", "w");
    assert_non_null(pipe);
    assert_int_equal(fwrite(out.data, 1, out.len, pipe), out.len);
    assert_int_equal(pclose(pipe), 0);
    FILE *said = fopen("/tmp/hatchway-promtool.txt", "r");
    assert_non_null(said);
    assert_int_equal(fgetc(said), EOF); /* not a word */
    fclose(said);
    remove("/tmp/hatchway-promtool.txt");
    hw_buf_free(&out);
    hw_metrics_destroy(&metrics);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_long_label_is_clipped),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_promtool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

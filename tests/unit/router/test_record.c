/* A line of the decision log: what is written is read again, and no line, however hostile, is taken
 * for more than it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/record.h"

static const uint16_t buckets[] = {1, 77, 40000, 65535};

static struct hw_record
full(void)
{
    struct hw_record record = {.time_ms = 1795257000123,
                               .request_id = "0123-000001",
                               .agent = "email-jr",
                               .dialect = "openai",
                               .path = "/v1/chat/completions",
                               .model = "auto",
                               .asked_role = "legal",
                               .role = "trading",
                               .role_source = HW_ROLE_BY_LEARNED,
                               .confidence = 0.75f,
                               .lane = HW_LANE_BACKGROUND,
                               .lane_from = HW_LANE_FROM_HEADER,
                               .prompt_bytes = 5000000000,
                               .prompt_tokens = 1250,
                               .max_tokens = 7,
                               .tools = true,
                               .stream = true,
                               .embeds = true,
                               .keepable = true,
                               .deterministic = true,
                               .no_cache = true,
                               .conversation = 0xfedcba9876543210u,
                               .text = "say \"hi\"\n\xc3\xa9",
                               .text_len = 11,
                               .text_bytes = 11,
                               .features = buckets,
                               .feature_count = 4,
                               .keywords_digest = 1,
                               .learned_digest = UINT64_MAX,
                               .route = "specialist",
                               .backend = "redfin",
                               .answered_model = "llama3.1:8b",
                               .fallback = true,
                               .cache = "miss",
                               .status = 200,
                               .attempts = 2,
                               .duration_us = 1234567,
                               .first_token_us = 1,
                               .ttft_us = 90071992547,
                               .decode_us = 1000,
                               .output_bytes = 99,
                               .usage_known = true,
                               .reported_prompt_tokens = 12,
                               .output_tokens = 34,
                               .finish = "length"};
    record.headers[0] = (struct hw_record_header){"x-team", "desk", 4};
    record.headers[1] = (struct hw_record_header){"x-none", NULL, 0};
    record.header_count = 2;
    record.candidates[0] = (struct hw_record_candidate){"redfin", 412.5};
    record.candidates[1] = (struct hw_record_candidate){"bluefin", 0};
    record.candidate_count = 2;
    return record;
}

static char *
written(const struct hw_record *record)
{
    static char text[HW_RECORD_LINE_MAX + 2];
    struct hw_buf out;
    hw_buf_init(&out, HW_RECORD_LINE_MAX);
    assert_int_equal(hw_record_write(record, &out), 0);
    assert_int_equal(out.data[out.len - 1], '\n');
    assert_null(memchr(out.data, '\n', out.len - 1));
    memcpy(text, out.data, out.len - 1);
    text[out.len - 1] = '\0';
    hw_buf_free(&out);
    return text;
}

static struct hw_arena arena;

static int
read_line(const char *line, struct hw_record *record, struct hw_err *err)
{
    hw_arena_free(&arena);
    hw_arena_init(&arena, 1u << 20);
    return hw_record_read(line, strlen(line), &arena, record, err);
}

static void
test_round_trip(void **state)
{
    struct hw_record in = full(), out;
    struct hw_err err = {{0}};
    char first[8192];
    (void)state;

    snprintf(first, sizeof(first), "%s", written(&in));
    if (read_line(first, &out, &err) != 0)
        fail_msg("%s: %s", err.msg, first);
    assert_true(out.time_ms == in.time_ms && out.prompt_bytes == in.prompt_bytes);
    assert_string_equal(out.agent, "email-jr");
    assert_true(out.role_source == HW_ROLE_BY_LEARNED && out.lane == HW_LANE_BACKGROUND);
    assert_true(out.conversation == in.conversation && out.learned_digest == UINT64_MAX);
    assert_memory_equal(out.features, buckets, sizeof(buckets));
    assert_int_equal(out.header_count, 2);
    assert_null(out.headers[1].value);
    assert_true(out.ttft_us == in.ttft_us && out.duration_us == in.duration_us);
    assert_string_equal(out.text, in.text);
    assert_string_equal(written(&out), first); /* nothing that was left out of the list above */
}

static void
test_least_is_enough(void **state)
{
    struct hw_record out;
    struct hw_err err = {{0}};
    (void)state;

    assert_int_equal(read_line("{\"v\":1,\"time\":\"2026-11-21T09:00:00Z\",\"dialect\":\"bdh\","
                               "\"newer\":[1],\"traits\":{\"role\":null},\"decision\":{},"
                               "\"outcome\":{}}",
                               &out, &err),
                     0);
    assert_true(out.time_ms == 1795251600000);
    assert_null(out.role);
    assert_null(out.text);
    assert_null(out.features);
    assert_int_equal(out.lane, HW_LANE_INTERACTIVE);
}

static void
test_another_version_of_features_is_none(void **state)
{
    struct hw_record in = full(), out;
    struct hw_err err = {{0}};
    (void)state;

    char *line = written(&in);
    char *version = strstr(line, "\"bits\":16");
    version[8] = '4'; /* bits 14 */
    assert_int_equal(read_line(line, &out, &err), 0);
    assert_null(out.features);
}

static void
test_bad_lines_say_what_is_wrong(void **state)
{
    static const struct {
        const char *traits, *says;
    } cases[] = {
        {"\"lane\":\"slow\"", "lane is no word that is known here"},
        {"\"lane\":7", "lane is no word"},
        {"\"confidence\":2", "confidence must be a number from 0 to 1, got 2"},
        {"\"prompt_tokens\":-1", "prompt_tokens must be a whole number"},
        {"\"tools\":\"yes\"", "tools must be true or false, got a string"},
        {"\"conversation\":\"xyz\"", "conversation must be a string of 16 hex digits"},
        {"\"conversation\":\"ABCDEF0123456789\"", "16 hex digits"},
        {"\"role\":[]", "role must be a string, got an array"},
        {"\"text\":\"a\\u0000b\"", "text: "},
        {"\"headers\":[]", "headers must be an object"},
        {"\"headers\":{\"x\":1}", "headers must be a string, got 1"},
        {"\"features\":{\"version\":3,\"bits\":16,\"buckets\":\"!\"}", "no base64"},
        {"\"features\":{\"version\":3,\"bits\":16,\"buckets\":\"AAE=\"}", NULL},
        {"\"features\":{\"version\":3,\"bits\":16,\"buckets\":\"AQABAA==\"}", "not in their order"},
        {"\"features\":{\"version\":3,\"bits\":16,\"buckets\":\"AQAB\"}", "no base64 of buckets"},
    };
    struct hw_record out;
    char line[512];
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hw_err err = {{0}};
        snprintf(line, sizeof(line),
                 "{\"v\":1,\"time\":\"2026-11-21T09:00:00.000Z\",\"dialect\":\"bdh\","
                 "\"traits\":{%s},\"decision\":{},\"outcome\":{}}",
                 cases[i].traits);
        int rc = read_line(line, &out, &err);
        if (cases[i].says == NULL)
            assert_int_equal(rc, 0);
        else if (rc == 0 || strstr(err.msg, cases[i].says) == NULL)
            fail_msg("%s: %d, '%s'", line, rc, err.msg);
    }
}

static void
test_what_is_no_record(void **state)
{
    static const char *const lines[] = {
        "",
        "{",
        "[]",
        "7",
        "null",
        "{}",
        "{\"v\":2}",
        "{\"v\":\"1\"}",
        "{\"v\":1}",
        "{\"v\":1,\"traits\":{},\"decision\":{},\"outcome\":{}}",
        "{\"v\":1,\"traits\":{},\"decision\":{},\"outcome\":{},\"time\":5,\"dialect\":\"x\"}",
        "{\"v\":1,\"traits\":{},\"decision\":{},\"outcome\":{},\"time\":\"now\",\"dialect\":\"x\"}",
        "{\"v\":1,\"traits\":{},\"decision\":{},\"outcome\":{},"
        "\"time\":\"2026-11-21T09:00:00.000Z\"}",
        "{\"v\":1,\"traits\":[],\"decision\":{},\"outcome\":{}}",
    };
    struct hw_record out;
    (void)state;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct hw_err err = {{0}};
        if (read_line(lines[i], &out, &err) == 0 || err.msg[0] == '\0')
            fail_msg("taken: %s", lines[i]);
    }
}

static void
test_every_prefix_is_refused(void **state)
{
    struct hw_record in = full(), out;
    char line[8192];
    (void)state;

    snprintf(line, sizeof(line), "%s", written(&in));
    for (size_t len = strlen(line); len-- > 0;) {
        line[len] = '\0';
        assert_int_not_equal(read_line(line, &out, NULL), 0);
    }
}

static void
test_too_long_a_line_is_not_written(void **state)
{
    struct hw_record record = full();
    struct hw_buf out;
    char *text = calloc(1, HW_RECORD_LINE_MAX);
    (void)state;

    memset(text, 'a', HW_RECORD_LINE_MAX - 1);
    record.text = text;
    record.text_len = HW_RECORD_LINE_MAX - 1;
    hw_buf_init(&out, 2 * HW_RECORD_LINE_MAX);
    assert_int_not_equal(hw_record_write(&record, &out), 0);
    hw_buf_free(&out);
    free(text);
}

static int
free_arena(void **state)
{
    (void)state;
    hw_arena_free(&arena);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_least_is_enough),
        cmocka_unit_test(test_another_version_of_features_is_none),
        cmocka_unit_test(test_bad_lines_say_what_is_wrong),
        cmocka_unit_test(test_what_is_no_record),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_too_long_a_line_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}

/* The text of a message where it stands: every head and tail of it is what a whole decoding says,
 * whatever it is written with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/api/text.h"

#define WHOLE "a\xc3\xbc\n\xf0\x9f\x90\x89/\"\\ z\xe2\x82\xac\xc3\xbc"

struct sample {
    const char *source;
    enum hw_source_kind kind;
    const char *whole;
};

static const struct sample samples[] = {
    {"", HW_SOURCE_NONE, ""},
    {WHOLE, HW_SOURCE_TEXT, WHOLE},
    {"\"plain\"", HW_SOURCE_STRING, "plain"},
    {"\"\"", HW_SOURCE_STRING, ""},
    {"\"a\xc3\xbc\\n\\ud83d\\udc09\\/\\\"\\\\ z\\u20ac\\u00fc\"", HW_SOURCE_STRING, WHOLE},
    {"[{\"type\":\"text\",\"text\":\"a\xc3\xbc\\n\"},{\"type\":\"image_url\"},"
     "{\"type\":\"text\",\"text\":\"\"},{\"text\":\"\\ud83d\\udc09\\/\\\"\\\\ "
     "\",\"type\":\"text\"},{\"type\":\"input_text\",\"text\":\"not this\"},"
     "{\"type\":\"refusal\",\"refusal\":\"z\\u20ac\\u00fc\"}]",
     HW_SOURCE_PARTS, WHOLE},
    {"[{\"type\":\"text\",\"text\":\"a\xc3\xbc\"},{\"type\":\"tool_use\",\"text\":\"not this\"},"
     "{\"type\":\"refusal\",\"refusal\":\"nor this\"},"
     "{\"type\":\"text\",\"text\":\"\\ud83d\\udc09\\/\\\"\\\\ z\\u20ac\\u00fc\"}]",
     HW_SOURCE_BLOCKS, WHOLE},
    {"[{\"type\":\"input_text\",\"text\":\"a\xc3\xbc\\n\"},{\"type\":\"input_image\"},"
     "{\"type\":\"output_text\",\"text\":\"\\ud83d\\udc09\\/\\\"\"},"
     "{\"type\":\"refusal\",\"refusal\":\"\\\\ \"},{\"type\":\"text\",\"text\":\"z\"},"
     "{\"type\":\"summary_text\",\"text\":\"\\u20ac\"},{\"type\":\"reasoning_text\",\"text\":"
     "\"\\u00fc\"}]",
     HW_SOURCE_ITEM_PARTS, WHOLE},
    {"[\"\", \"a\xc3\xbc\",\"\\ud83d\\udc09\\/\\\"\\\\ z\\u20ac\\u00fc\"]", HW_SOURCE_LINES, WHOLE},
};
#define SAMPLES (sizeof(samples) / sizeof(samples[0]))

static struct hw_message
message_of(const struct sample *sample)
{
    return (struct hw_message){.kind = sample->kind,
                               .source = sample->source,
                               .source_len = (uint32_t)strlen(sample->source),
                               .text_len = (uint32_t)strlen(sample->whole)};
}

static bool
is_boundary(const char *text, size_t at)
{
    return ((unsigned char)text[at] & 0xc0) != 0x80;
}

static void
heads_and_tails(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLES; i++) {
        const struct sample *sample = &samples[i];
        struct hw_message message = message_of(sample);
        size_t len = strlen(sample->whole);
        char *out = malloc(len + 1); /* no byte more, for ASan */
        for (size_t room = 0; room <= len + 1; room++) {
            size_t fit = room < len ? room : len, left = len - fit;
            while (!is_boundary(sample->whole, fit))
                fit--;
            while (!is_boundary(sample->whole, left))
                left++;
            size_t n = hw_text_head(&message, out, room);
            assert_int_equal(n, fit);
            assert_memory_equal(out, sample->whole, fit);
            n = hw_text_tail(&message, out, room);
            assert_int_equal(n, len - left);
            assert_memory_equal(out, sample->whole + left, n);
        }
        free(out);
    }
}

static void
put_as_one_string(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLES; i++) {
        const struct sample *sample = &samples[i];
        struct hw_message message = message_of(sample);
        char decoded[64];
        struct hw_buf buf;
        hw_buf_init(&buf, 1000);
        hw_text_put(&buf, &message);
        struct hw_json string = {HW_JSON_STRING, buf.data, buf.len};
        assert_int_equal(hw_json_decode(&string, decoded), strlen(sample->whole));
        assert_memory_equal(decoded, sample->whole, strlen(sample->whole));
        hw_buf_free(&buf);
    }
}

static void
a_long_text_is_shown_in_part(void **state)
{
    static const size_t lens[] = {1, HW_TEXT_HEAD + HW_TEXT_TAIL - 1, HW_TEXT_HEAD + HW_TEXT_TAIL,
                                  HW_TEXT_HEAD + HW_TEXT_TAIL + 1, 100000};

    (void)state;
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct hw_message message = {.role = HW_MSG_USER};
        struct hw_arena arena;
        struct hw_err err;
        const char *text;
        size_t len = lens[i], shown;
        char *json = malloc(len + 2);
        memset(json, 'x', len + 2);
        json[0] = json[len + 1] = '"';
        json[len] = 'z';
        struct hw_json string = {HW_JSON_STRING, json, len + 2};
        hw_arena_init(&arena, 1 << 16);
        assert_int_equal(hw_text_set(&message, &string, &err), 0);
        assert_int_equal(message.text_len, len);
        assert_ptr_equal(message.source, json);
        hw_text_excerpt(&message, &arena, &text, &shown);
        assert_int_equal(shown,
                         len < HW_TEXT_HEAD + HW_TEXT_TAIL ? len : HW_TEXT_HEAD + HW_TEXT_TAIL);
        assert_int_equal(text[shown - 1], 'z');
        assert_int_equal(text[shown], '\0');
        assert_int_equal(text[0], len == 1 ? 'z' : 'x');
        hw_arena_free(&arena);
        free(json);
    }
}

static void
zeroes_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"\"a\\u0000\"", "\"\\\\\\u0000\""};
    static const char *const good[] = {"\"\\\\u0000\"", "\"\\u0001\""};
    struct hw_err err;
    size_t len;

    for (size_t i = 0; i < 2; i++) {
        struct hw_json string = {HW_JSON_STRING, bad[i], strlen(bad[i])};
        assert_int_equal(hw_text_measure(&string, &len, &err), HW_EINVAL);
        assert_string_equal(err.msg, "must not contain \\u0000");
    }
    for (size_t i = 0; i < 2; i++) {
        struct hw_json string = {HW_JSON_STRING, good[i], strlen(good[i])};
        assert_int_equal(hw_text_measure(&string, &len, &err), 0);
        assert_int_equal(len, i == 0 ? 6 : 1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_and_tails),
        cmocka_unit_test(put_as_one_string),
        cmocka_unit_test(a_long_text_is_shown_in_part),
        cmocka_unit_test(zeroes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

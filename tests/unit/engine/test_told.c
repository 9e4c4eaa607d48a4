/* Log-probabilities beside the text: whatever bytes come and whatever ends the answer, the bytes
 * that were told of read as the text that was sent, at each step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/told.h"

#define BAD "\xef\xbf\xbd"

enum { NO_BYTE = 256, VOCAB = 257 };

static const float logits[VOCAB];

struct answer {
    struct hw_textout out;
    struct hw_told *told;
    struct hw_textout reader; /* of what was told: knows of no stop string */
    struct hw_buf text, read;
    size_t told_count;
};

static void
begin(struct answer *a, const char *const *stops)
{
    *a = (struct answer){.told = hw_told_create(0)};
    assert_non_null(a->told);
    hw_textout_init(&a->out);
    hw_textout_init(&a->reader);
    hw_buf_init(&a->text, 4000);
    hw_buf_init(&a->read, 4000);
    for (; *stops != NULL; stops++)
        assert_true(hw_textout_add_stop(&a->out, *stops));
}

static void
end(struct answer *a)
{
    hw_told_destroy(&a->told);
    hw_buf_free(&a->text);
    hw_buf_free(&a->read);
}

/* What is told reads as what is sent. */
static void
expect_agreement(struct answer *a)
{
    const struct hw_logprob *logprobs;

    while (hw_told_take(a->told, &logprobs) > 0) {
        a->told_count++;
        if (logprobs[0].token < NO_BYTE)
            hw_textout_byte(&a->reader, (uint8_t)logprobs[0].token, &a->read);
        else
            hw_textout_no_byte(&a->reader, &a->read);
    }
    struct hw_textout so_far = a->reader;
    size_t whole = a->read.len;
    hw_textout_finish(&so_far, &a->read);
    assert_int_equal(a->read.len, a->text.len);
    if (a->text.len > 0)
        assert_memory_equal(a->read.data, a->text.data, a->text.len);
    a->read.len = whole;
}

/* As hw_generation does with each token; false at the stop string. */
static bool
take(struct answer *a, uint32_t token)
{
    hw_told_note(a->told, logits, VOCAB, token);
    bool stopped = token < NO_BYTE ? hw_textout_byte(&a->out, (uint8_t)token, &a->text)
                                   : hw_textout_no_byte(&a->out, &a->text);
    if (stopped)
        hw_told_finish(a->told, &a->out);
    else
        hw_told_settle(a->told, &a->out);
    expect_agreement(a);
    return !stopped;
}

static void
finish(struct answer *a)
{
    hw_textout_finish(&a->out, &a->text);
    hw_told_finish(a->told, &a->out);
    expect_agreement(a);
}

static void
test_named_cases(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *stop, *text;
        size_t told;
    } cases[] = {
        {"a\xff\xffSTOP", "STOP", "a" BAD BAD, 3}, /* no text before a stop string */
        {"a\xe2\x82STOP", "STOP", "a" BAD, 3},     /* a character that breaks off there */
        {"ab\xffz", BAD, "ab", 2},                 /* the stop string is what one byte becomes */
        {"ab\xe2\x82z", BAD, "ab", 2},             /* what two become, when a third has come */
        {"ab\xe2\x82", BAD, "ab", 2},              /* or the end */
        {"ab" BAD "z", BAD, "ab", 2},              /* or what it is itself */
        {"ab\xff\xff!", BAD "!", "ab" BAD, 3},     /* its beginning, and another one */
        {"ab\xff\xe2\x82?", BAD "!", "ab" BAD BAD "?", 6}, /* which comes to nothing */
        {"ab\xff", "b" BAD "!", "ab" BAD, 3},              /* or is not finished */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *stops[] = {cases[i].stop, NULL};
        struct answer a;
        bool goes_on = true;
        begin(&a, stops);
        for (const char *at = cases[i].bytes; goes_on && *at != '\0'; at++)
            goes_on = take(&a, (uint8_t)*at);
        if (goes_on)
            finish(&a);
        assert_int_equal(a.text.len, strlen(cases[i].text));
        assert_memory_equal(a.text.data, cases[i].text, a.text.len);
        assert_int_equal(a.told_count, cases[i].told);
        end(&a);
    }
}

/* Few kinds of tokens, so that all that can meet does. */
static void
test_whatever_comes(void **state)
{
    (void)state;
    static const uint32_t tokens[] = {'a',  'b',  0xff, 0xe2, 0x82, 0xac,
                                      0xf0, 0x9f, 0xef, 0xbf, 0xbd, NO_BYTE};
    static const char *const stops[][4] = {
        {"ab"}, {BAD BAD BAD}, {"a" BAD "b"}, {BAD "a", "b" BAD}, {"\xe2\x82\xac" BAD, "aab"}};
    uint32_t random = 1;

    for (int round = 0; round < 3000; round++) {
        struct answer a;
        bool goes_on = true;
        begin(&a, stops[round % 5]);
        for (int i = 0; goes_on && i < 60; i++) {
            random = random * 1664525u + 1013904223u;
            goes_on = take(&a, tokens[(random >> 16) % 12]);
        }
        if (goes_on)
            finish(&a);
        end(&a);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_named_cases),
        cmocka_unit_test(test_whatever_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

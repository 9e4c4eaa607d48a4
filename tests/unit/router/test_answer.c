/* Events add up to an answer; a kept answer comes back as it was, or is refused. */
#include "api_help.h"

static void
add_text(struct hw_answer *answer, enum hw_event_type type, const char *text)
{
    struct hw_event event = {.type = type, .text = text, .len = strlen(text)};

    hw_answer_add(answer, &event);
}

static void
add_call(struct hw_answer *answer, uint32_t index, const char *id, const char *name,
         const char *arguments)
{
    struct hw_event event = {.type = HW_EVENT_TOOL_CALL,
                             .index = index,
                             .id = id,
                             .name = name,
                             .text = arguments,
                             .len = strlen(arguments)};

    hw_answer_add(answer, &event);
}

static void
fill(struct hw_answer *answer)
{
    struct hw_event finish = {.type = HW_EVENT_FINISH,
                              .finish = HW_FINISH_TOOL_CALLS,
                              .usage = {true, 1u << 20, UINT64_MAX}};

    hw_answer_init(answer, 1000);
    add_text(answer, HW_EVENT_REASONING, "hm");
    add_text(answer, HW_EVENT_TEXT, "Hello, ");
    add_text(answer, HW_EVENT_TEXT, "\xc3\xa9");
    add_call(answer, 0, "c0", "f", "{");
    add_call(answer, 1, "c1", "g", "{}");
    add_call(answer, 0, NULL, NULL, "}");
    hw_answer_add(answer, &finish);
}

static void
events_add_up(void **state)
{
    struct hw_answer answer;

    (void)state;
    fill(&answer);
    assert_false(answer.overflowed);
    assert_string_equal(answer.text.data, "Hello, \xc3\xa9");
    assert_string_equal(answer.reasoning.data, "hm");
    assert_int_equal(answer.tool_call_count, 2);
    assert_string_equal(answer.tool_calls[0].arguments.data, "{}");
    assert_string_equal(answer.tool_calls[1].name, "g");
    assert_int_equal(answer.finish, HW_FINISH_TOOL_CALLS);
    hw_answer_free(&answer);
    hw_answer_free(&answer); /* twice is fine */
}

static void
too_much_is_not_kept(void **state)
{
    struct hw_kept kept = {.backend = "b", .model = "m"};
    struct hw_answer answer;
    struct hw_buf out;

    (void)state;
    hw_answer_init(&answer, 10);
    add_text(&answer, HW_EVENT_TEXT, "12345");
    add_text(&answer, HW_EVENT_REASONING, "67890");
    assert_false(answer.overflowed);
    add_text(&answer, HW_EVENT_TEXT, "x");
    assert_true(answer.overflowed);
    assert_int_equal(answer.text.len, 5);
    hw_buf_init(&out, 1000);
    assert_int_equal(hw_answer_encode(&answer, &kept, &out), HW_ELIMIT);
    hw_buf_free(&out);
    hw_answer_free(&answer);

    hw_answer_init(&answer, 10);
    add_call(&answer, 0, "long id", "long name", "");
    assert_true(answer.overflowed);
    assert_int_equal(answer.tool_call_count, 0);
    hw_answer_free(&answer);

    hw_answer_init(&answer, 10000);
    for (uint32_t i = 0; i < HW_MAX_TOOL_CALLS; i++)
        add_call(&answer, i, "c", "f", "{}");
    assert_false(answer.overflowed);
    add_call(&answer, HW_MAX_TOOL_CALLS, "c", "f", "{}");
    assert_true(answer.overflowed);
    hw_answer_free(&answer);
}

static void
same(const struct hw_buf *a, const struct hw_buf *b)
{
    assert_int_equal(a->len, b->len);
    if (a->len > 0)
        assert_memory_equal(a->data, b->data, a->len);
}

/* Decodes a block of exactly its size. */
static int
decode(const char *bytes, size_t len, size_t max_bytes, struct hw_kept *kept,
       struct hw_answer *answer, struct hw_err *err)
{
    uint8_t *copy = malloc(len + 1);

    assert_non_null(copy);
    memcpy(copy + 1, bytes, len);
    int rc = hw_answer_decode(copy + 1, len, max_bytes, kept, answer, err);
    free(copy);
    return rc;
}

static void
a_kept_answer_comes_back(void **state)
{
    struct hw_kept kept = {.backend = "redfin", .model = "llama3.1:8b", .created_s = 1790000000};
    struct hw_kept back;
    struct hw_answer answer, again;
    struct hw_err err;
    struct hw_buf out;

    (void)state;
    fill(&answer);
    hw_buf_init(&out, 4096);
    assert_int_equal(hw_answer_encode(&answer, &kept, &out), 0);
    assert_int_equal(decode(out.data, out.len, 1000, &back, &again, &err), 0);
    assert_string_equal(back.backend, "redfin");
    assert_string_equal(back.model, "llama3.1:8b");
    assert_true(back.created_s == kept.created_s);
    same(&again.text, &answer.text);
    same(&again.reasoning, &answer.reasoning);
    assert_int_equal(again.tool_call_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(again.tool_calls[i].id, answer.tool_calls[i].id);
        assert_string_equal(again.tool_calls[i].name, answer.tool_calls[i].name);
        same(&again.tool_calls[i].arguments, &answer.tool_calls[i].arguments);
    }
    assert_int_equal(again.finish, answer.finish);
    assert_true(again.usage.known && again.usage.output_tokens == UINT64_MAX);
    hw_answer_free(&again);
    /* Cut anywhere, or with something behind it, it is none. */
    for (size_t cut = 0; cut < out.len; cut++)
        assert_int_equal(decode(out.data, cut, 1000, &back, &again, &err), HW_EINVAL);
    hw_buf_append(&out, "", 1);
    assert_int_equal(decode(out.data, out.len, 1000, &back, &again, &err), HW_EINVAL);
    out.len--;
    assert_int_equal(decode(out.data, out.len, 12, &back, &again, &err), HW_ELIMIT);
    hw_buf_free(&out);
    hw_answer_free(&answer);
}

static void
one_wrong_byte_never_harms(void **state)
{
    struct hw_kept kept = {.backend = "b", .model = "m"};
    struct hw_answer answer;
    struct hw_buf out;

    (void)state;
    fill(&answer);
    hw_buf_init(&out, 4096);
    assert_int_equal(hw_answer_encode(&answer, &kept, &out), 0);
    hw_answer_free(&answer);
    for (size_t i = 0; i < out.len; i++)
        for (int value = 0; value < 256; value += 15) {
            struct hw_kept back;
            char old = out.data[i];
            out.data[i] = (char)value;
            if (decode(out.data, out.len, 1000, &back, &answer, NULL) == 0)
                hw_answer_free(&answer);
            out.data[i] = old;
        }
    hw_buf_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_add_up),
        cmocka_unit_test(too_much_is_not_kept),
        cmocka_unit_test(a_kept_answer_comes_back),
        cmocka_unit_test(one_wrong_byte_never_harms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

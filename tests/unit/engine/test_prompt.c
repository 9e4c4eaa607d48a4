/* How turns become the bytes a model reads, with a template and without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/prompt.h"

static const struct hw_bdh_template trained = {"Q: ", "\nA: ", "\n"};
static const struct hw_bdh_template foreign;

static void
turn(struct hw_prompt *prompt, enum hw_prompt_role role, const char *text)
{
    assert_int_equal(hw_prompt_turn(prompt, role, false, text, strlen(text)), 0);
}

static void
expect_asked(struct hw_prompt *prompt, const char *text, const char *end)
{
    assert_int_equal(hw_prompt_ask(prompt), 0);
    assert_string_equal(prompt->text.data == NULL ? "" : prompt->text.data, text);
    assert_string_equal(hw_prompt_end(prompt), end);
    hw_prompt_free(prompt);
}

static void
test_trained(void **state)
{
    (void)state;
    struct hw_prompt p;
    hw_prompt_init(&p, &trained, 1000);
    turn(&p, HW_PROMPT_SYSTEM, "You are terse.");
    turn(&p, HW_PROMPT_USER, "  What is it?\n ");
    expect_asked(&p, "Q: What is it?\nA: ", "\n");

    hw_prompt_init(&p, &trained, 1000);
    turn(&p, HW_PROMPT_USER, "One?");
    turn(&p, HW_PROMPT_ASSISTANT, " Two. ");
    turn(&p, HW_PROMPT_SYSTEM, "never seen");
    turn(&p, HW_PROMPT_USER, "Three?");
    expect_asked(&p, "Q: One?\nA: Two.\nQ: Three?\nA: ", "\n");

    hw_prompt_init(&p, &trained, 1000);
    turn(&p, HW_PROMPT_USER, " \n ");
    expect_asked(&p, "Q: \nA: ", "\n");

    hw_prompt_init(&p, &trained, 1000);
    expect_asked(&p, "\nA: ", "\n");
}

static void
test_raw(void **state)
{
    (void)state;
    struct hw_prompt p;
    hw_prompt_init(&p, &trained, 1000);
    turn(&p, HW_PROMPT_RAW, " as it ");
    turn(&p, HW_PROMPT_RAW, "is ");
    expect_asked(&p, " as it is ", "");

    hw_prompt_init(&p, &foreign, 1000);
    turn(&p, HW_PROMPT_RAW, "a");
    turn(&p, HW_PROMPT_RAW, "b");
    expect_asked(&p, "ab", "");
}

static void
test_foreign(void **state)
{
    (void)state;
    struct hw_prompt p;
    hw_prompt_init(&p, &foreign, 1000);
    turn(&p, HW_PROMPT_SYSTEM, "Be brief.");
    turn(&p, HW_PROMPT_USER, " hi ");
    turn(&p, HW_PROMPT_ASSISTANT, "ho");
    expect_asked(&p, "Be brief.\n hi \nho", "");
}

static void
test_pieces(void **state)
{
    (void)state;
    struct hw_prompt p;
    hw_prompt_init(&p, &trained, 1000);
    assert_int_equal(hw_prompt_turn(&p, HW_PROMPT_USER, false, "  ", 2), 0);
    assert_int_equal(hw_prompt_turn(&p, HW_PROMPT_USER, true, " long", 5), 0);
    assert_int_equal(hw_prompt_turn(&p, HW_PROMPT_USER, true, " one ", 5), 0);
    expect_asked(&p, "Q: long one\nA: ", "\n");

    hw_prompt_init(&p, &trained, 1000); /* "more" of another role, or of nothing, is a new turn */
    assert_int_equal(hw_prompt_turn(&p, HW_PROMPT_USER, true, "a", 1), 0);
    assert_int_equal(hw_prompt_turn(&p, HW_PROMPT_ASSISTANT, true, "b", 1), 0);
    assert_int_equal(hw_prompt_turn(&p, HW_PROMPT_USER, true, "c", 1), 0);
    expect_asked(&p, "Q: a\nA: b\nQ: c\nA: ", "\n");
}

static void
test_limit(void **state)
{
    (void)state;
    struct hw_prompt p;
    hw_prompt_init(&p, &trained, 10);
    assert_int_equal(hw_prompt_turn(&p, HW_PROMPT_USER, false, "12345678", 8), HW_ELIMIT);
    assert_int_equal(hw_prompt_ask(&p), HW_ELIMIT); /* and it stays refused */
    hw_prompt_free(&p);
}

static void
test_trim(void **state)
{
    (void)state;
    size_t len = 9;
    const char *text = hw_prompt_trim(" \ta b \r\n ", &len);
    assert_int_equal(len, 3);
    assert_memory_equal(text, "a b", 3);
    len = 3;
    hw_prompt_trim("   ", &len);
    assert_int_equal(len, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trained), cmocka_unit_test(test_raw),
        cmocka_unit_test(test_foreign), cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_limit),   cmocka_unit_test(test_trim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

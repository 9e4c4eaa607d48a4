/* The strict scanner: what RFC 8259 allows passes, everything else is refused with its place. */
#include "api_help.h"

/* Validates a copy that ends where its block ends, so that a sanitizer sees a read too far. */
static int
validate(const char *text, size_t len, const struct hw_json_limits *limits, struct hw_err *err)
{
    struct hw_json root;
    char *copy = malloc(len + 1);

    assert_non_null(copy);
    memcpy(copy + 1, text, len);
    int rc = hw_json_validate(copy + 1, len, limits, &root, err);
    if (rc == 0) {
        assert_true(root.len <= len);
        assert_true(root.len > 0);
    }
    free(copy);
    return rc;
}

static void
good_documents_pass(void **state)
{
    static const char *const good[] = {
        "0",
        "-0",
        "-0.0",
        "1e5",
        "1E+05",
        "0.5e-7",
        "123456789012345678901234567890",
        "true",
        "false",
        "null",
        "\"\"",
        " \t\r\n[ ]\n",
        "{}",
        "[{}]",
        "[[],[],{}]",
        "{\"\":0}",
        "{ \"a\" : 1 , \"b\" : [ 1 , 2 ] }",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"",
        "\"\\ud83d\\ude00\"",
        "\"\\u0000\"",
        "\"\x7f\"",
        "\"\xc2\x80\xdf\xbf\"",
        "\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\"",
        "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"",
        "{\"a\":1,\"a\":2}",
        "[\"12345678\",\"123456789\"]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct hw_err err;
        if (validate(good[i], strlen(good[i]), &help_limits, &err) != 0)
            fail_msg("%s: %s", good[i], err.msg);
    }
}

static void
bad_documents_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x10",
        "-01",
        "1.e5",
        "NaN",
        "Infinity",
        "tru",
        "nul",
        "True",
        "'a'",
        "\"",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u\"",
        "\"a\nb\"",
        "\"\x01\"",
        "\"\t\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800\\ud800\"",
        "\"\\ud83d\\ude0\"",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{",
        "}",
        "{]",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{a:1}",
        "{1:2}",
        "{\"a\" 1}",
        "{\"a\",1}",
        "{,}",
        "1 2",
        "{}{}",
        "[]x",
        "{} \"",
        "//",
        "[1]//c",
        "\xef\xbb\xbf{}",
        "\"\x80\"",
        "\"\xc0\x80\"",
        "\"\xc1\xbf\"",
        "\"\xc3\"",
        "\"\xc3(\"",
        "\"\xe0\x80\x80\"",
        "\"\xe0\x9f\xbf\"",
        "\"\xed\xa0\x80\"",
        "\"\xed\xbf\xbf\"",
        "\"\xf0\x80\x80\x80\"",
        "\"\xf0\x8f\xbf\xbf\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xf5\x80\x80\x80\"",
        "\"\xff\"",
        "\"\xe2\x82\"",
        "\"\xf0\x9f\x98\"",
        "\xc2\xa0"
        "1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct hw_err err = {{0}};
        int rc = validate(bad[i], strlen(bad[i]), &help_limits, &err);
        if (rc != HW_EINVAL || strncmp(err.msg, "invalid JSON at byte ", 21) != 0)
            fail_msg("%s: %d %s", bad[i], rc, err.msg);
    }
    /* A byte 0 is no end of the text. */
    assert_int_equal(validate("{}\0", 3, &help_limits, NULL), HW_EINVAL);
    assert_int_equal(validate("\"a\0b\"", 5, &help_limits, NULL), HW_EINVAL);
    assert_int_equal(validate("\"\\\0\"", 4, &help_limits, NULL), HW_EINVAL);
}

static void
the_place_is_named(void **state)
{
    struct hw_err err;

    (void)state;
    assert_int_equal(validate("{\"a\":01}", 8, &help_limits, &err), HW_EINVAL);
    assert_string_equal(err.msg, "invalid JSON at byte 6: a number must not begin with 0");
    assert_int_equal(validate("[1]]", 4, &help_limits, &err), HW_EINVAL);
    assert_string_equal(err.msg, "invalid JSON at byte 3: something stands behind the value");
}

static void
every_prefix_is_refused(void **state)
{
    static const char whole[] = "{\"model\":\"m\\u00e9\\ud83d\\ude00\",\"x\":[1,-2.5e3,true,false,"
                                "null,{\"k\":\"\xf0\x9f\x98\x80\"}]}";

    (void)state;
    for (size_t cut = 0; cut < sizeof(whole) - 1; cut++)
        assert_int_equal(validate(whole, cut, &help_limits, NULL), HW_EINVAL);
    assert_int_equal(validate(whole, sizeof(whole) - 1, &help_limits, NULL), 0);
}

static void
limits_bound_the_work(void **state)
{
    static const struct hw_json_limits limits = {.depth = 3, .nodes = 5};
    static const struct hw_json_limits deep = {.depth = 100000, .nodes = 100000};
    struct hw_err err;
    char nested[4096];

    (void)state;
    assert_int_equal(validate("[[[1]]]", 7, &limits, &err), 0);
    assert_int_equal(validate("[[[[1]]]]", 9, &limits, &err), HW_ELIMIT);
    assert_string_equal(err.msg,
                        "JSON at byte 3 is nested deeper than 3 levels (limits.json_depth)");
    assert_int_equal(validate("[1,2,3,4]", 9, &limits, &err), 0);
    assert_int_equal(validate("[1,2,3,4,5]", 11, &limits, &err), HW_ELIMIT);
    assert_string_equal(err.msg, "JSON holds more than 5 values (limits.json_nodes)");
    memset(nested, '[', 2048);
    memset(nested + 2048, ']', 2048);
    assert_int_equal(validate(nested, 4096, &deep, &err), HW_ELIMIT); /* our own bound */
}

static struct hw_json
root_of(const char *text)
{
    struct hw_json root;

    assert_int_equal(hw_json_validate(text, strlen(text), &help_limits, &root, NULL), 0);
    return root;
}

static void
cursors_walk_what_was_validated(void **state)
{
    struct hw_json root =
        root_of(" { \"a\" : [1, {\"b\":\"]\\\\\"} , \"\\\"}\"] , \"c\":-1.5e3,\"d\":{} } ");
    struct hw_json_iter iter;
    struct hw_json key, value, inner;
    static const char *const values[] = {"[1, {\"b\":\"]\\\\\"} , \"\\\"}\"]", "-1.5e3", "{}"};
    static const char *const keys[] = {"a", "c", "d"};
    size_t n = 0;

    (void)state;
    hw_json_iter_init(&iter, &root);
    for (; hw_json_next(&iter, &key, &value); n++) {
        assert_true(n < 3);
        assert_true(hw_json_string_is(&key, keys[n]));
        assert_int_equal(value.len, strlen(values[n]));
        assert_memory_equal(value.p, values[n], value.len);
    }
    assert_int_equal(n, 3);
    assert_true(hw_json_get(&root, "a", &value));
    assert_int_equal(value.type, HW_JSON_ARRAY);
    hw_json_iter_init(&iter, &value);
    assert_true(hw_json_next(&iter, NULL, &inner));
    assert_int_equal(inner.type, HW_JSON_NUMBER);
    assert_true(hw_json_next(&iter, NULL, &inner));
    assert_int_equal(inner.type, HW_JSON_OBJECT);
    assert_true(hw_json_next(&iter, NULL, &inner));
    assert_true(hw_json_string_is(&inner, "\"}"));
    assert_false(hw_json_next(&iter, NULL, &inner));
    assert_false(hw_json_get(&root, "e", &value));
    assert_false(hw_json_get(&inner, "e", &value)); /* no object */
    hw_json_iter_init(&iter, &inner);
    assert_false(hw_json_next(&iter, NULL, &value)); /* no container */
}

static void
strings_are_decoded(void **state)
{
    struct hw_json root = root_of("\"a\\n\\t\\\"\\\\\\/\\u00e9\\u20ac\\uD83D\\uDE00z\"");
    struct hw_arena arena;
    struct hw_err err;
    const char *text;
    size_t len;

    (void)state;
    hw_arena_init(&arena, 4096);
    assert_int_equal(hw_json_string(&root, &arena, &text, &len, &err), 0);
    assert_string_equal(text, "a\n\t\"\\/\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
    assert_int_equal(len, strlen(text));
    assert_true(hw_json_string_is(&root, text));
    root = root_of("\"plain\"");
    assert_int_equal(hw_json_string(&root, &arena, &text, &len, &err), 0);
    assert_string_equal(text, "plain");
    root = root_of("\"a\\u0000b\"");
    assert_int_equal(hw_json_string(&root, &arena, &text, &len, &err), HW_EINVAL);
    root = root_of("17");
    assert_int_equal(hw_json_string(&root, &arena, &text, &len, &err), HW_EINVAL);
    hw_arena_free(&arena);
    hw_arena_init(&arena, 16);
    root = root_of("\"more than sixteen bytes of text\"");
    assert_int_equal(hw_json_string(&root, &arena, &text, &len, &err), HW_ELIMIT);
    hw_arena_free(&arena);
}

static void
names_compare_decoded(void **state)
{
    static const struct {
        const char *json, *text;
        bool same;
    } table[] = {
        {"\"model\"", "model", true},         {"\"mod\\u0065l\"", "model", true},
        {"\"model\"", "mode", false},         {"\"mode\"", "model", false},
        {"\"Model\"", "model", false},        {"\"\"", "", true},
        {"\"a\\\\b\"", "a\\b", true},         {"\"a\\\\b\"", "a\\\\b", false},
        {"\"model\\u0000\"", "model", false}, {"5", "5", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct hw_json root = root_of(table[i].json);
        if (hw_json_string_is(&root, table[i].text) != table[i].same)
            fail_msg("%s against %s", table[i].json, table[i].text);
    }
}

static void
numbers_are_exact(void **state)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t value;
    } table[] = {
        {"0", true, 0},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"9007199254740993", true, 9007199254740993u},
        {"1.0", true, 1},
        {"1e3", true, 1000},
        {"1.5", false, 0},
        {"-1", false, 0},
        {"-0", true, 0},
        {"1e400", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
    };
    double number;
    char digits[400];

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct hw_json root = root_of(table[i].text);
        uint64_t value = 0;
        assert_int_equal(hw_json_uint(&root, &value), table[i].good);
        if (table[i].good)
            assert_true(value == table[i].value);
    }
    struct hw_json root = root_of("-2.5e-1");
    assert_true(hw_json_number(&root, &number));
    assert_true(number == -0.25);
    root = root_of("1e400");
    assert_false(hw_json_number(&root, &number));
    memset(digits, '1', sizeof(digits));
    digits[sizeof(digits) - 1] = '\0';
    root = root_of(digits);
    assert_false(hw_json_number(&root, &number));
}

static void
strings_are_written(void **state)
{
    struct hw_buf out;

    (void)state;
    hw_buf_init(&out, 1000);
    assert_int_equal(hw_json_write_string(&out, "a\"b\\c\n\r\t\b\f\x01\x1f\x7f\xc3\xa9\0z", 17), 0);
    assert_string_equal(out.data,
                        "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\\u001f\x7f\xc3\xa9\\u0000z\"");
    hw_buf_clear(&out);
    assert_int_equal(hw_json_write_string(&out,
                                          "\x80"
                                          "a\xe2\x82"
                                          "b\xed\xa0\x80\xf0\x9f\x98",
                                          11),
                     0);
    assert_int_equal(validate(out.data, out.len, &help_limits, NULL), 0);
    assert_memory_equal(out.data,
                        "\"\xef\xbf\xbd"
                        "a\xef\xbf\xbd",
                        8);
    hw_buf_clear(&out);
    assert_int_equal(hw_json_write_escaped(&out, "", 0), 0);
    assert_int_equal(out.len, 0);
    hw_buf_free(&out);
    hw_buf_init(&out, 3);
    assert_int_equal(hw_json_write_string(&out, "abcdef", 6), HW_ELIMIT);
    hw_buf_free(&out);
}

/* Whatever bytes are written come out as valid JSON, and plain text comes back as it was. */
static void
what_is_written_is_valid(void **state)
{
    struct hw_buf out;
    char bytes[64];
    uint32_t dice = 12345;

    (void)state;
    hw_buf_init(&out, 10000);
    for (int round = 0; round < 20000; round++) {
        size_t len = (size_t)round % sizeof(bytes);
        for (size_t i = 0; i < len; i++) {
            dice = dice * 1664525u + 1013904223u;
            bytes[i] = (char)(round % 2 == 0 ? dice >> 24 : dice >> 25);
        }
        hw_buf_clear(&out);
        assert_int_equal(hw_json_write_string(&out, bytes, len), 0);
        struct hw_json root;
        assert_int_equal(hw_json_validate(out.data, out.len, &help_limits, &root, NULL), 0);
        if (round % 2 == 0)
            continue;
        char back[sizeof(bytes) * 6 + 2];
        assert_int_equal(hw_json_decode(&root, back), len);
        assert_memory_equal(back, bytes, len);
    }
    hw_buf_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_documents_pass),
        cmocka_unit_test(bad_documents_are_refused),
        cmocka_unit_test(the_place_is_named),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(limits_bound_the_work),
        cmocka_unit_test(cursors_walk_what_was_validated),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(names_compare_decoded),
        cmocka_unit_test(numbers_are_exact),
        cmocka_unit_test(strings_are_written),
        cmocka_unit_test(what_is_written_is_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Lists of models, as peers send them. */
#include "api_help.h"
#include "router/api/model_list.h"

static struct hw_found *
read_list(enum hw_kind kind, const char *text)
{
    struct hw_found *found = NULL;
    struct hw_err err = {{0}};

    if (hw_model_list_read(kind, text, strlen(text), &found, &err) != 0)
        fail_msg("%s: %s", text, err.msg);
    return found;
}

static void
ollamas(void **state)
{
    struct hw_found *found = read_list(
        HW_KIND_OLLAMA,
        "{\"models\":[{\"name\":\"llama3.1:8b\",\"model\":\"llama3.1:8b\",\"modified_at\":"
        "\"2026-01-02T03:04:05Z\",\"size\":4920753328,\"digest\":\"46e0\",\"details\":{\"family\":"
        "\"llama\",\"parameter_size\":\"8.0B\",\"quantization_level\":\"Q4_K_M\",\"format\":"
        "\"gguf\"}},{\"model\":\"only-model\"},{\"name\":\"\"},{\"name\":\"a\\nb\"},7,{}]}");
    const char ps[] = "{\"models\":[{\"name\":\"LLAMA3.1:8b\",\"expires_at\":\"soon\","
                      "\"size_vram\":12,\"context_length\":8192},{\"name\":\"other\"},3]}";

    (void)state;
    assert_int_equal(found->count, 2);
    assert_string_equal(found->models[0].name, "llama3.1:8b");
    assert_string_equal(found->models[0].digest, "46e0");
    assert_string_equal(found->models[0].family, "llama");
    assert_string_equal(found->models[0].quantization, "Q4_K_M");
    assert_true(found->models[0].size == 4920753328u);
    assert_string_equal(found->models[1].name, "only-model");
    assert_false(found->loaded_known);
    assert_int_equal(hw_model_list_read_loaded(ps, sizeof(ps) - 1, found, NULL), 0);
    assert_true(found->loaded_known && found->models[0].loaded && !found->models[1].loaded);
    assert_int_equal(found->models[0].context, 8192);
    assert_string_equal(found->models[0].expires, "soon");
    hw_found_unref(found);
    found = read_list(HW_KIND_OLLAMA, "{\"models\":null}");
    assert_int_equal(found->count, 0);
    hw_found_unref(found);
}

static void
openais(void **state)
{
    struct hw_found *found =
        read_list(HW_KIND_OPENAI, "{\"object\":\"list\",\"data\":[{\"id\":\"auto\",\"owned_by\":"
                                  "\"hatchway\"},{\"id\":\"small\",\"owned_by\":\"vllm\"}]}");

    (void)state;
    assert_int_equal(found->count, 1);
    assert_string_equal(found->models[0].name, "small");
    hw_found_unref(found);
}

static void
hostile_ones(void **state)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"models\":7}",
                                      "{\"models\":[",
                                      "{\"data\":[]}",
                                      "\xff",
                                      "{\"models\":{}}"};
    struct hw_found *found = NULL;
    struct hw_buf text;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct hw_err err = {{0}};
        assert_int_not_equal(
            hw_model_list_read(HW_KIND_OLLAMA, bad[i], strlen(bad[i]), &found, &err), 0);
        assert_true(found == NULL && err.msg[0] != '\0');
    }
    hw_buf_init(&text, 1 << 20);
    hw_buf_puts(&text, "{\"models\":[{\"name\":\"");
    for (int i = 0; i < 200; i++)
        hw_buf_puts(&text, "x"); /* too long a name */
    hw_buf_puts(&text, "\"}");
    for (int i = 0; i < 2000; i++)
        hw_buf_printf(&text, ",{\"name\":\"m%d\",\"size\":1e400}", i);
    hw_buf_puts(&text, "]}");
    found = read_list(HW_KIND_OLLAMA, text.data);
    assert_int_equal(found->count, HW_MAX_FOUND_MODELS);
    assert_string_equal(found->models[0].name, "m0");
    assert_true(found->models[0].size == 0);
    hw_found_unref(found);
    hw_buf_free(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ollamas),
        cmocka_unit_test(openais),
        cmocka_unit_test(hostile_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

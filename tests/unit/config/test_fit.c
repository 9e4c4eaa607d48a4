/* Whether a model fits its device, and what to do when it does not. */
#include "help.h"

#include "config/fit.h"

static void
sizes_in_names(void **state)
{
    static const struct {
        const char *name;
        double parameters, bits; /* 0: not told */
    } names[] = {
        {"qwen2.5:14b", 14e9, 0},
        {"llama3.1:8b-q4_K_M", 8e9, 4},
        {"llama3.1:8b-instruct-fp16", 8e9, 16},
        {"gemma2:27b-instruct-q8_0", 27e9, 8},
        {"phi3:3.8b", 3.8e9, 0},
        {"smollm:135m", 135e6, 0},
        {"mixtral:8x7b", 56e9, 0},
        {"Qwen/Qwen2.5-14B-Instruct-AWQ", 14e9, 4},
        {"Llama-3.1-70B-Instruct-w4a16", 70e9, 4},
        {"meta/llama-3.1-8b-bf16", 8e9, 16},
        {"qwen3:30b-a3b-iq3_xs", 30e9, 3},
        {"gpt-oss:20b-mxfp4", 20e9, 4},
        {"bdh-25m", 25e6, 0},
        {"nomic-embed-text", 0, 0},
        {"llama3:latest", 0, 0},
        {"gpt-4o", 0, 0},
        {"x:0b", 0, 0},
        {"8", 0, 0},
        {"b", 0, 0},
        {"1e400b", 0, 0},
        {"xb:nanb:infb", 0, 0},
        {"-_:/", 0, 0},
        {"", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        double parameters, bits;
        bool told = hw_fit_read_name(names[i].name, &parameters, &bits);
        if (told != (names[i].parameters > 0) || parameters != names[i].parameters ||
            bits != names[i].bits)
            fail_msg("%s: %g parameters of %g bits", names[i].name, parameters, bits);
    }
}

#define DEVICES                                                                                    \
    "devices:\n  gpu0: { class: cuda, memory: 12GiB }\n  gpu1: { class: cuda, memory: 12GiB }\n"   \
    "  mac: { class: mps, memory: 64GiB }\n  odd: { class: cpu }\n"
#define BACKEND(rest)                                                                              \
    DEVICES "backends: [{ name: a, url: \"http://127.0.0.1\", general: true, " rest " }]\n"
#define SAYS "t.yaml:6:12: warning: backends[0]: "

static void
what_does_not_fit_is_told_with_what_to_do(void **state)
{
    static const struct {
        const char *yaml, *said; /* "": nothing */
    } cases[] = {
        {BACKEND("kind: ollama, models: [\"llama3.1:8b\", \"qwen2.5:14b\"], device: gpu0"), ""},
        {BACKEND("kind: ollama, models: [\"llama3.1:8b\", \"qwen2.5:32b\"], device: gpu0"),
         SAYS "'qwen2.5:32b' needs 17.9 GiB (32B parameters x 4 bits x 1.2), gpu0 has 12.0 GiB: "
              "split it over 2 of the 2 cuda devices (split: 2)\n"},
        {BACKEND("kind: ollama, models: [\"qwen2.5:32b\"], device: gpu0, split: 2"), ""},
        {BACKEND("kind: openai, models: [Qwen2.5-14B-Instruct], device: gpu1"),
         SAYS "'Qwen2.5-14B-Instruct' needs 31.3 GiB (14B parameters x 16 bits x 1.2), gpu1 has "
              "12.0 GiB: it would take 3 such devices and there are 2: smaller specialists "
              "instead, to 5.37B parameters a device; with 4 bits it fits as it is\n"},
        {BACKEND("kind: openai, models: [Qwen2.5-14B-Instruct], device: gpu1, bits: 4"), ""},
        {BACKEND("kind: openai, models: [council], device: gpu1"), ""},
        {BACKEND("kind: openai, models: [council], device: gpu1, parameters: 14B, bits: 8"),
         SAYS "'council' needs 15.6 GiB (14B parameters x 8 bits x 1.2), gpu1 has 12.0 GiB: split "
              "it over 2 of the 2 cuda devices (split: 2); with 4 bits it fits as it is\n"},
        {BACKEND("kind: openai, models: [\"llama3:70b\"], device: mac"),
         SAYS "'llama3:70b' needs 156.5 GiB (70B parameters x 16 bits x 1.2), mac has 64.0 GiB: it "
              "would take 3 such devices and there is 1: smaller specialists instead, to 28.6B "
              "parameters a device; with 4 bits it fits as it is\n"},
        {BACKEND("kind: openai, models: [\"llama3:405b\"], device: odd"), ""},
        {BACKEND("kind: openai, models: [\"llama3:405b\"], device: cuda"), ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hw_snapshot_unref(load(cases[i].yaml));
        assert_string_equal(messages, cases[i].said);
    }
}

static void
sizes_that_are_none(void **state)
{
    static const char *const wrong[] = {"14", "B", "14B-x", "8x7B", "many"};
    char yaml[1024];
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        snprintf(yaml, sizeof(yaml), BACKEND("kind: openai, models: [m], parameters: %s"),
                 wrong[i]);
        assert_null(load(yaml));
        assert_non_null(strstr(messages, "backends[0].parameters: expected a number of parameters "
                                         "such as 14B or 350M, got '"));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_in_names),
        cmocka_unit_test(what_does_not_fit_is_told_with_what_to_do),
        cmocka_unit_test(sizes_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Checkpoint files: what is written comes back, and a damaged or lying file gets an error. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/halfs.h"
#include "engine/model.h"

static char folder[] = "/tmp/hatchway-test-checkpoint-XXXXXX";

static struct hw_bdh_model *
small_model(void)
{
    const struct hw_bdh_config conf = {
        .n_layer = 2, .n_embd = 6, .n_head = 3, .multiplier = 4, .vocab = 11, .dropout = 0.25f};
    struct hw_bdh_model *model;
    assert_int_equal(hw_bdh_model_create(&conf, &model, NULL), 0);
    size_t hnd = (size_t)3 * 8 * 6;
    for (size_t i = 0; i < hnd; i++) {
        model->encoder[i] = (float)i * 0.37f - 3.0f;
        model->encoder_v[i] = 1.0f / (float)(i + 1);
        model->decoder[i] = sinf((float)i);
    }
    for (size_t i = 0; i < 66; i++) {
        model->embed[i] = cosf((float)i);
        model->lm_head[i] = -(float)i;
    }
    strcpy(model->tmpl.before_user, "Q: ");
    strcpy(model->tmpl.before_assistant, "\nA: ");
    strcpy(model->tmpl.after_assistant, "\n");
    return model;
}

static const char *
path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void
write_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

/* Puts a file together from its JSON header and a number of zero data bytes. */
static void
write_header(const char *path, const char *json, size_t data_bytes)
{
    uint64_t len = strlen(json);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(&len, 8, 1, file);
    fwrite(json, 1, len, file);
    for (size_t i = 0; i < data_bytes; i++)
        fputc(0, file);
    fclose(file);
}

static void
test_f32_round_trip(void **state)
{
    (void)state;
    struct hw_bdh_model *a = small_model(), *b, *c;
    struct hw_err err = {{0}};
    assert_int_equal(hw_bdh_model_save(a, path_of("tiny.one.safetensors"), HW_BDH_DTYPE_F32, &err),
                     0);
    assert_int_equal(hw_bdh_model_load(path_of("tiny.one.safetensors"), &b, &err), 0);
    assert_memory_equal(&a->conf, &b->conf, sizeof(a->conf));
    assert_memory_equal(&a->tmpl, &b->tmpl, sizeof(a->tmpl));
    assert_string_equal(b->name, "tiny.one");
    assert_memory_equal(a->encoder, b->encoder, 144 * sizeof(float));
    assert_memory_equal(a->encoder_v, b->encoder_v, 144 * sizeof(float));
    assert_memory_equal(a->decoder, b->decoder, 144 * sizeof(float));
    assert_memory_equal(a->embed, b->embed, 66 * sizeof(float));
    assert_memory_equal(a->lm_head, b->lm_head, 66 * sizeof(float));
    assert_memory_equal(a->freqs, b->freqs, 8 * sizeof(float));

    b->embed[0] += 1.0f; /* any change of any tensor is another model */
    assert_int_equal(hw_bdh_model_save(b, path_of("two.safetensors"), HW_BDH_DTYPE_F32, &err), 0);
    assert_int_equal(hw_bdh_model_load(path_of("two.safetensors"), &c, &err), 0);
    assert_memory_not_equal(b->digest, c->digest, sizeof(b->digest));
    hw_bdh_model_destroy(&a);
    hw_bdh_model_destroy(&b);
    hw_bdh_model_destroy(&c);
    assert_null(c);
}

/* Decay, phases and what it was trained to hold go with the model; the first two decide its
 * answers, and so its name. */
static void
test_what_only_our_files_say(void **state)
{
    (void)state;
    struct hw_bdh_model *a = small_model(), *b, *plain;
    struct hw_bdh_facts facts;
    const char *path = path_of("own.safetensors");
    assert_int_equal(hw_bdh_model_save(a, path, HW_BDH_DTYPE_F32, NULL), 0);
    assert_int_equal(hw_bdh_model_load(path, &plain, NULL), 0);
    assert_int_equal(plain->trained_context, 0);
    a->conf.decay = 0.98f;
    a->trained_context = 192;
    assert_int_equal(hw_bdh_model_save(a, path, HW_BDH_DTYPE_BF16, NULL), 0);
    assert_int_equal(hw_bdh_model_load(path, &b, NULL), 0);
    assert_true(b->conf.decay == 0.98f && !b->conf.wide_phases);
    assert_int_equal(b->trained_context, 192);
    assert_memory_not_equal(b->digest, plain->digest, sizeof(b->digest));
    assert_int_equal(hw_bdh_model_facts(path, &facts, NULL), 0);
    assert_int_equal(facts.trained_context, 192);
    assert_true(facts.conf.decay == 0.98f);
    hw_bdh_model_destroy(&b);
    a->conf.decay = 0.0f;
    a->conf.wide_phases = true;
    assert_int_equal(hw_bdh_model_save(a, path, HW_BDH_DTYPE_F32, NULL), 0);
    assert_int_equal(hw_bdh_model_load(path, &b, NULL), 0);
    assert_true(b->conf.decay == 0.0f && b->conf.wide_phases);
    assert_memory_not_equal(b->digest, plain->digest, sizeof(b->digest));
    hw_bdh_model_destroy(&a);
    hw_bdh_model_destroy(&b);
    hw_bdh_model_destroy(&plain);
}

static void
test_bf16_round_trip(void **state)
{
    (void)state;
    struct hw_bdh_model *a = small_model(), *b;
    struct hw_err err = {{0}};
    assert_int_equal(hw_bdh_model_save(a, path_of("half.safetensors"), HW_BDH_DTYPE_BF16, &err), 0);
    assert_int_equal(hw_bdh_model_load(path_of("half.safetensors"), &b, &err), 0);
    for (size_t i = 0; i < 144; i++) {
        assert_true(fabsf(a->decoder[i] - b->decoder[i]) <= fabsf(a->decoder[i]) / 256.0f);
        assert_true(hw_f32_from_bf16(hw_bf16_from_f32(a->decoder[i])) == b->decoder[i]);
    }
    assert_memory_equal(a->freqs, b->freqs, 8 * sizeof(float));
    hw_bdh_model_destroy(&a);
    hw_bdh_model_destroy(&b);
}

static void
read_file(const char *path, char *bytes, size_t size, size_t *len)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    *len = fread(bytes, 1, size, file);
    fclose(file);
    assert_true(*len < size);
}

/* Off by half a step of its neuron's scale at most, and by nothing when written once more. */
static void
test_int8_round_trip(void **state)
{
    (void)state;
    struct hw_bdh_model *a = small_model(), *b, *c;
    struct hw_err err = {{0}};
    size_t n = a->conf.n_neuron, d = a->conf.n_embd;
    memset(a->decoder, 0, d * sizeof(float)); /* a neuron that says nothing */
    assert_int_equal(hw_bdh_model_save(a, path_of("byte.safetensors"), HW_BDH_DTYPE_INT8, &err), 0);
    assert_int_equal(hw_bdh_model_load(path_of("byte.safetensors"), &b, &err), 0);
    assert_memory_equal(a->freqs, b->freqs, n * sizeof(float));
    for (size_t i = 0; i < 144; i++) {
        float largest = 0.0f, row = 0.0f;
        for (size_t k = 0; k < d; k++) {
            largest = fmaxf(largest, fabsf(a->encoder[i / (d * n) * d * n + k * n + i % n]));
            row = fmaxf(row, fabsf(a->decoder[i / d * d + k]));
        }
        /* The scale may clip the largest by up to 28 %, where that loses less in sum. */
        assert_true(fabsf(a->encoder[i] - b->encoder[i]) <= largest * 0.29f);
        assert_true(fabsf(a->decoder[i] - b->decoder[i]) <= row * 0.29f);
    }
    double off = 0.0, all = 0.0;
    for (size_t i = 0; i < 144; i++) {
        off += pow((double)(a->encoder_v[i] - b->encoder_v[i]), 2.0);
        all += pow((double)a->encoder_v[i], 2.0);
    }
    assert_true(off > 0.0 && off < all * 1e-4);
    assert_int_equal(hw_bdh_model_save(b, path_of("again.safetensors"), HW_BDH_DTYPE_INT8, &err),
                     0);
    assert_int_equal(hw_bdh_model_load(path_of("again.safetensors"), &c, &err), 0);
    for (size_t i = 0; i < 144; i++)
        assert_true(fabsf(b->encoder[i] - c->encoder[i]) <= fabsf(b->encoder[i]) * 1e-6f);
    hw_bdh_model_destroy(&a);
    hw_bdh_model_destroy(&b);
    hw_bdh_model_destroy(&c);
}

/* Bytes mean nothing without their scales. */
static void
test_int8_needs_its_scales(void **state)
{
    (void)state;
    static const struct {
        const char *was, *is, *why;
    } cases[] = {
        {"\"encoder.scale\"", "\"encoder.scalf\"", "encoder.scale) are missing"},
        {"\"shape\":[3,1,8]", "\"shape\":[3,8,1]", "encoder.scale must be F32"},
        {"\"attn.freqs\"", "\"attn.freqz\"", NULL}, /* computed where it is missing */
    };
    struct hw_bdh_model *model = small_model(), *loaded = NULL;
    static char bytes[16384];
    size_t len;
    const char *path = path_of("scales.safetensors");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hw_err err = {{0}};
        assert_int_equal(hw_bdh_model_save(model, path, HW_BDH_DTYPE_INT8, &err), 0);
        read_file(path, bytes, sizeof(bytes), &len);
        char *at = memmem(bytes, len, cases[i].was, strlen(cases[i].was));
        assert_non_null(at);
        memcpy(at, cases[i].is, strlen(cases[i].is));
        write_file(path, bytes, len);
        int rc = hw_bdh_model_load(path, &loaded, &err);
        assert_int_equal(rc == 0, cases[i].why == NULL);
        if (rc != 0)
            assert_non_null(strstr(err.msg, cases[i].why));
        hw_bdh_model_destroy(&loaded);
    }
    hw_bdh_model_destroy(&model);
}

static void
test_half_floats(void **state)
{
    (void)state;
    assert_true(hw_f32_from_f16(0x3c00) == 1.0f);
    assert_true(hw_f32_from_f16(0xc000) == -2.0f);
    assert_true(hw_f32_from_f16(0x7bff) == 65504.0f);
    assert_true(hw_f32_from_f16(0x0001) == 0x1p-24f);
    assert_true(hw_f32_from_f16(0x8400) == -0x1p-14f);
    assert_true(isinf(hw_f32_from_f16(0x7c00)));
    assert_true(isnan(hw_f32_from_f16(0x7e00)));
    assert_int_equal(hw_bf16_from_f32(1.0f), 0x3f80);
    assert_int_equal(hw_bf16_from_f32(hw_f32_from_bits(0x3f808000)), 0x3f80); /* tie to even */
    assert_int_equal(hw_bf16_from_f32(hw_f32_from_bits(0x3f818000)), 0x3f82);
    assert_int_equal(hw_bf16_from_f32(hw_f32_from_bits(0x3f808001)), 0x3f81);
}

static void
test_truncated_at_every_byte(void **state)
{
    (void)state;
    struct hw_bdh_model *model = small_model(), *loaded = NULL;
    char bytes[8192];
    assert_int_equal(hw_bdh_model_save(model, path_of("whole.safetensors"), HW_BDH_DTYPE_F32, NULL),
                     0);
    FILE *file = fopen(path_of("whole.safetensors"), "rb");
    assert_non_null(file);
    size_t len = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    assert_true(len < sizeof(bytes));
    for (size_t cut = 0; cut < len; cut++) {
        struct hw_err err = {{0}};
        write_file(path_of("cut.safetensors"), bytes, cut);
        assert_true(hw_bdh_model_load(path_of("cut.safetensors"), &loaded, &err) < 0);
        assert_null(loaded);
        assert_non_null(strstr(err.msg, "cut.safetensors: "));
    }
    hw_bdh_model_destroy(&model);
}

#define SHAPE                                                                                      \
    "\"n_layer\":\"1\",\"n_embd\":\"2\",\"n_head\":\"1\","                                         \
    "\"mlp_internal_dim_multiplier\":\"1\",\"vocab_size\":\"2\""
#define META "\"__metadata__\":{" SHAPE "}"
#define OWN(key, value) "{\"__metadata__\":{" SHAPE ",\"hatchway." key "\":\"" value "\"}"
#define ENTRY(name, shape, begin, end)                                                             \
    ",\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"
#define REST                                                                                       \
    ENTRY("encoder", "[1,2,2]", "16", "32")                                                        \
    ENTRY("encoder_v", "[1,2,2]", "32", "48")                                                      \
    ENTRY("lm_head", "[2,2]", "48", "64") ENTRY("embed.weight", "[2,2]", "64", "80")
#define DECODER ENTRY("decoder", "[2,2]", "0", "16")

static void
expect_refused(const char *json, size_t data_bytes, const char *why)
{
    struct hw_bdh_model *model = NULL;
    struct hw_err err = {{0}};
    write_header(path_of("lie.safetensors"), json, data_bytes);
    assert_true(hw_bdh_model_load(path_of("lie.safetensors"), &model, &err) < 0);
    assert_null(model);
    if (strstr(err.msg, why) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", why, err.msg);
}

static void
test_lies(void **state)
{
    (void)state;
    struct hw_bdh_model *model = NULL;
    write_header(path_of("good.safetensors"), "{" META DECODER REST "}", 80);
    assert_int_equal(hw_bdh_model_load(path_of("good.safetensors"), &model, NULL), 0);
    hw_bdh_model_destroy(&model);

    expect_refused("{" META DECODER DECODER REST "}", 80, "decoder stands twice");
    expect_refused("{" META "," META DECODER REST "}", 80, "__metadata__ stands twice");
    expect_refused("{" META DECODER ENTRY("_orig_mod.decoder", "[2,2]", "0", "16") REST "}", 80,
                   "stands twice");
    expect_refused("{" META DECODER REST "}", 81, "belong to no tensor");
    expect_refused("{" META DECODER REST "}", 79, "outside the file's 79");
    expect_refused("{" META ENTRY("decoder", "[2,3]", "0", "16") REST "}", 80, "say 24 bytes");
    expect_refused("{" META ENTRY("decoder", "[4294967296,4294967296]", "0", "16") REST "}", 80,
                   "overflows");
    expect_refused("{" META ENTRY("decoder", "[4,1]", "0", "16") REST "}", 80, "another shape");
    expect_refused("{" META ENTRY("decoder", "[2,2]", "8", "24") REST "}", 80, "follows a hole");
    expect_refused("{" META ENTRY("decoder", "[2,2]", "16", "0") REST "}", 80, "outside");
    expect_refused("{" META ENTRY("decoder", "[-2,2]", "0", "16") REST "}", 80, "whole number");
    expect_refused("{" META ENTRY("decoder", "[2,2]", "0", "1e300") REST "}", 80, "whole numbers");
    expect_refused("{" META ENTRY("decoder", "[2,2]", "0", "16.5") REST "}", 80, "whole numbers");
    expect_refused("{" META ENTRY("decoder", "[1,1,1,1,1,1,1,1,4]", "0", "16") REST "}", 80,
                   "dimensions");
    expect_refused("{" META ",\"decoder\":7" REST "}", 80, "not an object");
    expect_refused("{" META ",\"decoder\":{}" REST "}", 80, "not an object");
    expect_refused("{" META ENTRY("dec\\u0000oder", "[2,2]", "0", "16") REST "}", 80, "NUL");
    expect_refused("{" META REST "}x", 80, "valid JSON");
    expect_refused("[]", 0, "not a JSON object");
    expect_refused("{\"__metadata__\":{\"n_layer\":1}}", 0, "not a string");
    expect_refused("{\"__metadata__\":{\"n_layer\":\"x\"}}", 0, "no number n_layer");
    expect_refused("{\"__metadata__\":{\"n_layer\":\"1e30\"}}", 0, "whole number");
    expect_refused(OWN("decay", "0.98x") DECODER REST "}", 80, "hatchway.decay must be a number");
    expect_refused(OWN("decay", "1.5") DECODER REST "}", 80, "decay must be from 0.5 to 1");
    expect_refused(OWN("decay", "nan") DECODER REST "}", 80, "decay must be from 0.5 to 1");
    expect_refused(OWN("decay", "-0.9") DECODER REST "}", 80, "decay must be from 0.5 to 1");
    expect_refused(OWN("phases", "f16") DECODER REST "}", 80, "phases must be f32 or f64");
    expect_refused(OWN("trained_context", "1e11") DECODER REST "}", 80, "whole number");
    expect_refused("{" META "}", 0, "decoder is missing");
    expect_refused("{}", 0, "no configuration");
}

static void
test_config_limits(void **state)
{
    (void)state;
    struct hw_err err;
    struct hw_bdh_config conf = {
        .n_layer = 6, .n_embd = 256, .n_head = 4, .multiplier = 128, .vocab = 256, .dropout = 0.1f};
    assert_int_equal(hw_bdh_config_check(&conf, &err), 0);
    assert_int_equal(conf.n_neuron, 8192);
    assert_int_equal(hw_bdh_param_count(&conf), 25296896);
    assert_int_equal(hw_bdh_state_bytes(&conf), 192u << 20);
    conf.multiplier = 3;
    conf.n_head = 256; /* N = 3: odd */
    assert_int_equal(hw_bdh_config_check(&conf, &err), HW_EINVAL);
    conf = (struct hw_bdh_config){.n_layer = 256,
                                  .n_embd = 16384,
                                  .n_head = 1,
                                  .multiplier = 65536,
                                  .vocab = 65536,
                                  .dropout = 0.1f};
    assert_int_equal(hw_bdh_config_check(&conf, &err), HW_ELIMIT);
    conf = (struct hw_bdh_config){
        .n_layer = 1, .n_embd = 0, .n_head = 1, .multiplier = 2, .vocab = 2, .dropout = 0.1f};
    assert_int_equal(hw_bdh_config_check(&conf, &err), HW_EINVAL);
    conf = (struct hw_bdh_config){
        .n_layer = 1, .n_embd = 2, .n_head = 1, .multiplier = 2, .vocab = 2, .dropout = NAN};
    assert_int_equal(hw_bdh_config_check(&conf, &err), HW_EINVAL);
}

static void
test_not_a_number(void **state)
{
    (void)state;
    struct hw_bdh_model *model = small_model(), *loaded = NULL;
    struct hw_err err;
    model->lm_head[5] = NAN;
    assert_int_equal(hw_bdh_model_save(model, path_of("nan.safetensors"), HW_BDH_DTYPE_F32, NULL),
                     0);
    assert_int_equal(hw_bdh_model_load(path_of("nan.safetensors"), &loaded, &err), HW_EINVAL);
    assert_non_null(strstr(err.msg, "lm_head"));
    hw_bdh_model_destroy(&model);
}

static void
test_other_files(void **state)
{
    (void)state;
    struct hw_bdh_model *model = NULL;
    struct hw_err err;
    assert_int_equal(hw_bdh_model_load(path_of("absent"), &model, &err), HW_ENOTFOUND);
    assert_int_equal(hw_bdh_model_load(folder, &model, &err), HW_EINVAL);
    write_file(path_of("model.pt"), "PK\3\4 and so on, a ZIP", 22);
    assert_int_equal(hw_bdh_model_load(path_of("model.pt"), &model, &err), HW_EINVAL);
    assert_non_null(strstr(err.msg, "without its end"));
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    assert_int_equal(hw_bdh_model_load(path_of("fifo"), &model, &err), HW_EINVAL);
    assert_true(hw_bdh_model_save(model = small_model(), "/nonexistent/x", HW_BDH_DTYPE_F32, &err) <
                0);
    hw_bdh_model_destroy(&model);
}

static int
make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int
remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_only_our_files_say),
        cmocka_unit_test(test_f32_round_trip),
        cmocka_unit_test(test_bf16_round_trip),
        cmocka_unit_test(test_int8_round_trip),
        cmocka_unit_test(test_int8_needs_its_scales),
        cmocka_unit_test(test_half_floats),
        cmocka_unit_test(test_truncated_at_every_byte),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_config_limits),
        cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_other_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

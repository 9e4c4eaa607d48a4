/* Snapshots: what goes on from one, in memory or out of a file, goes on to the same bits and the
 * same drawn text; files that are cut, altered or of another model are refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "engine/generate.h"
#include "engine/snapshot.h"

#define VECTORS HW_SOURCE_DIR "/tests/vectors/bdh/"

#define MAX_FILE ((size_t)1 << 22)

static char path[] = "/tmp/hatchway-test-snapshot-XXXXXX";

static struct hw_bdh_engine *
load(const char *name, enum hw_bdh_precision precision)
{
    struct hw_bdh_model *model;
    struct hw_bdh_engine *engine;
    struct hw_err err = {{0}};
    char file[256];
    snprintf(file, sizeof(file), VECTORS "%s/model.safetensors", name);
    if (hw_bdh_model_load(file, &model, &err) != 0 ||
        hw_bdh_engine_create_as(model, precision, &engine, &err) != 0)
        fail_msg("%s", err.msg);
    hw_bdh_model_destroy(&model);
    return engine;
}

static struct hw_bdh_session *
new_session(const struct hw_bdh_engine *engine)
{
    struct hw_bdh_session *session;
    assert_int_equal(hw_bdh_session_create(engine, &session, NULL), 0);
    return session;
}

/* Tokens from `from` on, one by one. */
static void
read_tokens(struct hw_bdh_session *session, uint32_t from, uint32_t count, float *logits)
{
    for (uint32_t t = from; t < from + count; t++)
        hw_bdh_session_step(session, t * 31 + t / 7, logits);
}

/* Set aside at every place in a block, and far out: two sessions, one of them with another text in
 * it, go on from it to the bits of the first, which itself is not disturbed. */
static void
check_restore(const char *name, enum hw_bdh_precision precision)
{
    static const uint32_t places[] = {0, 1, 7, 15, 16, 17, 64, 333};
    struct hw_bdh_engine *engine = load(name, precision);
    uint32_t vocab = hw_bdh_engine_config(engine)->vocab;
    size_t bytes = vocab * sizeof(float);
    struct hw_bdh_session *first = new_session(engine), *fork = new_session(engine);
    float *a = malloc(bytes), *b = malloc(bytes);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct hw_bdh_snapshot *snapshot;
        hw_bdh_session_reset(first);
        read_tokens(first, 0, places[i], a);
        assert_int_equal(hw_bdh_snapshot_take(first, &snapshot, NULL), 0);
        assert_int_equal(hw_bdh_snapshot_position(snapshot), places[i]);
        read_tokens(first, places[i], 40, a);
        for (int round = 0; round < 2; round++) { /* the second finds the first one's text in it */
            assert_int_equal(hw_bdh_session_restore(fork, snapshot, NULL), 0);
            assert_int_equal(hw_bdh_session_position(fork), places[i]);
            read_tokens(fork, places[i], 40, b);
            assert_memory_equal(a, b, bytes);
        }
        hw_bdh_snapshot_unref(&snapshot);
        assert_null(snapshot);
    }
    free(a);
    free(b);
    hw_bdh_session_destroy(&first);
    hw_bdh_session_destroy(&fork);
    hw_bdh_engine_destroy(&engine);
}

static void
test_restored_to_the_bit(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        check_restore("tiny_s002", i == 0 ? HW_BDH_F32 : HW_BDH_FAST);
        check_restore("h3_d20_s002", i == 0 ? HW_BDH_F32 : HW_BDH_FAST);
        check_restore("h5_d36_s02", i == 0 ? HW_BDH_F32 : HW_BDH_FAST);
        check_restore("h5_d36_decay", i == 0 ? HW_BDH_F32 : HW_BDH_FAST);
        check_restore("h7_d20_v300", i == 0 ? HW_BDH_F32 : HW_BDH_FAST);
        check_restore("h3_d20_fades", i == 0 ? HW_BDH_F32 : HW_BDH_FAST);
    }
}

/* After few tokens most of the state is empty, and the snapshot small. */
static void
test_what_is_empty_is_left_out(void **state)
{
    (void)state;
    struct hw_bdh_engine *engine = load("tiny_s002", HW_BDH_F32);
    struct hw_bdh_session *session = new_session(engine);
    struct hw_bdh_snapshot *empty, *full;
    assert_int_equal(hw_bdh_snapshot_take(session, &empty, NULL), 0);
    read_tokens(session, 0, 512, NULL);
    assert_int_equal(hw_bdh_snapshot_take(session, &full, NULL), 0);
    assert_true(hw_bdh_snapshot_bytes(empty) < hw_bdh_engine_state_bytes(engine) / 20);
    assert_true(hw_bdh_snapshot_bytes(full) > hw_bdh_engine_state_bytes(engine) / 2);
    hw_bdh_snapshot_unref(&empty);
    hw_bdh_snapshot_unref(&full);
    hw_bdh_session_destroy(&session);
    hw_bdh_engine_destroy(&engine);
}

static void
feed_text(struct hw_bdh_session *session, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hw_bdh_session_step(session, (uint8_t)text[i], NULL);
}

static void
test_the_longest_that_fits(void **state)
{
    (void)state;
    static const char text[] = "You are a helpful dragon. What do you eat? And where do you live?";
    static const char other[] = "You are a helpful dragon. What do you meet? And where is that?..";
    static const size_t cuts[] = {1, 16, 26, 42, 43};
    struct hw_bdh_engine *engine = load("tiny_s002", HW_BDH_F32);
    struct hw_bdh_session *session = new_session(engine);
    struct hw_bdh_snapshot *all[5];
    for (size_t i = 0, at = 0; i < 5; at = cuts[i++]) {
        feed_text(session, text + at, cuts[i] - at);
        assert_int_equal(hw_bdh_snapshot_take(session, &all[i], NULL), 0);
    }
    assert_int_equal(hw_bdh_snapshots_find(all, 5, text, strlen(text)), 4);
    assert_int_equal(hw_bdh_snapshots_find(all, 5, other, strlen(other)), 2);
    assert_int_equal(hw_bdh_snapshots_find(all, 5, text, 43), 3); /* some of it must be left */
    assert_int_equal(hw_bdh_snapshots_find(all, 5, text, 16), 0);
    assert_int_equal(hw_bdh_snapshots_find(all, 5, text, 1), 5);
    assert_int_equal(hw_bdh_snapshots_find(all, 5, "Me?", 3), 5);
    assert_true(hw_bdh_snapshot_same(all[2], all[2]));
    assert_false(hw_bdh_snapshot_same(all[2], all[3]));
    assert_true(hw_bdh_snapshot_ends_with(all[2], "dragon. ", 8));
    assert_false(hw_bdh_snapshot_ends_with(all[2], "wagon. ", 7));
    assert_false(hw_bdh_snapshot_ends_with(all[0], "..Y", 3));
    for (size_t i = 0; i < 5; i++)
        hw_bdh_snapshot_unref(&all[i]);
    hw_bdh_session_destroy(&session);
    hw_bdh_engine_destroy(&engine);
}

/* --- files --- */

static const struct hw_generation_conf drawn = {
    .sampler = {.temperature = 1.0f, .top_p = 0.95f, .repetition_penalty = 1.3f, .seed = 9}};

/* Draws up to `count` tokens and sets the rest aside; how many they were. */
static uint32_t
draw(struct hw_bdh_session *session, const struct hw_generation_conf *base, const char *prompt,
     uint32_t count, struct hw_buf *text, struct hw_bdh_saved *saved)
{
    struct hw_generation_conf conf = *base;
    struct hw_generation *g;
    const struct hw_bdh_config model = {.vocab = 256};
    conf.max_tokens = count;
    assert_int_equal(hw_generation_create(session, &model, &conf, prompt, strlen(prompt), &g, NULL),
                     0);
    hw_generation_prefill(g, strlen(prompt));
    while (hw_generation_state(g) == HW_GENERATION_DECODE)
        hw_generation_decode(g, text);
    uint32_t tokens = hw_generation_output_tokens(g);
    saved->logits = calloc(256, sizeof(float));
    hw_generation_leave(g, &saved->generator, saved->logits, &saved->waiting);
    assert_int_equal(hw_bdh_snapshot_take(session, &saved->snapshot, NULL), 0);
    hw_generation_destroy(&g);
    return tokens;
}

/* The answer drawn in one go is, token by token, the one drawn in pieces, each by a session that
 * got the state out of a file. */
static void
check_file(enum hw_bdh_precision precision)
{
    struct hw_bdh_engine *engine = load("tiny_s002", precision);
    struct hw_bdh_session *session = new_session(engine);
    struct hw_bdh_saved whole = {0}, saved = {0};
    struct hw_buf text;
    hw_buf_init(&text, 4000);
    assert_int_equal(draw(session, &drawn, "Once upon a time", 90, &text, &whole), 90);
    hw_bdh_session_reset(session);
    assert_int_equal(draw(session, &drawn, "Once upon a time", 30, &text, &saved), 30);
    for (int i = 0; i < 2; i++) {
        struct hw_generation_conf conf = drawn;
        struct hw_err err = {{0}};
        assert_int_equal(hw_bdh_saved_write(&saved, path, &err), 0);
        hw_bdh_saved_free(&saved);
        hw_bdh_session_destroy(&session);
        hw_bdh_engine_destroy(&engine);
        engine = load("tiny_s002", precision);
        session = new_session(engine);
        struct hw_bdh_saved back = {0};
        if (hw_bdh_saved_read(engine, path, &back, &err) != 0)
            fail_msg("%s", err.msg);
        assert_int_equal(hw_bdh_session_restore(session, back.snapshot, NULL), 0);
        conf.generator = &back.generator;
        conf.logits = back.logits;
        assert_int_equal(draw(session, &conf, "", 30, &text, &saved), 30);
        hw_bdh_saved_free(&back);
    }
    assert_int_equal(hw_bdh_snapshot_position(saved.snapshot), strlen("Once upon a time") + 90);
    assert_true(hw_bdh_snapshot_same(whole.snapshot, saved.snapshot));
    assert_memory_equal(whole.logits, saved.logits, 256 * sizeof(float));
    assert_memory_equal(whole.generator.random, saved.generator.random, 32);
    hw_bdh_saved_free(&whole);
    hw_bdh_saved_free(&saved);
    hw_buf_free(&text);
    hw_bdh_session_destroy(&session);
    hw_bdh_engine_destroy(&engine);
}

static void
test_a_file_goes_on_as_if_never_left(void **state)
{
    (void)state;
    check_file(HW_BDH_F32);
    check_file(HW_BDH_FAST);
}

/* One answer drawn in two parts, the first one `cut` tokens, reads as the one of `whole`. How much
 * waited between them. */
static uint32_t
check_cut(const struct hw_bdh_engine *engine, const struct hw_generation_conf *base, uint32_t cut,
          uint32_t count, const struct hw_buf *whole, struct hw_buf *text)
{
    struct hw_generation_conf conf = *base;
    struct hw_bdh_session *session = new_session(engine);
    struct hw_bdh_saved first = {0}, back = {0}, last = {0};

    hw_buf_clear(text);
    conf.goes_on = true;
    uint32_t tokens = draw(session, &conf, "Once upon a time", cut, text, &first);
    assert_int_equal(hw_bdh_saved_write(&first, path, NULL), 0);
    assert_int_equal(hw_bdh_saved_read(engine, path, &back, NULL), 0);
    assert_int_equal(back.waiting.len, first.waiting.len);
    conf.generator = &back.generator;
    conf.logits = back.logits;
    conf.waiting = &back.waiting;
    conf.goes_on = false;
    if (tokens == cut) /* else a stop string ended it */
        draw(session, &conf, "", count - cut, text, &last);
    assert_int_equal(text->len, whole->len);
    assert_memory_equal(text->data, whole->data, whole->len);
    uint32_t waited = first.waiting.len;
    hw_bdh_saved_free(&first);
    hw_bdh_saved_free(&back);
    hw_bdh_saved_free(&last);
    hw_bdh_session_destroy(&session);
    return waited;
}

/* Two characters of the text, from there on, of a byte each. */
static void
find_pair(const struct hw_buf *text, size_t from, char pair[16])
{
    for (; from + 1 < text->len; from++)
        if ((signed char)text->data[from] > 0 && (signed char)text->data[from + 1] > 0)
            break;
    assert_true(from + 1 < text->len);
    snprintf(pair, 16, "%c%c", text->data[from], text->data[from + 1]);
}

/* Wherever it is cut: within a character, within what is a stop string's beginning and no more, and
 * within a stop string. A random model says all kinds of bytes. */
static void
test_text_goes_on_where_it_was_cut(void **state)
{
    (void)state;
    enum { COUNT = 60 };
    struct hw_bdh_engine *engine = load("tiny_s002", HW_BDH_F32);
    struct hw_generation_conf conf = drawn;
    struct hw_buf text, whole;
    char begun[16] = "", stop[16] = "";

    hw_buf_init(&text, 1000);
    hw_buf_init(&whole, 1000);
    for (int stops = 0; stops < 3; stops++) {
        struct hw_bdh_session *session = new_session(engine);
        struct hw_bdh_saved saved = {0};
        uint32_t waited = 0;
        hw_buf_clear(&whole);
        uint32_t tokens = draw(session, &conf, "Once upon a time", COUNT, &whole, &saved);
        assert_true((tokens == COUNT) == (stops < 2));
        assert_int_equal(saved.waiting.len, 0);
        for (uint32_t cut = 1; cut < tokens; cut++)
            waited += check_cut(engine, &conf, cut, COUNT, &whole, &text);
        hw_bdh_saved_free(&saved);
        hw_bdh_session_destroy(&session);
        assert_true(waited > 0);
        if (stops == 2)
            break;
        find_pair(&whole, stops == 0 ? 20 : 50, stops == 0 ? begun : stop);
        strcat(begun, stops == 0 ? "\x01" : ""); /* a beginning that comes to nothing */
        conf.stops[conf.stop_count++] = stops == 0 ? begun : stop;
    }
    hw_buf_free(&text);
    hw_buf_free(&whole);
    hw_bdh_engine_destroy(&engine);
    unlink(path);
}

/* Of what waited another stop string may be made: the answer ends there, and is set aside again. */
static void
test_what_waits_may_be_another_stop(void **state)
{
    (void)state;
    struct hw_bdh_engine *engine = load("tiny_s002", HW_BDH_F32);
    struct hw_bdh_session *session = new_session(engine);
    struct hw_bdh_saved first = {0}, last = {0};
    struct hw_generation_conf conf = drawn;
    struct hw_textout_waiting waiting = {.len = 5, .bytes = "abcd\xe2"};
    struct hw_buf text;

    hw_buf_init(&text, 1000);
    draw(session, &conf, "Once upon a time", 3, &text, &first);
    hw_buf_clear(&text);
    conf.generator = &first.generator;
    conf.logits = first.logits;
    conf.waiting = &waiting;
    conf.stops[conf.stop_count++] = "cd";
    assert_int_equal(draw(session, &conf, "", 3, &text, &last), 0);
    assert_int_equal(text.len, 2);
    assert_memory_equal(text.data, "ab", 2);
    assert_int_equal(last.waiting.len, 0);
    assert_true(hw_bdh_snapshot_same(first.snapshot, last.snapshot)); /* no token was taken */
    hw_bdh_saved_free(&first);
    hw_bdh_saved_free(&last);
    hw_buf_free(&text);
    hw_bdh_session_destroy(&session);
    hw_bdh_engine_destroy(&engine);
}

static void
write_bytes(const uint8_t *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

/* The file as it is; the caller frees it. */
static uint8_t *
read_bytes(size_t *len)
{
    uint8_t *bytes = malloc(MAX_FILE);
    FILE *file = fopen(path, "rb");
    assert_non_null(bytes);
    assert_non_null(file);
    *len = fread(bytes, 1, MAX_FILE, file);
    fclose(file);
    return bytes;
}

/* With a checksum that fits what was altered. */
static void
write_signed(uint8_t *bytes, size_t len)
{
    crypto_generichash(bytes + len - 32, 32, bytes, len - 32, NULL, 0);
    write_bytes(bytes, len);
}

static void
expect_refused(const struct hw_bdh_engine *engine, const char *why)
{
    struct hw_bdh_saved saved = {0};
    struct hw_err err = {{0}};
    int rc = hw_bdh_saved_read(engine, path, &saved, &err);
    if (rc == 0 || strstr(err.msg, why) == NULL || strstr(err.msg, path) == NULL)
        fail_msg("wanted \"%s\", got %d \"%s\"", why, rc, err.msg);
    assert_null(saved.snapshot);
    assert_null(saved.logits);
}

/* Offsets as the header's drawing has them. */
static void
test_files_that_lie(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
        const char *why;
    } lies[] = {
        {0, 'X', "is no saved state"},
        {8, 2, "is of version 2, known is 3"},
        {12, 1, "in fast, this one"},
        {12, 9, "unknown precision"},
        {16, 1, "is of another model"},
        {55, 1, "a broken head"},
        {120, 1, "not this model's"},
        {124, 1, "not this model's"},
        {128, 1, "not this model's"},
        {143, 1, "not this model's"},
        {151, 0xff, "not this model's"},
        {188, 68, "a broken head"},
        {185, 0xff, "a broken head"},
        {184, 200, "where its head says"},
        {193, 0xff, "has a token"},
        {188, 5, "where its head says"},
        {192 + 16 * 4 + 1024, 0, "has a map of"},
    };
    struct hw_bdh_engine *engine = load("tiny_s002", HW_BDH_F32);
    struct hw_bdh_engine *fast = load("tiny_s002", HW_BDH_FAST);
    struct hw_bdh_engine *other = load("h3_d20_s002", HW_BDH_F32);
    struct hw_bdh_session *session = new_session(engine);
    struct hw_bdh_saved saved = {0};
    struct hw_buf text;
    hw_buf_init(&text, 4000);
    struct hw_generation_conf conf = drawn;
    conf.sampler.repeat_last = 16;
    draw(session, &conf, "Once upon a time", 20, &text, &saved);
    assert_int_equal(hw_bdh_saved_write(&saved, path, NULL), 0);
    size_t len;
    uint8_t *bytes = read_bytes(&len), *altered = malloc(len);
    assert_non_null(altered);
    expect_refused(fast, "is of a session in f32, this one is in fast");
    expect_refused(other, "is of another model");
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        memcpy(altered, bytes, len);
        altered[lies[i].at] = lies[i].value;
        write_signed(altered, len);
        expect_refused(engine, lies[i].why);
    }
    memcpy(altered, bytes, len);
    altered[len - 32 - 4 + 2] |= 1; /* the last pair: by the 17th token of an open block */
    write_signed(altered, len);
    expect_refused(engine, "has pairs touched by more than its");
    memcpy(altered, bytes, len);
    altered[len / 2] ^= 1;
    write_bytes(altered, len);
    expect_refused(engine, "is damaged");
    for (size_t cut = 0; cut < len; cut += cut < 300 ? 1 : 4099) {
        write_bytes(bytes, cut);
        expect_refused(engine, cut < 192 ? "is no saved state" : "where its head says");
    }
    write_bytes(bytes, len);
    struct hw_bdh_saved back = {0};
    assert_int_equal(hw_bdh_saved_read(engine, path, &back, NULL), 0); /* unaltered, it is taken */
    assert_int_equal(hw_bdh_session_restore(session, back.snapshot, NULL), 0);
    struct hw_bdh_session *foreign = new_session(other);
    assert_int_equal(hw_bdh_session_restore(foreign, back.snapshot, NULL), HW_EINVAL);
    hw_bdh_session_destroy(&foreign);
    hw_bdh_saved_free(&back);
    unlink(path);
    expect_refused(engine, "cannot open");
    struct hw_err err = {{0}};
    assert_int_equal(hw_bdh_saved_write(&saved, "/nowhere/at/all", &err), HW_EIO);
    assert_non_null(strstr(err.msg, "/nowhere/at/all"));
    free(bytes);
    free(altered);
    hw_buf_free(&text);
    hw_bdh_saved_free(&saved);
    hw_bdh_session_destroy(&session);
    hw_bdh_engine_destroy(&engine);
    hw_bdh_engine_destroy(&fast);
    hw_bdh_engine_destroy(&other);
}

static uint64_t
number_at(const uint8_t *bytes, size_t at, size_t width)
{
    uint64_t value = 0;

    memcpy(&value, bytes + at, width); /* little-endian, as this machine */
    return value;
}

/* In fast each pair's rows have a scale behind them: a size above 0, and no other number. */
static void
test_scales_that_lie(void **state)
{
    (void)state;
    static const float lies[] = {0.0f, -1.0f, NAN, INFINITY};
    struct hw_bdh_engine *fast = load("tiny_s002", HW_BDH_FAST);
    struct hw_bdh_session *session = new_session(fast);
    struct hw_bdh_saved saved = {0};
    struct hw_buf text;
    hw_buf_init(&text, 4000);
    struct hw_generation_conf conf = drawn;
    draw(session, &conf, "Once upon a time, there was a state", 20, &text, &saved);
    assert_int_equal(hw_bdh_saved_write(&saved, path, NULL), 0);
    size_t len;
    uint8_t *bytes = read_bytes(&len);
    size_t vocab = number_at(bytes, 120, 4), pair_bytes = number_at(bytes, 124, 4);
    size_t body = 192 + 4 * number_at(bytes, 184, 4) + number_at(bytes, 188, 4) + 4 * vocab;
    size_t scale_at = body + (number_at(bytes, 128, 8) + 7) / 8 + pair_bytes - sizeof(float);
    float scale;
    memcpy(&scale, bytes + scale_at, sizeof(scale));
    assert_true(scale > 0.0f && scale < 1.0f);
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        memcpy(bytes + scale_at, &lies[i], sizeof(lies[i]));
        write_signed(bytes, len);
        expect_refused(fast, "has a pair of rows whose scale is ");
    }
    memcpy(bytes + scale_at, &scale, sizeof(scale));
    write_signed(bytes, len);
    struct hw_bdh_saved back = {0};
    assert_int_equal(hw_bdh_saved_read(fast, path, &back, NULL), 0);
    hw_bdh_saved_free(&back);
    free(bytes);
    hw_buf_free(&text);
    hw_bdh_saved_free(&saved);
    hw_bdh_session_destroy(&session);
    hw_bdh_engine_destroy(&fast);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restored_to_the_bit),
        cmocka_unit_test(test_what_is_empty_is_left_out),
        cmocka_unit_test(test_the_longest_that_fits),
        cmocka_unit_test(test_a_file_goes_on_as_if_never_left),
        cmocka_unit_test(test_text_goes_on_where_it_was_cut),
        cmocka_unit_test(test_what_waits_may_be_another_stop),
        cmocka_unit_test(test_files_that_lie),
        cmocka_unit_test(test_scales_that_lie),
    };
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return rc;
}

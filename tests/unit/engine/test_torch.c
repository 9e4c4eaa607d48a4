/* PyTorch files, damaged: cut at every byte there is an error, and a flipped bit never does worse
 * than one. tests/scenario/test_torch_files.py has the layouts and the lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/model.h"

#define SMALL HW_SOURCE_DIR "/tests/fuzz/seeds/checkpoint/plain.pt"
#define LARGE HW_SOURCE_DIR "/tests/vectors/bdh/tiny_s002/model"

static uint8_t *
read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(1u << 20);
    assert_non_null(file);
    assert_non_null(bytes);
    *len = fread(bytes, 1, 1u << 20, file);
    fclose(file);
    return bytes;
}

/* Loads the first len bytes through a file in memory. */
static int
load(const uint8_t *bytes, size_t len, struct hw_bdh_model **model, struct hw_err *err)
{
    char path[64];
    int fd = memfd_create("torch", MFD_CLOEXEC);
    assert_true(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int rc = hw_bdh_model_load(path, model, err);
    close(fd);
    return rc;
}

static void
expect_refused(const uint8_t *bytes, size_t len)
{
    struct hw_bdh_model *model = NULL;
    struct hw_err err = {{0}};
    assert_true(load(bytes, len, &model, &err) < 0);
    assert_null(model);
    assert_true(err.msg[0] != '\0');
}

static void
test_truncated_at_every_byte(void **state)
{
    (void)state;
    size_t len;
    uint8_t *bytes = read_file(SMALL, &len);
    for (size_t cut = 0; cut < len; cut++)
        expect_refused(bytes, cut);
    free(bytes);
    bytes = read_file(LARGE ".pt", &len);
    for (size_t cut = 0; cut < len; cut += cut + 2048 < len ? 1021 : 1)
        expect_refused(bytes, cut);
    free(bytes);
}

static void
test_flipped_bits(void **state)
{
    (void)state;
    size_t len, loaded = 0;
    uint8_t *bytes = read_file(SMALL, &len);
    for (size_t at = 0; at < len * 8; at += 3) {
        struct hw_bdh_model *model = NULL;
        struct hw_err err = {{0}};
        bytes[at / 8] ^= (uint8_t)(1u << at % 8);
        int rc = load(bytes, len, &model, &err);
        assert_true((rc == 0) == (model != NULL));
        loaded += rc == 0; /* a flipped weight is a weight */
        hw_bdh_model_destroy(&model);
        bytes[at / 8] ^= (uint8_t)(1u << at % 8);
    }
    assert_true(loaded > 0 && loaded < len * 8 / 3);
    free(bytes);
}

static void
test_same_model_as_safetensors(void **state)
{
    (void)state;
    struct hw_bdh_model *torch = NULL, *plain = NULL;
    struct hw_err err = {{0}};
    if (hw_bdh_model_load(LARGE ".pt", &torch, &err) != 0 ||
        hw_bdh_model_load(LARGE ".safetensors", &plain, &err) != 0)
        fail_msg("%s", err.msg);
    assert_memory_equal(&torch->conf, &plain->conf, sizeof(torch->conf));
    assert_memory_equal(torch->digest, plain->digest, sizeof(torch->digest));
    assert_string_equal(torch->name, "model");
    hw_bdh_model_destroy(&torch);
    hw_bdh_model_destroy(&plain);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated_at_every_byte),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_same_model_as_safetensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Muon's step turns a gradient into a matrix whose singular values are all near 1, whichever way it
 * lies in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "engine/train_muon.h"
#include "engine/train_rng.h"

enum { ROWS = 6, COLUMNS = 40 };

/* Rows of very different sizes: plain descent would all but ignore the small ones. */
static void
make_gradient(float grad[ROWS * COLUMNS])
{
    struct hw_train_rng rng = hw_train_rng_make(5, 1);

    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLUMNS; c++)
            grad[r * COLUMNS + c] = hw_train_rng_normal(&rng) * powf(2.0f, -(float)r);
}

static void
step(bool transposed, const float *grad, float *w)
{
    struct hw_muon_step conf = {.lr = 1.0f, .momentum = 0.9f, .decay = 0.0f};
    struct hw_muon *muon = NULL;
    struct hw_blas blas;
    float m[ROWS * COLUMNS] = {0};

    hw_blas_open(true, &blas);
    assert_int_equal(hw_muon_create(ROWS, COLUMNS, &blas, &muon, NULL), 0);
    memset(w, 0, sizeof(float) * ROWS * COLUMNS);
    hw_muon_step(muon, transposed, &conf, w, grad, m);
    hw_muon_destroy(&muon);
}

static void
test_rows_become_orthonormal(void **state)
{
    (void)state;
    float grad[ROWS * COLUMNS], w[ROWS * COLUMNS];
    float scale = 0.2f * sqrtf((float)COLUMNS);

    make_gradient(grad);
    step(false, grad, w);
    for (size_t r = 0; r < ROWS; r++) {
        float along = 0.0f;
        for (size_t c = 0; c < COLUMNS; c++)
            along += w[r * COLUMNS + c] * grad[r * COLUMNS + c];
        assert_true(along < 0.0f); /* downhill */
        for (size_t s = 0; s < ROWS; s++) {
            float dot = 0.0f;
            for (size_t c = 0; c < COLUMNS; c++)
                dot += w[r * COLUMNS + c] * w[s * COLUMNS + c] / (scale * scale);
            if (r == s)
                assert_true(dot > 0.4f && dot < 1.5f);
            else
                assert_true(fabsf(dot) < 0.3f);
        }
    }
}

static void
test_transposed_is_the_same(void **state)
{
    (void)state;
    float grad[ROWS * COLUMNS], turned[ROWS * COLUMNS], w[ROWS * COLUMNS], w_turned[ROWS * COLUMNS];

    make_gradient(grad);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLUMNS; c++)
            turned[c * ROWS + r] = grad[r * COLUMNS + c];
    step(false, grad, w);
    step(true, turned, w_turned);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLUMNS; c++)
            assert_true(fabsf(w[r * COLUMNS + c] - w_turned[c * ROWS + r]) < 1e-4f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_become_orthonormal),
        cmocka_unit_test(test_transposed_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The angles against libm's sines and cosines of the reference's phase. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/rope.h"

#define N 134 /* more than a chunk of pairs, and not a multiple of one */

static const uint64_t positions[] = {0,       1,       2,        3,          17,        255,
                                     1000,    65535,   100000,   4194303,    4194304,   16777217,
                                     1 << 27, 1 << 30, 1u << 31, 3000000000, 1ull << 40};

static void
expect_angles(const float *freqs, size_t n, uint64_t position)
{
    float cosines[N], sines[N];

    hw_rope_angles(freqs, n, position, cosines, sines);
    for (size_t i = 0; i < n; i++) {
        volatile float phase = (float)position * freqs[i]; /* rounded once */
        volatile float angle = (phase - floorf(phase)) * (float)(2.0 * M_PI);
        assert_true(fabs((double)cosines[i] - cos((double)angle)) <= 6e-8);
        assert_true(fabs((double)sines[i] - sin((double)angle)) <= 6e-8);
    }
    hw_rope_angles_wide(freqs, n, position, cosines, sines);
    for (size_t i = 0; i < n; i++) {
        double phase = (double)position * (double)freqs[i];
        double angle = (phase - floor(phase)) * 2.0 * M_PI;
        assert_true(fabs((double)cosines[i] - cos(angle)) <= 5e-7);
        assert_true(fabs((double)sines[i] - sin(angle)) <= 5e-7);
    }
}

static void
expect_everywhere(const float *freqs)
{
    for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++)
        for (size_t n = 2; n <= N; n += 44)
            expect_angles(freqs, n, positions[i]);
}

static void
test_published_formula(void **state)
{
    float freqs[N];
    (void)state;

    for (int i = 0; i < N; i++)
        freqs[i] = (float)(pow(65536.0, -2.0 * (i / 2) / N) / (2.0 * M_PI));
    expect_everywhere(freqs);
    freqs[7] = 0.25f; /* forks: a pair that does not share, */
    freqs[N - 1] = 0.0f;
    expect_everywhere(freqs);
    freqs[2] = -0.001f; /* and what no formula of ours gives */
    freqs[9] = 1.5f;
    expect_everywhere(freqs);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_formula),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

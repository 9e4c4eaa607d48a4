/* engine/bench.h - what `hatchway bdh bench` measures, apart from how it is shown.
 *
 * Rates are by the process's CPU time: another process on the core costs cache, not seconds. */
#ifndef HW_ENGINE_BENCH_H
#define HW_ENGINE_BENCH_H

#include "engine/forward.h"
#include "hatchway/buf.h"

enum { HW_BENCH_SESSIONS = 16, HW_BENCH_PROMPT = 4096, HW_BENCH_MAX_SEGMENTS = 4096 };

/* Text to read, in segments that each begin at position 0. */
struct hw_bench_text {
    struct hw_buf bytes;
    size_t starts[HW_BENCH_MAX_SEGMENTS];
    size_t count;
};

enum hw_bench_way {
    HW_BENCH_SINGLE,  /* a single stream */
    HW_BENCH_BATCH,   /* 16 sessions together */
    HW_BENCH_PREFILL, /* a 4 KiB prompt */
    HW_BENCH_WAYS,
};

struct hw_bench_rates {
    double tokens_s[HW_BENCH_WAYS];
    double stage_us[HW_BENCH_WAYS][HW_BDH_STAGES]; /* a token */
    double sample_us;
    double touched; /* share of the state's pairs of rows that a token reads */
};

/* CPU seconds that this process has used. */
double hw_bench_cpu_s(void);
/* Runs about `seconds` for each of the three rates, in rounds; the best of each counts, for what
 * disturbs a measurement only ever slows it. */
int hw_bench_engine(const struct hw_bdh_engine *engine, const struct hw_bench_text *text,
                    double seconds, struct hw_bench_rates *out, struct hw_err *err);
/* Mean loss in nats a byte, over at most max_bytes of the text. */
int hw_bench_loss(const struct hw_bdh_engine *engine, const struct hw_bench_text *text,
                  size_t max_bytes, double *out, struct hw_err *err);
/* What the machine itself does now: GB/s of reading 256 MiB, GFLOPS of a 512-cubed product (and
 * whose product it is). */
int hw_bench_machine(double seconds, double *gb_s, double *gflops, char name[64],
                     struct hw_err *err);

#endif

/* engine/bench.c - the measurements. A stream is what serving does: sampled tokens, fed back. */
#include "engine/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/blas.h"
#include "engine/sample.h"

enum { WARM_UP = 192, GEMM = 512 };

#define READ_BYTES ((size_t)256 << 20)

double
hw_bench_cpu_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* One stream with what it needs. */
struct stream {
    struct hw_bdh_session *session;
    struct hw_sampler *sampler;
    float *logits;
};

static int
open_stream(const struct hw_bdh_engine *engine, uint64_t seed, struct stream *s, struct hw_err *err)
{
    const struct hw_sampler_conf conf = {.temperature = 0.8f, .top_k = 10, .seed = seed};
    uint32_t vocab = hw_bdh_engine_config(engine)->vocab;
    int rc;

    *s = (struct stream){.logits = calloc(vocab, sizeof(float))};
    if (s->logits == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for %u logits", vocab);
    if ((rc = hw_sampler_create(vocab, &conf, &s->sampler, err)) != 0)
        return rc;
    return hw_bdh_session_create(engine, &s->session, err);
}

static void
close_stream(struct stream *s)
{
    hw_bdh_session_destroy(&s->session);
    hw_sampler_destroy(&s->sampler);
    free(s->logits);
}

/* `count` tokens from the text's bytes, starting anywhere, going round. */
static void
take_tokens(const struct hw_bench_text *text, size_t from, uint32_t *tokens, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tokens[i] = (uint8_t)text->bytes.data[(from + i) % text->bytes.len];
}

static void
warm_up(struct stream *s, const struct hw_bench_text *text, size_t from)
{
    uint32_t tokens[WARM_UP];

    take_tokens(text, from, tokens, WARM_UP);
    hw_bdh_session_feed(s->session, tokens, WARM_UP, s->logits);
}

/* Stages are shares of elapsed time; a step's CPU time is what they are shares of, so that being
 * put aside for another process does not count. */
static void
measure_decode(struct stream *s, double seconds, struct hw_bench_rates *out)
{
    uint64_t ns[HW_BDH_STAGES] = {0}, all = 0;
    double start = hw_bench_cpu_s(), sampling = 0.0, elapsed = 0.0;
    size_t count = 0;

    hw_bdh_session_profile(s->session, ns);
    while (elapsed < seconds) {
        double before = hw_bench_cpu_s();
        uint32_t token = hw_sampler_pick(s->sampler, s->logits);
        sampling += hw_bench_cpu_s() - before;
        hw_bdh_session_step(s->session, token, s->logits);
        count++;
        elapsed = hw_bench_cpu_s() - start;
    }
    hw_bdh_session_profile(s->session, NULL);
    for (int i = 0; i < HW_BDH_STAGES; i++)
        all += ns[i];
    double step_us = (elapsed - sampling) * 1e6 / (double)count;
    for (int i = 0; i < HW_BDH_STAGES; i++)
        out->stage_us[i] = step_us * (double)ns[i] / (double)(all > 0 ? all : 1);
    out->sample_us = sampling * 1e6 / (double)count;
    out->decode = (double)count / elapsed;
}

static void
measure_prefill(struct stream *s, const struct hw_bench_text *text, double seconds,
                struct hw_bench_rates *out)
{
    static uint32_t tokens[HW_BENCH_PROMPT];
    double used = 0.0;
    size_t count = 0;

    take_tokens(text, 0, tokens, HW_BENCH_PROMPT);
    while (used < seconds) {
        hw_bdh_session_reset(s->session);
        double start = hw_bench_cpu_s();
        hw_bdh_session_feed(s->session, tokens, HW_BENCH_PROMPT, s->logits);
        used += hw_bench_cpu_s() - start;
        count += HW_BENCH_PROMPT;
    }
    out->prefill = (double)count / used;
}

static int
measure_batch(const struct hw_bdh_engine *engine, const struct hw_bench_text *text, double seconds,
              struct hw_bench_rates *out, struct hw_err *err)
{
    struct stream streams[HW_BENCH_SESSIONS] = {0};
    struct hw_bdh_session *sessions[HW_BENCH_SESSIONS];
    float *logits[HW_BENCH_SESSIONS];
    uint32_t tokens[HW_BENCH_SESSIONS];
    double elapsed = 0.0;
    size_t count = 0;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < HW_BENCH_SESSIONS; i++) {
        if ((rc = open_stream(engine, i, &streams[i], err)) != 0)
            break;
        warm_up(&streams[i], text, i * 997);
        sessions[i] = streams[i].session;
        logits[i] = streams[i].logits;
    }
    double start = hw_bench_cpu_s();
    while (rc == 0 && elapsed < seconds) {
        for (size_t i = 0; i < HW_BENCH_SESSIONS; i++)
            tokens[i] = hw_sampler_pick(streams[i].sampler, logits[i]);
        hw_bdh_sessions_step(sessions, tokens, HW_BENCH_SESSIONS, logits);
        count += HW_BENCH_SESSIONS;
        elapsed = hw_bench_cpu_s() - start;
    }
    for (size_t i = 0; i < HW_BENCH_SESSIONS; i++)
        close_stream(&streams[i]);
    if (rc == 0)
        out->batch = (double)count / elapsed;
    return rc;
}

int
hw_bench_engine(const struct hw_bdh_engine *engine, const struct hw_bench_text *text,
                double seconds, struct hw_bench_rates *out, struct hw_err *err)
{
    struct stream s;
    int rc = open_stream(engine, 1, &s, err);

    if (rc == 0) {
        warm_up(&s, text, 0);
        measure_decode(&s, seconds, out);
        measure_prefill(&s, text, seconds, out);
    }
    close_stream(&s);
    return rc != 0 ? rc : measure_batch(engine, text, seconds, out, err);
}

/* -log softmax(logits)[token] */
static double
loss_of(const float *logits, uint32_t vocab, uint32_t token)
{
    float largest = logits[0]; /* a maximum in double of floats crashes gcc 12 for aarch64 */
    double sum = 0.0;

    for (uint32_t i = 1; i < vocab; i++)
        largest = fmaxf(largest, logits[i]);
    for (uint32_t i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - (double)largest);
    return log(sum) + (double)largest - (double)logits[token];
}

int
hw_bench_loss(const struct hw_bdh_engine *engine, const struct hw_bench_text *text,
              size_t max_bytes, double *out, struct hw_err *err)
{
    uint32_t vocab = hw_bdh_engine_config(engine)->vocab;
    double sum = 0.0;
    size_t counted = 0, stop = text->bytes.len < max_bytes ? text->bytes.len : max_bytes;
    struct stream s;

    int rc = open_stream(engine, 1, &s, err);
    for (size_t segment = 0, at = 0; rc == 0 && at < stop; at++) {
        uint32_t token = (uint8_t)text->bytes.data[at];
        if (segment < text->count && at == text->starts[segment]) {
            hw_bdh_session_reset(s.session);
            segment++;
        } else {
            sum += loss_of(s.logits, vocab, token % vocab);
            counted++;
        }
        hw_bdh_session_step(s.session, token, s.logits);
    }
    close_stream(&s);
    *out = counted > 0 ? sum / (double)counted : 0.0;
    return rc;
}

/* Sixteen sums, so that the reading and not the adding is what takes the time. */
static uint64_t
read_all(const uint64_t *words, size_t count)
{
    uint64_t sums[16] = {0}, sum = 0;

    for (size_t i = 0; i + 16 <= count; i += 16)
        for (size_t j = 0; j < 16; j++)
            sums[j] += words[i + j];
    for (size_t j = 0; j < 16; j++)
        sum += sums[j];
    return sum;
}

static double
measure_reading(const uint64_t *words, double seconds)
{
    double start = hw_bench_cpu_s(), elapsed = 0.0;
    volatile uint64_t sink = 0;
    size_t rounds = 0;

    while (elapsed < seconds) {
        sink += read_all(words, READ_BYTES / sizeof(uint64_t));
        rounds++;
        elapsed = hw_bench_cpu_s() - start;
    }
    return (double)rounds * (double)READ_BYTES / elapsed * 1e-9;
}

static double
measure_product(const struct hw_blas *blas, const float *a, float *c, double seconds)
{
    const struct hw_gemm gemm = {.m = GEMM,
                                 .n = GEMM,
                                 .k = GEMM,
                                 .a = a,
                                 .lda = GEMM,
                                 .b = a,
                                 .ldb = GEMM,
                                 .c = c,
                                 .ldc = GEMM};
    size_t rounds = 0;

    hw_blas_gemm(blas, &gemm); /* its buffers, its pages */
    double start = hw_bench_cpu_s(), elapsed = 0.0;
    while (elapsed < seconds) {
        hw_blas_gemm(blas, &gemm);
        rounds++;
        elapsed = hw_bench_cpu_s() - start;
    }
    return (double)rounds * 2.0 * GEMM * GEMM * GEMM / elapsed * 1e-9;
}

int
hw_bench_machine(double seconds, double *gb_s, double *gflops, char name[64], struct hw_err *err)
{
    const size_t cells = (size_t)GEMM * GEMM;
    uint64_t *words = aligned_alloc(64, READ_BYTES);
    float *a = calloc(cells, sizeof(float)), *c = calloc(cells, sizeof(float));
    struct hw_blas blas;
    int rc = 0;

    if (words == NULL || a == NULL || c == NULL) {
        rc = hw_err_set(err, HW_ENOMEM, "no memory to measure memory with");
    } else {
        memset(words, 1, READ_BYTES);
        hw_blas_open(false, &blas);
        *gb_s = measure_reading(words, seconds);
        *gflops = measure_product(&blas, a, c, seconds);
        snprintf(name, 64, "%s", blas.name);
    }
    free(words);
    free(a);
    free(c);
    return rc;
}

/* engine/bench.c - the measurements. A stream is what serving does: sampled tokens, fed back. */
#include "engine/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/blas.h"
#include "engine/forward_parts.h"
#include "engine/sample.h"
#include "engine/turns.h"

/* CPU time is asked of the system: not after each token. */
#define ASK_CPU_NS 2000000u

/* Many short rounds, of which the best counts: a core's neighbours come and go. */
enum { WARM_UP = 192, GEMM = 512, ROUNDS = 12 };

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

/* What a way of passing tokens has cost. */
struct meter {
    uint64_t stage_ns[HW_BDH_STAGES];
    double stepping_s, sampling_s;
    size_t count;
};

/* Stages are shares of elapsed time; a step's CPU time is what they are shares of, so that being
 * put aside for another process does not count. */
static void
read_meter(const struct meter *meter, enum hw_bench_way way, struct hw_bench_rates *out)
{
    double all = 0.0, step_us = meter->stepping_s * 1e6 / (double)meter->count;
    double tokens_s = (double)meter->count / (meter->stepping_s + meter->sampling_s);

    if (tokens_s <= out->tokens_s[way])
        return;
    out->tokens_s[way] = tokens_s;
    for (int i = 0; i < HW_BDH_STAGES; i++)
        all += (double)meter->stage_ns[i];
    for (int i = 0; i < HW_BDH_STAGES; i++)
        out->stage_us[way][i] = all > 0.0 ? step_us * (double)meter->stage_ns[i] / all : 0.0;
    if (way == HW_BENCH_SINGLE)
        out->sample_us = meter->sampling_s * 1e6 / (double)meter->count;
}

/* Sampled tokens, fed back, of streams that a worker would serve: as many step together as the
 * cache has room for, in turns. */
static void
measure_decode(struct stream *streams, size_t count, double seconds, struct hw_bench_rates *out)
{
    struct meter meter = {0};
    struct hw_bdh_session *sessions[HW_BENCH_SESSIONS];
    float *logits[HW_BENCH_SESSIONS];
    uint32_t tokens[HW_BENCH_SESSIONS];

    for (size_t i = 0; i < count; i++) {
        sessions[i] = streams[i].session;
        logits[i] = streams[i].logits;
    }
    size_t together = hw_turn_sessions(count, hw_bdh_engine_state_bytes(streams[0].session->engine),
                                       hw_turn_cache_bytes());
    for (size_t first = 0; first < count; first += together)
        hw_bdh_session_profile(sessions[first], meter.stage_ns);
    size_t first = 0, turn = 0;
    uint64_t sampling_ns = 0, stepping_ns = 0, asked_ns = 0;
    double start = hw_bench_cpu_s(), used = 0.0; /* by all tokens so far */
    while (used < seconds) {
        uint64_t begun = hw_bdh_now_ns();
        size_t n = count - first < together ? count - first : together;
        for (size_t i = first; i < first + n && n < count && turn % HW_TURN == 0; i++)
            hw_bdh_session_fetch(sessions[i]);
        for (size_t i = first; i < first + n; i++)
            tokens[i] = hw_sampler_pick(streams[i].sampler, logits[i]);
        uint64_t sampled = hw_bdh_now_ns();
        hw_bdh_sessions_step(sessions + first, tokens + first, n, logits + first);
        uint64_t stepped = hw_bdh_now_ns();
        sampling_ns += sampled - begun;
        stepping_ns += stepped - sampled;
        meter.count += n;
        if (++turn % HW_TURN == 0)
            first = first + n < count ? first + n : 0;
        if (stepped - asked_ns >= ASK_CPU_NS) {
            asked_ns = stepped;
            used = hw_bench_cpu_s() - start;
        }
    }
    meter.sampling_s = used * (double)sampling_ns / (double)(sampling_ns + stepping_ns);
    meter.stepping_s = used - meter.sampling_s;
    for (first = 0; first < count; first += together)
        hw_bdh_session_profile(sessions[first], NULL);
    read_meter(&meter, count > 1 ? HW_BENCH_BATCH : HW_BENCH_SINGLE, out);
}

static void
measure_prefill(struct stream *s, const struct hw_bench_text *text, double seconds,
                struct hw_bench_rates *out)
{
    static uint32_t tokens[HW_BENCH_PROMPT];

    take_tokens(text, 0, tokens, HW_BENCH_PROMPT);
    for (double used = 0.0; used < seconds;) {
        struct meter meter = {.count = HW_BENCH_PROMPT};
        hw_bdh_session_reset(s->session);
        hw_bdh_session_profile(s->session, meter.stage_ns);
        double start = hw_bench_cpu_s();
        hw_bdh_session_feed(s->session, tokens, HW_BENCH_PROMPT, s->logits);
        meter.stepping_s = hw_bench_cpu_s() - start;
        used += meter.stepping_s;
        read_meter(&meter, HW_BENCH_PREFILL, out);
    }
    hw_bdh_session_profile(s->session, NULL);
}

/* Of the session's last tokens, as many as a block holds now. */
static double
count_touched(const struct hw_bdh_session *session)
{
    const struct hw_bdh_engine *e = session->engine;
    size_t places = (size_t)e->conf.n_layer * e->conf.n_head, sum = 0;
    size_t tokens = (session->position - 1) % e->block + 1;

    for (size_t i = 0; i < places * e->head_width / 2; i++)
        sum += (size_t)__builtin_popcount(session->touched[i]);
    return (double)sum / (double)(places * (e->conf.n_neuron / 2) * tokens);
}

int
hw_bench_engine(const struct hw_bdh_engine *engine, const struct hw_bench_text *text,
                double seconds, struct hw_bench_rates *out, struct hw_err *err)
{
    struct stream streams[HW_BENCH_SESSIONS] = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < HW_BENCH_SESSIONS; i++)
        if ((rc = open_stream(engine, i, &streams[i], err)) == 0)
            warm_up(&streams[i], text, i * 997);
    for (int round = 0; rc == 0 && round < ROUNDS; round++) {
        measure_decode(streams, HW_BENCH_SESSIONS, seconds / ROUNDS, out);
        measure_decode(streams, 1, seconds / ROUNDS, out);
    }
    if (rc == 0) {
        out->touched = count_touched(streams[1].session);
        measure_prefill(streams, text, seconds, out);
    }
    for (size_t i = 0; i < HW_BENCH_SESSIONS; i++)
        close_stream(&streams[i]);
    return rc;
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

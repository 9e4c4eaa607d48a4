/* policies/expect.c - how long an answer will take, before and after anything is known.
 *
 * Kinds are compared in bytes of text a second, because a BDH token is a byte and a transformer's
 * about four. Priors come from measurements of the fleet (Llama 3.1 8B and Qwen 2.5 14B under
 * Ollama, BDH under PyTorch) and are scaled by the model's size as its name tells it; the first few
 * answers replace them (stats.c). */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policies/rank.h"

#define BYTES_PER_TOKEN 4
#define GUESSED_ANSWER_BYTES 1024 /* nobody knows beforehand; most answers end by themselves */
#define MIN_RATE 0.1
#define PLAINLY 1.5
#define SHARED 0.25 /* of its time a query loses on a backend whose other places are all taken */

struct prior {
    double ttft_ms, prefill_bytes_s, decode_bytes_s;
};

static const struct prior bdh_local = {
    .ttft_ms = 20, .prefill_bytes_s = 4000, .decode_bytes_s = 800};
static const struct prior bdh_node[HW_DEVICE_COUNT] = {
    [HW_DEVICE_CPU] = {.ttft_ms = 500, .prefill_bytes_s = 300, .decode_bytes_s = 10},
    [HW_DEVICE_MPS] = {.ttft_ms = 200, .prefill_bytes_s = 2000, .decode_bytes_s = 57},
    [HW_DEVICE_CUDA] = {.ttft_ms = 100, .prefill_bytes_s = 20000, .decode_bytes_s = 629},
};
/* For 8 billion parameters; tokens a second x 4. */
static const struct prior transformer[HW_DEVICE_COUNT] = {
    [HW_DEVICE_CPU] = {.ttft_ms = 1500, .prefill_bytes_s = 120, .decode_bytes_s = 20},
    [HW_DEVICE_MPS] = {.ttft_ms = 400, .prefill_bytes_s = 1200, .decode_bytes_s = 120},
    [HW_DEVICE_CUDA] = {.ttft_ms = 150, .prefill_bytes_s = 12000, .decode_bytes_s = 800},
};

/* Billions of parameters as model names tell them ("llama3.1:8b", "qwen2.5-0.5B-instruct"); 8 when
 * they do not. */
static double
billions(const char *model)
{
    for (const char *p = model; *p != '\0'; p++) {
        bool starts = isdigit((unsigned char)*p) &&
                      (p == model || !isalnum((unsigned char)p[-1])) &&
                      (p == model || p[-1] != '.');
        if (!starts)
            continue;
        char *end;
        double size = strtod(p, &end);
        bool ends = (*end == 'b' || *end == 'B') && !isalnum((unsigned char)end[1]);
        if (ends && size >= 0.05 && size <= 2000)
            return size;
    }
    return 8;
}

void
hw_rank_prior(const struct hw_conf_backend *backend, struct hw_backend_view *view)
{
    const struct prior *prior = &transformer[backend->device];
    double slower = 1;

    if (backend->kind == HW_KIND_BDH)
        prior = backend->url != NULL ? &bdh_node[backend->device] : &bdh_local;
    else if (backend->models.count > 0)
        slower = billions(backend->models.items[0]) / 8;
    view->ttft_ms = prior->ttft_ms;
    view->prefill_bytes_s = prior->prefill_bytes_s / slower;
    view->decode_bytes_s = prior->decode_bytes_s / slower;
}

double
hw_backend_parallel(const struct hw_conf_backend *backend)
{
    if (backend->kind == HW_KIND_BDH)
        return backend->url == NULL && backend->workers > 1 ? backend->workers : 1;
    return backend->max_inflight > 1 ? backend->max_inflight : 1;
}

static double
rate(double bytes_s)
{
    return bytes_s > MIN_RATE ? bytes_s : MIN_RATE;
}

double
hw_expect_answer_bytes(const struct hw_backend_view *views, size_t count)
{
    double sum = 0, known = 0;

    for (size_t i = 0; i < count; i++) {
        sum += views[i].answer_bytes;
        known += views[i].answer_bytes > 0;
    }
    return known > 0 ? sum / known : GUESSED_ANSWER_BYTES;
}

double
hw_expect_service_ms(const struct hw_backend_view *view, double answer_bytes)
{
    if (view->service_ms > 0)
        return view->service_ms;
    return view->ttft_ms + answer_bytes * 1000 / rate(view->decode_bytes_s);
}

/* Behind those that fill the backend and those that wait for it, each takes its turn; beside those
 * that do not fill it, a query is a little slower. */
static double
queue_ms(const struct hw_backend_view *view, const struct hw_conf_backend *backend,
         double answer_bytes)
{
    double slots = hw_backend_parallel(backend), busy = view->inflight;
    double service_ms = hw_expect_service_ms(view, answer_bytes);

    if (busy < slots)
        return SHARED * busy / slots * service_ms;
    return (busy - slots + 1 + view->waiting) * service_ms / slots;
}

/* What the queries in flight at a backend take of its device, which works on several. */
static double
work_ms(const struct hw_backend_view *view, const struct hw_conf_backend *backend,
        double answer_bytes)
{
    double parts =
        backend->on->max_inflight > 0 ? backend->on->max_inflight : hw_backend_parallel(backend);

    return view->inflight * hw_expect_service_ms(view, answer_bytes) / parts;
}

void
hw_expect_others(const struct hw_snapshot *snapshot, struct hw_backend_view *views)
{
    const struct hw_conf_backend *backends = snapshot->backends;
    double answer_bytes = hw_expect_answer_bytes(views, snapshot->backend_count);
    double sums[HW_MAX_DEVICES], own = 0;

    for (size_t i = 0; i < snapshot->device_count; i++)
        sums[i] = 0;
    for (size_t i = 0; i < snapshot->backend_count; i++)
        if (backends[i].on != NULL && views[i].inflight > 0)
            sums[backends[i].on - snapshot->devices] +=
                work_ms(&views[i], &backends[i], answer_bytes);
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        views[i].others_ms = 0;
        if (backends[i].on == NULL)
            continue;
        own = views[i].inflight > 0 ? work_ms(&views[i], &backends[i], answer_bytes) : 0;
        views[i].others_ms = fmax(sums[backends[i].on - snapshot->devices] - own, 0);
    }
}

/* How long a backend's answers are is seen through the queries that it happened to get: only a
 * difference that is plain (a BDH node always says 200 bytes) is its own. */
static bool
differs(double own_bytes, double mean_bytes)
{
    return own_bytes > 0 && (own_bytes > mean_bytes * PLAINLY || own_bytes * PLAINLY < mean_bytes);
}

void
hw_expect(const struct hw_backend_view *view, const struct hw_conf_backend *backend,
          const struct hw_traits *traits, double answer_bytes, struct hw_expected *out)
{
    double asked_bytes = (double)traits->max_tokens * BYTES_PER_TOKEN;
    double output = differs(view->answer_bytes, answer_bytes) ? view->answer_bytes : answer_bytes;

    if (asked_bytes > 0 && asked_bytes < output)
        output = asked_bytes;
    if (traits->embeds)
        output = 0; /* the prompt is read, and that is all */
    out->queue_ms = queue_ms(view, backend, answer_bytes) + view->others_ms;
    out->start_ms = view->ttft_ms;
    out->prefill_ms = (double)traits->prompt_bytes * 1000 / rate(view->prefill_bytes_s);
    out->decode_ms = output * 1000 / rate(view->decode_bytes_s);
}

double
hw_expected_ms(const struct hw_backend_view *view, const struct hw_conf_backend *backend,
               const struct hw_traits *traits, double answer_bytes)
{
    struct hw_expected parts;

    hw_expect(view, backend, traits, answer_bytes, &parts);
    return parts.queue_ms + parts.start_ms + parts.prefill_ms + parts.decode_ms;
}

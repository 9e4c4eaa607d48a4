/* router/backend.c - see backend.h. The registry is a short list: backends are few, and it is
 * walked only when a configuration is loaded. */
#include "router/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

const char *const hw_attempt_result_names[HW_ATTEMPT_RESULT_COUNT] = {
    "ok", "connect", "timeout", "status", "broken", "refused", "cancelled",
};

struct hw_backends {
    pthread_mutex_t lock;
    struct hw_backend *first;
    struct hw_shared_device *first_device;
    struct hw_meters *meters;
    struct hw_token_ratios *tokens; /* learned from under the lock */
};

struct hw_backends *
hw_backends_create(struct hw_meters *meters)
{
    struct hw_backends *backends = hw_xcalloc(1, sizeof(*backends));
    pthread_mutex_init(&backends->lock, NULL);
    backends->meters = meters;
    backends->tokens = hw_tokens_create();
    return backends;
}

void
hw_backends_destroy(struct hw_backends **backends)
{
    if (*backends == NULL)
        return;
    HW_ASSERT((*backends)->first == NULL && (*backends)->first_device == NULL);
    pthread_mutex_destroy(&(*backends)->lock);
    hw_tokens_destroy(&(*backends)->tokens);
    free(*backends);
    *backends = NULL;
}

static struct hw_backend *
make(struct hw_backends *backends, const struct hw_conf_backend *conf)
{
    struct hw_backend *backend = hw_xcalloc(1, sizeof(*backend));
    struct hw_backend_view prior = {0};

    atomic_init(&backend->refs, 1);
    snprintf(backend->name, sizeof(backend->name), "%s", conf->name);
    backend->digest = conf->digest;
    pthread_mutex_init(&backend->lock, NULL);
    hw_rank_prior(conf, &prior);
    hw_speed_init(&backend->speed, &prior);
    hw_breaker_init(&backend->breaker);
    for (int i = 0; i < HW_ATTEMPT_RESULT_COUNT; i++) {
        const char *labels[2] = {backend->name, hw_attempt_result_names[i]};
        backend->attempts[i] = hw_metric_child(backends->meters->attempts, labels);
    }
    for (int i = 0; i < 2; i++) {
        const char *labels[2] = {backend->name, i == 0 ? "failed" : "ok"};
        backend->probes[i] = hw_metric_child(backends->meters->probes, labels);
    }
    for (int i = 0; i < 2; i++) {
        const char *labels[2] = {backend->name, i == 0 ? "failed" : "ok"};
        backend->looks[i] = hw_metric_child(backends->meters->looks, labels);
    }
    const char *label[1] = {backend->name};
    backend->late = hw_metric_child(backends->meters->late, label);
    backend->first_token = hw_histogram_child(backends->meters->first_token, label);
    backend->inter_token = hw_histogram_child(backends->meters->inter_token, label);
    return backend;
}

struct hw_backend *
hw_backends_get(struct hw_backends *backends, const struct hw_conf_backend *conf)
{
    struct hw_backend *backend;

    pthread_mutex_lock(&backends->lock);
    for (backend = backends->first; backend != NULL; backend = backend->next)
        if (backend->digest == conf->digest && strcmp(backend->name, conf->name) == 0)
            break;
    if (backend != NULL) {
        atomic_fetch_add(&backend->refs, 1);
    } else {
        backend = make(backends, conf);
        backend->next = backends->first;
        backends->first = backend;
    }
    pthread_mutex_unlock(&backends->lock);
    return backend;
}

void
hw_backend_unref(struct hw_backends *backends, struct hw_backend *backend)
{
    pthread_mutex_lock(&backends->lock);
    HW_ASSERT(atomic_load(&backend->refs) > 0);
    if (atomic_fetch_sub(&backend->refs, 1) == 1) {
        struct hw_backend **link = &backends->first;
        while (*link != backend)
            link = &(*link)->next;
        *link = backend->next;
        pthread_mutex_destroy(&backend->lock);
        hw_found_unref(backend->found);
        free(backend);
    }
    pthread_mutex_unlock(&backends->lock);
}

struct hw_shared_device *
hw_backends_device(struct hw_backends *backends, const struct hw_conf_device *conf)
{
    struct hw_shared_device *device;

    pthread_mutex_lock(&backends->lock);
    for (device = backends->first_device; device != NULL; device = device->next)
        if (device->digest == conf->digest && strcmp(device->name, conf->name) == 0)
            break;
    if (device == NULL) {
        device = hw_xcalloc(1, sizeof(*device));
        snprintf(device->name, sizeof(device->name), "%s", conf->name);
        device->digest = conf->digest;
        device->next = backends->first_device;
        backends->first_device = device;
    }
    device->refs++;
    pthread_mutex_unlock(&backends->lock);
    return device;
}

void
hw_device_unref(struct hw_backends *backends, struct hw_shared_device *device)
{
    pthread_mutex_lock(&backends->lock);
    HW_ASSERT(device->refs > 0);
    if (--device->refs == 0) {
        struct hw_shared_device **link = &backends->first_device;
        while (*link != device)
            link = &(*link)->next;
        *link = device->next;
        free(device);
    }
    pthread_mutex_unlock(&backends->lock);
}

void
hw_device_view(struct hw_shared_device *device, struct hw_device_view *view)
{
    view->inflight = atomic_load_explicit(&device->inflight, memory_order_relaxed);
    for (size_t i = 0; i < HW_MAX_SHARES; i++)
        view->taken[i] = atomic_load_explicit(&device->taken[i], memory_order_relaxed);
}

const struct hw_token_ratios *
hw_backends_tokens(const struct hw_backends *backends)
{
    return backends->tokens;
}

void
hw_backends_learn_tokens(struct hw_backends *backends, const char *model, uint32_t estimated,
                         uint64_t reported)
{
    pthread_mutex_lock(&backends->lock);
    hw_tokens_learn(backends->tokens, model, estimated, reported);
    pthread_mutex_unlock(&backends->lock);
}

void
hw_backend_view(struct hw_backend *backend, uint64_t now_ms, struct hw_backend_view *view)
{
    pthread_mutex_lock(&backend->lock);
    view->breaker = hw_breaker_state(&backend->breaker, now_ms);
    view->up = !backend->probe_down;
    view->silent_ms =
        backend->taught_ms != 0 && now_ms > backend->taught_ms ? now_ms - backend->taught_ms : 0;
    view->late = backend->breaker.late;
    uint64_t back_ms = backend->breaker.closed_ms > backend->back_ms ? backend->breaker.closed_ms
                                                                     : backend->back_ms;
    /* Another loop's clock may be a little ahead. */
    view->recovered_ms = back_ms == 0 ? 0 : now_ms > back_ms ? now_ms - back_ms : 1;
    view->ttft_ms = backend->speed.ttft_ms;
    view->prefill_bytes_s = backend->speed.prefill_bytes_s;
    view->decode_bytes_s = backend->speed.decode_bytes_s;
    view->service_ms = backend->speed.service_ms;
    view->answer_bytes = backend->speed.answer_bytes;
    pthread_mutex_unlock(&backend->lock);
    view->inflight = atomic_load_explicit(&backend->inflight, memory_order_relaxed);
    view->waiting = atomic_load_explicit(&backend->waiting, memory_order_relaxed);
}

bool
hw_backend_take(struct hw_backend *backend, uint64_t now_ms)
{
    pthread_mutex_lock(&backend->lock);
    bool leave = hw_breaker_take(&backend->breaker, now_ms);
    pthread_mutex_unlock(&backend->lock);
    return leave;
}

/* Only of streams: when a whole answer was begun nobody sees. */
static bool
came_late(struct hw_backend *backend, const struct hw_speed_sample *sample,
          const struct hw_lateness *lateness)
{
    return sample != NULL && sample->decode_us > 0 &&
           hw_usual_late(&backend->usual, (double)sample->ttft_us / 1000, lateness->ahead_ms,
                         lateness->times);
}

void
hw_backend_result(struct hw_backend *backend, enum hw_attempt_result result, bool blameless,
                  const struct hw_speed_sample *sample, const struct hw_lateness *lateness,
                  uint64_t now_ms)
{
    hw_metric_add(backend->attempts[result], 1);
    pthread_mutex_lock(&backend->lock);
    bool late = result == HW_ATTEMPT_OK && came_late(backend, sample, lateness);
    if (late) {
        hw_metric_add(backend->late, 1);
        hw_breaker_late(&backend->breaker, now_ms);
    } else if (blameless || result == HW_ATTEMPT_CANCELLED)
        hw_breaker_forget(&backend->breaker);
    else
        hw_breaker_result(&backend->breaker,
                          result == HW_ATTEMPT_OK || result == HW_ATTEMPT_REFUSED, now_ms);
    if (sample != NULL && result == HW_ATTEMPT_OK) {
        hw_speed_learn(&backend->speed, sample);
        backend->taught_ms = now_ms;
    }
    pthread_mutex_unlock(&backend->lock);
}

void
hw_backend_prior(struct hw_backend *backend, double prefill_bytes_s, double decode_bytes_s)
{
    pthread_mutex_lock(&backend->lock);
    if (backend->speed.samples == 0) {
        if (prefill_bytes_s > 0)
            backend->speed.prefill_bytes_s = prefill_bytes_s;
        if (decode_bytes_s > 0)
            backend->speed.decode_bytes_s = decode_bytes_s;
    }
    pthread_mutex_unlock(&backend->lock);
}

enum hw_probe_news
hw_backend_probed(struct hw_backend *backend, const char *why, uint32_t failures, uint64_t now_ms)
{
    enum hw_probe_news news = HW_PROBE_NO_NEWS;

    hw_metric_add(backend->probes[why == NULL], 1);
    pthread_mutex_lock(&backend->lock);
    backend->probes_failed = why != NULL ? backend->probes_failed + 1 : 0;
    if (why != NULL)
        snprintf(backend->probe_why, sizeof(backend->probe_why), "%s", why);
    if (why == NULL && backend->probe_down) {
        news = HW_PROBE_CAME_BACK;
        hw_breaker_hurry(&backend->breaker, now_ms);
    } else if (!backend->probe_down && backend->probes_failed >= failures) {
        news = HW_PROBE_WENT_DOWN;
    }
    if (news == HW_PROBE_CAME_BACK)
        backend->back_ms = now_ms;
    if (news != HW_PROBE_NO_NEWS)
        backend->probe_down = news == HW_PROBE_WENT_DOWN;
    pthread_mutex_unlock(&backend->lock);
    return news;
}

bool
hw_backend_probe_why(struct hw_backend *backend, char *why, size_t size)
{
    pthread_mutex_lock(&backend->lock);
    bool down = backend->probe_down;
    if (down)
        snprintf(why, size, "its probe failed: %s", backend->probe_why);
    pthread_mutex_unlock(&backend->lock);
    return down;
}

uint64_t
hw_backend_open_ms(struct hw_backend *backend, uint64_t now_ms)
{
    uint64_t left_ms = 0;

    pthread_mutex_lock(&backend->lock);
    if (hw_breaker_state(&backend->breaker, now_ms) == HW_BREAKER_OPEN)
        left_ms = backend->breaker.open_until_ms - now_ms;
    pthread_mutex_unlock(&backend->lock);
    return left_ms;
}

void
hw_backend_looked(struct hw_backend *backend, struct hw_found *found)
{
    struct hw_found *before = NULL;

    hw_metric_add(backend->looks[found != NULL], 1);
    if (found != NULL) {
        pthread_mutex_lock(&backend->lock);
        before = backend->found;
        backend->found = found;
        pthread_mutex_unlock(&backend->lock);
        atomic_store(&backend->model_digest, hw_found_identity(found));
        atomic_store(&backend->has_found, true);
    }
    atomic_store(&backend->looked, true);
    hw_found_unref(before);
}

struct hw_found *
hw_backend_found(struct hw_backend *backend)
{
    if (!atomic_load_explicit(&backend->has_found, memory_order_relaxed))
        return NULL;
    pthread_mutex_lock(&backend->lock);
    struct hw_found *found = hw_found_ref(backend->found);
    pthread_mutex_unlock(&backend->lock);
    return found;
}

/* policies/rank.h - candidates of a route, best first. Pure: statistics and dice are handed in.
 *
 * Eligible, then fast (DESIGN "Decisions"): a backend is a candidate only for the roles, models or
 * routes that name it, unless it is general; expected completion time ranks within the best
 * eligible quality tier, then the next tier. Saturated or broken candidates come last or drop out.
 */
#ifndef HW_POLICIES_RANK_H
#define HW_POLICIES_RANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/snapshot.h"
#include "policies/breaker.h"
#include "policies/classify.h"
#include "policies/found.h"
#include "policies/share.h"
#include "policies/tokens.h"

/* What is known of a backend now. In the snapshot's order. */
struct hw_backend_view {
    bool up; /* a worker is connected / no probe has failed; breaker apart */
    enum hw_breaker_state breaker;
    uint32_t inflight;      /* of this process */
    uint32_t waiting;       /* queries that wait for room there, or at one of several */
    uint64_t silent_ms;     /* since its last answer taught its speed; 0: it has taught nothing */
    bool late;              /* breaker open, yet answers would come: late, but come */
    uint64_t recovered_ms;  /* since it came back from being out; 0: long ago, or never */
    double ttft_ms;         /* learned or prior: time to first token, small prompt */
    double prefill_bytes_s; /* prompt bytes read a second */
    double decode_bytes_s;  /* answer text bytes written a second */
    double others_ms;       /* work ahead on its device that other backends have sent there */
    double service_ms;      /* learned: a query from its sending to its end; 0: unknown */
    double answer_bytes;    /* learned: text of an answer; 0: unknown */
    struct hw_found *found; /* the models it was found to have; NULL: nobody looked */
};

enum hw_exclusion {
    HW_CANDIDATE = 0,
    HW_OUT_NOT_NAMED, /* neither role, model nor route names it, and it is not general */
    HW_OUT_KIND,
    HW_OUT_DEVICE,
    HW_OUT_MODEL,
    HW_OUT_CONTEXT,
    HW_OUT_EMBEDDINGS, /* bdh models give none */
    HW_OUT_LANE,       /* it does not take the query's lane */
    HW_OUT_ASKED,      /* (of a copy) the query itself goes there */
    /* From here on: for now. */
    HW_OUT_DOWN,
    HW_OUT_BREAKER,
    HW_OUT_HOURS, /* it takes the lane at other hours */
};
extern const char *const hw_exclusion_names[];

/* Expected milliseconds, part by part. */
struct hw_expected {
    double queue_ms;   /* what is ahead of the query */
    double start_ms;   /* to the first token of a small prompt */
    double prefill_ms; /* for the prompt's size */
    double decode_ms;  /* for the answer */
};

struct hw_candidate {
    uint32_t backend;       /* index into snapshot->backends */
    enum hw_exclusion out;  /* HW_CANDIDATE: it may be tried */
    bool overflow;          /* only the route's overflow reaches it */
    bool fallback;          /* only the route's fallback reaches it */
    bool full;              /* at its limit: behind all with room, yet a candidate, for waiting for
                             * its room is better than losing the query */
    const char *full_why;   /* full: "max_inflight", "idle" (not now), "device"; else NULL */
    bool idle;              /* the query wants it only when nothing else runs there */
    bool wait;              /* full, and by: latency expects to be answered sooner by waiting for
                             * room at one of those so marked than by all that have room */
    bool saturated;         /* its queue is expected to last longer than the route's max_wait */
    uint32_t limit;         /* queries at a time there, for this query; 0: none */
    bool spared;            /* just recovered: its peers go first this time */
    double ahead_ms;        /* of expected_ms what queue and prompt take */
    bool tried;             /* the router's: this query has been sent there */
    bool explored;          /* by: latency: first for once, to see whether it has recovered */
    uint64_t prompt_tokens; /* as they count there; 0: it has no `context`, nobody looked */
    double load_ms;         /* before its model is loaded; 0: it is, or nobody knows */
    double expected_ms;     /* from now to the last byte */
    double score;           /* what the route's `by` goes by; lower first */
    const char *model;      /* to ask the backend for; NULL: the backend's first or only one */
};

/* Why it is out in words that say how to mend it or how long it lasts: "takes background within
 * dream (02-06), next in 3 h 12 min". Cut at size. */
void hw_rank_why(const struct hw_snapshot *snapshot, const struct hw_traits *traits,
                 const struct hw_candidate *candidate, char *why, size_t size);
/* Of the excluded (those behind the first `count` of all) who wait for their hours: seconds until
 * the first one takes the query's lane; -1: none does. */
int64_t hw_rank_opens_in(const struct hw_snapshot *snapshot, const struct hw_traits *traits,
                         const struct hw_candidate *candidates, size_t count);

struct hw_rank_input {
    const struct hw_snapshot *snapshot;
    const struct hw_conf_route *route;
    const struct hw_traits *traits;
    const struct hw_backend_view *views;  /* backend_count of them */
    const struct hw_device_view *devices; /* device_count of them; NULL: nothing runs there */
    /* Random for by: weighted and for exploration; 0: no chance is taken, the heaviest goes first.
     */
    uint64_t dice;
    uint64_t conversation; /* by: affinity: the same for all queries of one; 0: unknown */
    const struct hw_token_ratios *tokens; /* what backends report of prompts; NULL: nothing */
    /* For a shadow copy: as by a fallback, another model than was asked for may answer. */
    bool copy;
};

/* Fills out[0..backend_count) : the candidates first, in the order to try them (those with room
 * before the saturated before the full; the route's own, its overflow, its fallback), the excluded
 * behind them. Where the route waits for its own, its own come before all others. Returns how many
 * are candidates. */
size_t hw_rank(const struct hw_rank_input *input, struct hw_candidate *out);
/* The share of its queries that a backend gets in this moment of its slow start; 1: all. */
double hw_slow_start(const struct hw_snapshot *snapshot, const struct hw_backend_view *view);
/* policies/order.c: the score of a candidate under `by`, of `count` candidates that have `inflight`
 * queries together. */
double hw_order_score(const struct hw_rank_input *input, enum hw_by by, size_t backend,
                      double expected_ms, size_t count, uint64_t inflight);
/* Whether backend i, in its slow start, lets its peers go first this time. */
bool hw_order_spares(const struct hw_rank_input *input, size_t backend);
/* by: latency: moves those that are full and worth waiting for to the front. */
void hw_order_wait(const struct hw_rank_input *input, struct hw_candidate *candidates,
                   size_t count);
/* Sometimes moves a candidate to the front that has long not been heard of. */
void hw_order_explore(const struct hw_rank_input *input, struct hw_candidate *candidates,
                      size_t count);

/* Fills in every view's others_ms: live and background work of several backends on one device is
 * in each other's way. Needed only when the snapshot has devices. */
void hw_expect_others(const struct hw_snapshot *snapshot, struct hw_backend_view *views);
/* What an answer of a backend that has not taught it yet is expected to be long: as those of the
 * others. */
double hw_expect_answer_bytes(const struct hw_backend_view *views, size_t count);
void hw_expect(const struct hw_backend_view *view, const struct hw_conf_backend *backend,
               const struct hw_traits *traits, double answer_bytes, struct hw_expected *out);
/* The sum: expected milliseconds from now to the last byte of the answer. */
double hw_expected_ms(const struct hw_backend_view *view, const struct hw_conf_backend *backend,
                      const struct hw_traits *traits, double answer_bytes);
/* Queries that the backend works on side by side, as far as its configuration tells. */
double hw_backend_parallel(const struct hw_conf_backend *backend);
/* Milliseconds that it works on a query of the usual size. */
double hw_expect_service_ms(const struct hw_backend_view *view, double answer_bytes);
/* Priors before the first answer, by kind, model and device (DESIGN's fleet table). */
void hw_rank_prior(const struct hw_conf_backend *backend, struct hw_backend_view *view);
/* The backend's own word for `model` (a string that lives as long as the snapshot); NULL: it does
 * not have it. A local BDH model is known by its file's name, with or without extension, every BDH
 * also as "bdh"; Ollama's ":latest" may be left out. */
const char *hw_backend_model(const struct hw_conf_backend *backend, const char *model);
/* What the backend's first or only model is called, for /v1/models and answers: models[0], the stem
 * of a checkpoint's file, "bdh", or "" when it was not told. Cut at size, returns as snprintf. */
size_t hw_backend_model_name(const struct hw_conf_backend *backend, char *out, size_t size);

/* How `model` of a query is to be read. */
enum hw_model_meaning {
    HW_MODEL_AUTO,
    HW_MODEL_ROLE,
    HW_MODEL_BACKEND,
    HW_MODEL_MODEL,
    HW_MODEL_UNKNOWN
};
/* Resolves aliases (bounded), then role names, backends' models, backend names. *role is set for
 * HW_MODEL_ROLE, *resolved (a string of the snapshot) for HW_MODEL_MODEL and HW_MODEL_BACKEND. */
enum hw_model_meaning hw_resolve_model(const struct hw_snapshot *snapshot, const char *model,
                                       int *role, const char **resolved);
/* Where aliases lead from `model` (itself, when it is none); NULL: in a circle. */
const char *hw_resolve_alias(const struct hw_snapshot *snapshot, const char *model);
/* The same as hw_backend_model, but what a backend without a list of `models` was found to have
 * counts too (as long as *found lives). digest: of the model that is meant, or "": a backend that
 * has it under another name has it. */
const char *hw_view_model(const struct hw_conf_backend *backend, const struct hw_found *found,
                          const char *model, const char *digest);

#endif

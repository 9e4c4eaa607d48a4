/* router/exchange_record.c - what the decision log tells of a query.
 *
 * Two steps, for the request is gone when the answer is complete: what only its head tells is noted
 * when it is read, the rest is gathered at the end. A log that is off costs one comparison in each.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policies/features.h"
#include "router/decision_log.h"
#include "router/exchange_private.h"
#include "router/question.h"

struct hw_exchange_note {
    struct hw_record_header headers[HW_RECORD_HEADERS_MAX];
    size_t header_count;
    enum hw_record_lane_from lane_from;
    enum hw_lane lane;
    bool no_cache;
};

static void
note_headers(struct hw_exchange *ex, struct hw_exchange_note *note)
{
    const struct hw_conf_list *names = &ex->plan->snapshot->decisions.headers;

    for (size_t i = 0; i < names->count && i < HW_RECORD_HEADERS_MAX; i++) {
        const struct hw_http_slice *value = hw_http_head_find(&ex->request->head, names->items[i]);
        struct hw_record_header header = {.name = names->items[i]};
        if (value != NULL) {
            header.len = value->len;
            header.value = value->len <= HW_RECORD_HEADER_MAX
                               ? hw_arena_copy(&ex->arena, value->p, value->len)
                               : NULL;
            if (header.value == NULL) /* not told: nobody may take it for one that was not there */
                continue;
        }
        note->headers[note->header_count++] = header;
    }
}

void
hw_exchange_note_request(struct hw_exchange *ex, bool lane_by_header)
{
    struct hw_exchange_note *note;

    if (ex->plan->snapshot->decisions.file == NULL)
        return;
    note = hw_arena_alloc(&ex->arena, sizeof(*note));
    if (note == NULL)
        return;
    note->lane = ex->traits.lane;
    note->lane_from = lane_by_header        ? HW_LANE_FROM_HEADER
                      : ex->traits.has_lane ? HW_LANE_FROM_AGENT
                                            : HW_LANE_FROM_NOBODY;
    note->no_cache = hw_exchange_forbids_cache(ex);
    note_headers(ex, note);
    ex->note = note;
}

/* --- at the end --- */

static int
compare_buckets(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

static void
add_text(struct hw_exchange *ex, struct hw_record *record)
{
    const struct hw_traits *traits = &ex->traits;

    record->text_bytes = ex->query.last_user != NULL ? ex->query.last_user->text_len : 0;
    switch (ex->plan->snapshot->decisions.text) {
    case HW_DECISION_TEXT_FULL:
        record->text = traits->text;
        record->text_len = traits->text_len; /* head and tail of a long one: text.h */
        break;
    case HW_DECISION_TEXT_FEATURES: {
        uint16_t *buckets = hw_arena_alloc(&ex->arena, HW_FEATURES_MAX * sizeof(uint16_t));
        if (buckets == NULL)
            return;
        record->feature_count = hw_classify_features(ex->plan->taught.classifier, traits->text,
                                                     traits->text_len, buckets);
        qsort(buckets, record->feature_count, sizeof(*buckets), compare_buckets);
        record->features = buckets;
        break;
    }
    case HW_DECISION_TEXT_NONE:
    case HW_DECISION_TEXT_COUNT:
        return; /* a conversation's number is made of its text: not told either */
    }
    record->conversation = hw_query_conversation(&ex->query, ex->agent);
}

static void
add_agent(const struct hw_exchange *ex, struct hw_record *record)
{
    const struct hw_snapshot *snapshot = ex->plan->snapshot;
    enum hw_decision_agents told = snapshot->decisions.agents;

    if (ex->agent < 0)
        return;
    const struct hw_conf_agent *agent = &snapshot->agents[ex->agent];
    record->agent_hidden =
        told == HW_DECISION_AGENTS_NONE || (told == HW_DECISION_AGENTS_LABELLED && !agent->label);
    if (!record->agent_hidden)
        record->agent = agent->name;
}

static void
add_traits(struct hw_exchange *ex, struct hw_record *record)
{
    const struct hw_snapshot *snapshot = ex->plan->snapshot;
    const struct hw_traits *traits = &ex->traits;

    record->model = traits->model;
    if (traits->asked_role >= 0)
        record->asked_role = snapshot->roles[traits->asked_role].name;
    if (traits->role >= 0)
        record->role = snapshot->roles[traits->role].name;
    record->role_source = traits->role_source;
    record->confidence = traits->confidence;
    record->prompt_bytes = traits->prompt_bytes;
    record->prompt_tokens = traits->prompt_tokens;
    record->max_tokens = traits->max_tokens;
    record->tools = traits->wants_tools;
    record->images = traits->wants_images;
    record->json = traits->wants_json;
    record->stream = traits->stream;
    record->embeds = traits->embeds;
    record->keepable = ex->query.keepable;
    record->deterministic = ex->query.deterministic;
    record->keywords_digest = ex->plan->taught.keywords_digest;
    record->learned_digest = ex->plan->taught.learned_digest;
}

static void
add_note(const struct hw_exchange_note *note, struct hw_record *record)
{
    record->lane = note->lane;
    record->lane_from = note->lane_from;
    record->no_cache = note->no_cache;
    record->header_count = note->header_count;
    memcpy(record->headers, note->headers, note->header_count * sizeof(note->headers[0]));
}

static void
add_decision(const struct hw_exchange *ex, struct hw_record *record)
{
    const struct hw_snapshot *snapshot = ex->plan->snapshot;

    if (ex->route_conf == NULL)
        return;
    record->route = ex->route_conf->name;
    record->backend = ex->reply.backend;
    record->answered_model = ex->reply.model;
    record->fallback = ex->current != NULL && ex->current->fallback;
    record->cache = hw_cache_result_names[ex->cache];
    record->shadow = ex->shadow;
    for (size_t i = 0; i < ex->candidate_count && i < HW_RECORD_CANDIDATES_MAX; i++)
        record->candidates[record->candidate_count++] = (struct hw_record_candidate){
            .backend = snapshot->backends[ex->candidates[i].backend].name,
            .expected_ms = ex->candidates[i].expected_ms};
}

static void
add_outcome(const struct hw_exchange *ex, struct hw_record *record)
{
    static const char *const finishes[] = {"stop", "length", "tool_calls", "filter"};
    struct hw_speed_sample sample;

    record->attempts = ex->attempts;
    record->first_token_us = ex->first_token_us;
    if (ex->finished)
        record->finish = finishes[ex->finish];
    if (ex->attempt.query == NULL) /* nobody was asked */
        return;
    hw_attempt_sample(&ex->attempt, &sample);
    record->ttft_us = sample.ttft_us;
    record->decode_us = sample.decode_us;
    record->output_bytes = sample.output_bytes;
    record->usage_known = ex->attempt.usage.known;
    record->reported_prompt_tokens = ex->attempt.usage.prompt_tokens;
    record->output_tokens = ex->attempt.usage.output_tokens;
}

/* The clock's milliseconds, in the second that conditions by the clock saw. */
static uint64_t
time_of(const struct hw_exchange *ex, uint64_t duration_us)
{
    struct timespec now;
    uint64_t low_ms = (uint64_t)ex->traits.now_s * 1000u;

    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t began_ms =
        (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u - duration_us / 1000;
    return began_ms < low_ms ? low_ms : began_ms > low_ms + 999 ? low_ms + 999 : began_ms;
}

void
hw_exchange_record(struct hw_exchange *ex, int status, uint64_t duration_us)
{
    struct hw_record record = {.request_id = ex->request_id,
                               .dialect = ex->query.dialect->name,
                               .path = ex->path,
                               .status = status,
                               .duration_us = duration_us};

    if (ex->note == NULL) /* the log is off, or the query was refused before it was understood */
        return;
    record.time_ms = time_of(ex, duration_us);
    add_agent(ex, &record);
    add_traits(ex, &record);
    add_note(ex->note, &record);
    add_text(ex, &record);
    add_decision(ex, &record);
    add_outcome(ex, &record);
    hw_decision_log_write(ex->loop->gateway->decision_log, &record);
}

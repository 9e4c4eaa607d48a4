/* router/api/to_worker.c - see to_worker.h. Without a temperature a worker answers greedily: a
 * model of this size that knows an answer knows it by heart, and sampling only adds slips of the
 * pen. */
#include "router/api/to_worker.h"

#include <string.h>

#include "router/api/canonical.h"
#include "router/api/dialect.h"
#include "router/api/outgoing.h"

static void
take_stops(const struct hw_query *query, struct hw_frame_open *open, struct hw_outgoing *out)
{
    for (size_t i = 0; i < query->stop_count; i++) {
        if (query->stop_lens[i] == 0 || query->stop_lens[i] > HW_FRAME_MAX_STOP_BYTES ||
            open->stop_count == HW_FRAME_MAX_STOPS) {
            hw_outgoing_drop(out, "stop", 4);
            continue;
        }
        memcpy(open->stops[open->stop_count], query->stops[i], query->stop_lens[i]);
        open->stop_count++;
    }
}

static void
drop_uncarried(const struct hw_query *query, struct hw_outgoing *out)
{
    /* Carried, named by hand, or without a meaning for the answer's text. */
    static const char *const carried[] = {"model",
                                          "messages",
                                          "question",
                                          "prompt",
                                          "system",
                                          "stream",
                                          "stop",
                                          "stream_options",
                                          "max_tokens",
                                          "temperature",
                                          "options",
                                          "max_completion_tokens",
                                          "top_p",
                                          "top_k",
                                          "min_p",
                                          "repetition_penalty",
                                          "seed",
                                          "stop_sequences",
                                          "tools",
                                          "tool_choice",
                                          "images",
                                          "n",
                                          "response_format",
                                          "user",
                                          "safety_identifier",
                                          "metadata",
                                          "prompt_cache_key",
                                          "store",
                                          "parallel_tool_calls",
                                          "input",
                                          "instructions",
                                          "max_output_tokens",
                                          "text",
                                          "include",
                                          "logprobs",
                                          "top_logprobs",
                                          NULL};
    static const char *const options[] = {
        "num_predict",    "temperature",   "top_p", "top_k", "min_p",
        "repeat_penalty", "repeat_last_n", "seed",  "stop",  NULL};
    const struct hw_json root = hw_query_root(query);
    struct hw_json n, value;
    uint64_t count;

    for (size_t i = 0; i < query->message_count; i++) {
        if (hw_message_get(query, &query->messages[i], HW_MEMBER_REASONING, &value))
            hw_outgoing_drop_at(out, query, i, "reasoning");
        if (query->messages[i].has_calls)
            hw_outgoing_drop_at(out, query, i, "tool_calls");
    }
    if (query->wants_tools)
        hw_outgoing_drop(out, "tools", 5);
    if (query->wants_images)
        hw_outgoing_drop(out, "images", 6);
    hw_outgoing_drop_parts(out, query);
    if (query->wants_json && query->dialect == &hw_dialect_openai)
        hw_outgoing_drop(out, "response_format", 15);
    if (query->wants_json && query->dialect == &hw_dialect_responses)
        hw_outgoing_drop(out, "text.format", 11);
    if (hw_json_get(&root, "n", &n) && hw_json_uint(&n, &count) && count > 1)
        hw_outgoing_drop(out, "n", 1);
    hw_outgoing_drop_others(out, query, carried);
    hw_outgoing_drop_options(out, query, options);
}

static uint64_t
top_logprobs(const struct hw_query *query)
{
    uint64_t top = 0;

    if (query->top_logprobs.p == NULL || !hw_json_uint(&query->top_logprobs, &top))
        return 0;
    return top < HW_FRAME_MAX_TOP_LOGPROBS ? top : HW_FRAME_MAX_TOP_LOGPROBS;
}

static enum hw_frame_role
role_of(enum hw_role_of_message role)
{
    switch (role) {
    case HW_MSG_SYSTEM:
        return HW_FRAME_ROLE_SYSTEM;
    case HW_MSG_ASSISTANT:
        return HW_FRAME_ROLE_ASSISTANT;
    case HW_MSG_USER:
    case HW_MSG_TOOL:
        break;
    }
    return HW_FRAME_ROLE_USER;
}

size_t
hw_to_worker(const struct hw_query *query, struct hw_frame_open *open,
             struct hw_worker_prompt_turn *turns, struct hw_buf *dropped)
{
    struct hw_outgoing out = {.dropped = *dropped};

    memset(open, 0, sizeof(*open));
    open->max_tokens = query->has_max_tokens ? query->max_tokens : 0;
    open->temperature = query->has_temperature ? (float)query->temperature : 0.0f;
    open->top_p = query->has_top_p ? (float)query->top_p : 1.0f;
    open->top_k = query->has_top_k ? query->top_k : 0;
    open->min_p = (float)query->min_p;
    open->repetition_penalty = (float)query->repetition_penalty;
    open->repeat_last = query->repeat_last;
    open->has_seed = query->has_seed;
    open->seed = query->seed;
    if (query->wants_logprobs)
        open->logprobs = (uint8_t)(1 + top_logprobs(query));
    take_stops(query, open, &out);
    drop_uncarried(query, &out);
    *dropped = out.dropped;

    size_t count = 0;
    for (size_t i = 0; i < query->message_count; i++) {
        const struct hw_message *message = &query->messages[i];
        if (message->text_len == 0)
            continue;
        turns[count].role = role_of(message->role);
        turns[count].message = message;
        turns[count].len = message->text_len;
        count++;
    }
    return count;
}

/* router/api/to_worker.c - see to_worker.h. Without a temperature a worker answers greedily: a
 * model of this size that knows an answer knows it by heart, and sampling only adds slips of the
 * pen. */
#include "router/api/to_worker.h"

#include <string.h>

static void
drop(struct hw_buf *dropped, const char *field)
{
    if (dropped->len > 0)
        hw_buf_puts(dropped, ", ");
    hw_buf_puts(dropped, field);
}

static void
take_stops(const struct hw_query *query, struct hw_frame_open *open, struct hw_buf *dropped)
{
    for (size_t i = 0; i < query->stop_count; i++) {
        if (query->stop_lens[i] == 0 || query->stop_lens[i] > HW_FRAME_MAX_STOP_BYTES ||
            open->stop_count == HW_FRAME_MAX_STOPS) {
            drop(dropped, "stop");
            continue;
        }
        memcpy(open->stops[open->stop_count], query->stops[i], query->stop_lens[i]);
        open->stop_count++;
    }
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
    memset(open, 0, sizeof(*open));
    open->max_tokens = query->has_max_tokens ? query->max_tokens : 0;
    open->temperature = query->has_temperature ? (float)query->temperature : 0.0f;
    open->top_p = query->has_top_p ? (float)query->top_p : 1.0f;
    open->top_k = query->has_top_k ? query->top_k : 0;
    open->has_seed = query->has_seed;
    open->seed = query->seed;
    take_stops(query, open, dropped);

    if (query->wants_tools)
        drop(dropped, "tools");
    if (query->wants_images)
        drop(dropped, "images");
    if (query->wants_json)
        drop(dropped, "response_format");
    if (query->presence_penalty.p != NULL)
        drop(dropped, "presence_penalty");
    if (query->frequency_penalty.p != NULL)
        drop(dropped, "frequency_penalty");

    size_t count = 0;
    for (size_t i = 0; i < query->message_count; i++) {
        const struct hw_message *message = &query->messages[i];
        if (message->text_len == 0)
            continue;
        turns[count].role = role_of(message->role);
        turns[count].bytes = message->text;
        turns[count].len = message->text_len;
        count++;
    }
    return count;
}

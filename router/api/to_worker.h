/* router/api/to_worker.h - a query as a local BDH worker takes it: parameters and turns. Pure. */
#ifndef HW_ROUTER_API_TO_WORKER_H
#define HW_ROUTER_API_TO_WORKER_H

#include "engine/frame.h"
#include "router/api/query.h"

struct hw_worker_prompt_turn {
    enum hw_frame_role role;
    const struct hw_message *message;
    size_t len; /* of its text (text.h) */
};

/* Fills open and turns[0..query->message_count); returns how many turns. Fields that a BDH worker
 * has no use for (tools, images, schemas, long stop strings) are named in dropped. */
size_t hw_to_worker(const struct hw_query *query, struct hw_frame_open *open,
                    struct hw_worker_prompt_turn *turns, struct hw_buf *dropped);

/* from_worker.c: appends what a worker told of its tokens (a LOGPROBS payload) as OpenAI's entries,
 * with commas between them. A token is a byte: one that is no character by itself reads "\\xc3", as
 * OpenAI writes pieces of characters. */
void hw_from_worker_logprobs(const uint8_t *payload, size_t len, struct hw_buf *entries);

#endif

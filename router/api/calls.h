/* router/api/calls.h - the calls of tools in a message, where they stand and as the agent's dialect
 * spells them. A call's arguments may be megabytes: they are not written anew until they are sent.
 */
#ifndef HW_ROUTER_API_CALLS_H
#define HW_ROUTER_API_CALLS_H

#include "router/api/query.h"

struct hw_call {
    struct hw_json id;        /* a string; .p NULL: OpenAI's, and there is none */
    struct hw_json name;      /* a string */
    struct hw_json arguments; /* an object, or a string of JSON; .p NULL: none */
    char invented[32];        /* what id points to where Ollama's has none */
};

struct hw_calls {
    const struct hw_query *query;
    size_t message, at;
    struct hw_json_iter iter;
};

/* Walks the calls of query->messages[message]. */
void hw_calls_init(struct hw_calls *calls, const struct hw_query *query, size_t message);
/* call->id may point into *call: it is not to be copied. */
bool hw_calls_next(struct hw_calls *calls, struct hw_call *call);

/* Appends `[{"id":...,"type":"function",...},...]`, OpenAI's. */
void hw_calls_put_openai(struct hw_buf *text, const struct hw_query *query, size_t message);
/* The same, Ollama's. False: some arguments were no JSON object, and {} is put for them. */
bool hw_calls_put_ollama(struct hw_buf *text, const struct hw_query *query, size_t message);

#endif

/* router/api/dialect.c - which dialect a path speaks, and what a reply keeps while it is written.
 */
#include "router/api/dialect.h"

#include <string.h>

const struct hw_dialect *
hw_dialect_of_path(const char *path, size_t len)
{
    /* The longer before the shorter. */
    static const struct {
        const char *prefix;
        const struct hw_dialect *dialect;
    } prefixes[] = {
        {"/api/bdh/", &hw_dialect_bdh},
        {"/api/", &hw_dialect_ollama},
        {"/v1/messages", &hw_dialect_anthropic},
    };

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t n = strlen(prefixes[i].prefix);
        if (len >= n && memcmp(path, prefixes[i].prefix, n) == 0)
            return prefixes[i].dialect;
    }
    return &hw_dialect_openai;
}

const struct hw_dialect *
hw_dialect_at_path(const char *path)
{
    static const struct hw_dialect *const all[] = {
        &hw_dialect_openai,     &hw_dialect_responses,       &hw_dialect_completions,
        &hw_dialect_ollama,     &hw_dialect_ollama_generate, &hw_dialect_anthropic,
        &hw_dialect_embeddings, &hw_dialect_ollama_embed,    &hw_dialect_ollama_embeddings,
        &hw_dialect_bdh,
    };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(all[i]->path, path) == 0)
            return all[i];
    return NULL;
}

void
hw_reply_init(struct hw_reply *reply)
{
    hw_answer_init(&reply->calls, HW_MAX_CALL_BYTES);
}

void
hw_reply_free(struct hw_reply *reply)
{
    hw_answer_free(&reply->calls);
    hw_response_stream_free(&reply->response);
}

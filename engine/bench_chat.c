/* engine/bench_chat.c - the turns are the text's bytes, cut where a conversation would be. */
#include "engine/bench_chat.h"

#include <stdlib.h>
#include <string.h>

#include "engine/snapshot.h"

struct chat {
    struct hw_bdh_session *session;
    uint32_t tokens[HW_BENCH_CHAT_PROMPT];
    size_t logit_bytes;
    float *cold, *warm; /* logits [vocab] */
};

static int
open_chat(const struct hw_bdh_engine *engine, const struct hw_bench_text *text, struct chat *chat,
          struct hw_err *err)
{
    chat->logit_bytes = hw_bdh_engine_config(engine)->vocab * sizeof(float);
    chat->cold = malloc(chat->logit_bytes);
    chat->warm = malloc(chat->logit_bytes);
    if (chat->cold == NULL || chat->warm == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for logits");
    for (size_t i = 0; i < HW_BENCH_CHAT_PROMPT; i++)
        chat->tokens[i] = (uint8_t)text->bytes.data[i % text->bytes.len];
    return hw_bdh_session_create(engine, &chat->session, err);
}

static void
keep_least(double *least, double began_s)
{
    double ms = (hw_bench_cpu_s() - began_s) * 1e3;

    if (*least <= 0.0 || ms < *least)
        *least = ms;
}

static int
feed_new(struct chat *chat, struct hw_err *err)
{
    hw_bdh_session_feed(chat->session, chat->tokens + HW_BENCH_CHAT_KEPT, HW_BENCH_CHAT_ASKED,
                        chat->warm);
    if (memcmp(chat->cold, chat->warm, chat->logit_bytes) != 0)
        return hw_err_set(err, HW_EINVAL, "the kept state led to other logits");
    return 0;
}

/* The session holds the turns before the tenth. */
static int
measure_warm(struct chat *chat, struct hw_bench_chat *out, struct hw_err *err)
{
    struct hw_bdh_snapshot *snapshot = NULL;
    double began = hw_bench_cpu_s();
    int rc = hw_bdh_snapshot_take(chat->session, &snapshot, err);
    if (rc != 0)
        return rc;
    keep_least(&out->take_ms, began);
    out->snapshot_bytes = hw_bdh_snapshot_bytes(snapshot);
    began = hw_bench_cpu_s();
    rc = feed_new(chat, err);
    keep_least(&out->session_ms, began);
    hw_bdh_session_reset(chat->session); /* its place is another one's: out of the cache again */
    began = hw_bench_cpu_s();
    if (rc == 0)
        rc = hw_bdh_session_restore(chat->session, snapshot, err);
    if (rc == 0)
        rc = feed_new(chat, err);
    keep_least(&out->snapshot_ms, began);
    hw_bdh_snapshot_unref(&snapshot);
    return rc;
}

int
hw_bench_chat(const struct hw_bdh_engine *engine, const struct hw_bench_text *text, int rounds,
              struct hw_bench_chat *out, struct hw_err *err)
{
    struct chat *chat = calloc(1, sizeof(*chat));
    if (chat == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for a conversation");
    int rc = open_chat(engine, text, chat, err);

    *out = (struct hw_bench_chat){0};
    for (int i = 0; rc == 0 && i < rounds; i++) {
        hw_bdh_session_reset(chat->session);
        double began = hw_bench_cpu_s();
        hw_bdh_session_feed(chat->session, chat->tokens, HW_BENCH_CHAT_PROMPT, chat->cold);
        keep_least(&out->cold_ms, began);
        hw_bdh_session_reset(chat->session);
        hw_bdh_session_feed(chat->session, chat->tokens, HW_BENCH_CHAT_KEPT, NULL);
        rc = measure_warm(chat, out, err);
    }
    hw_bdh_session_destroy(&chat->session);
    free(chat->cold);
    free(chat->warm);
    free(chat);
    return rc;
}

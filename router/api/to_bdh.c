/* router/api/to_bdh.c - queries for a BDH node by url: the fleet's PyTorch ask service, or another
 * Hatchway in its place.
 *
 * The service takes one question and nothing beside it; what else a query says is named as dropped.
 */
#include "router/api/protocol.h"

#include "router/api/outgoing.h"
#include "router/api/text.h"

static void
drop_turns(const struct hw_query *query, struct hw_outgoing *out)
{
    bool system = false, turns = false;

    for (size_t i = 0; i < query->message_count; i++) {
        const struct hw_message *message = &query->messages[i];
        if (message == query->last_user)
            continue;
        if (message->role == HW_MSG_SYSTEM)
            system = true;
        else
            turns = true;
    }
    if (system)
        hw_outgoing_drop(out, "system messages", 15);
    if (turns)
        hw_outgoing_drop(out, "other messages", 14);
    if (query->wants_images)
        hw_outgoing_drop(out, "images", 6);
    hw_outgoing_drop_parts(out, query);
}

static int
write_request(const struct hw_query *query, const char *model, struct hw_outgoing *out,
              struct hw_err *err)
{
    /* stream and its options are ours to honour; the model is the node's own. Messages, system and
     * images are named by drop_turns. */
    static const char *const carried[] = {"question", "messages",       "prompt",       "system",
                                          "model",    "stream_options", "stream",       "options",
                                          "images",   "input",          "instructions", NULL};
    static const char *const options[] = {NULL};

    (void)model;
    if (query->embeds)
        return hw_err_set(err, HW_EINVAL, "a bdh node gives no embeddings");
    if (query->last_user == NULL || query->last_user->text_len == 0)
        return hw_err_set(err, HW_EINVAL, "a bdh node needs a user message with text in it");
    hw_buf_puts(&out->text, "{");
    hw_put_key(&out->text, "question");
    hw_text_put(&out->text, query->last_user);
    hw_buf_puts(&out->text, "}");
    drop_turns(query, out);
    hw_outgoing_drop_others(out, query, carried);
    hw_outgoing_drop_options(out, query, options);
    return hw_outgoing_done(out, "/api/bdh/ask", err);
}

/* None: its answers may echo the question, so they are never passed on as they are. */
static const struct hw_dialect *const spoken[] = {NULL};

const struct hw_protocol hw_protocol_bdh = {
    .kind = HW_KIND_BDH,
    .dialects = spoken,
    .write_request = write_request,
};

/* Any bytes as a backend's answer, in every framing: the same events whole and in pieces, ended by
 * exactly one FINISH or ERROR; and what an agent would be sent of them is written.
 *
 * The first byte chooses kind, content type and status; the second the size of the pieces, and
 * whether it is vectors that were asked for. */
#include "hatchway/assert.h"
#include "router/api/dialect.h"
#include "router/api/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct hw_dialect *const dialects[] = {
    &hw_dialect_openai,          &hw_dialect_completions, &hw_dialect_ollama,
    &hw_dialect_ollama_generate, &hw_dialect_anthropic,   &hw_dialect_responses};
static const struct hw_dialect *const embedders[] = {
    &hw_dialect_embeddings, &hw_dialect_ollama_embed, &hw_dialect_ollama_embeddings};
enum { DIALECTS = sizeof(dialects) / sizeof(dialects[0]) };

struct heard {
    struct hw_buf log;
    struct hw_reply replies[DIALECTS];
    struct hw_answer answer;
    struct hw_buf sent;
    int ends;
    bool embeds;
};

static void
on_event(void *ctx, const struct hw_event *event)
{
    struct heard *heard = ctx;
    uint32_t head[4] = {event->type, (uint32_t)event->len, event->index, (uint32_t)event->finish};

    HW_ASSERT(heard->ends == 0);
    if (event->type == HW_EVENT_FINISH || event->type == HW_EVENT_ERROR)
        heard->ends++;
    hw_buf_append(&heard->log, head, sizeof(head));
    hw_buf_append(&heard->log, event->text, event->len);
    if (event->type == HW_EVENT_TOOL_CALL && event->id != NULL) {
        hw_buf_puts(&heard->log, event->id);
        hw_buf_puts(&heard->log, event->name);
    }
    hw_answer_add(&heard->answer, event);
    for (size_t i = 0; i < DIALECTS && !heard->embeds; i++)
        dialects[i]->write_event(&heard->replies[i], event, &heard->sent);
}

/* The answer as each dialect writes it is JSON. */
static void
write_whole(struct heard *heard)
{
    static const struct hw_json_limits wide = {.depth = 80, .nodes = 100000};
    struct hw_json root;

    for (size_t i = 0; i < 6 && heard->embeds; i++) {
        struct hw_query query = {.wants_base64 = i >= 3};
        struct hw_reply reply = {.query = &query, .id = "i", .model = "m"};
        hw_buf_clear(&heard->sent);
        embedders[i % 3]->write_whole(&reply, &heard->answer, &heard->sent);
        HW_ASSERT(hw_json_validate(heard->sent.data, heard->sent.len, &wide, &root, NULL) == 0);
    }
    for (size_t i = 0; i < DIALECTS && !heard->embeds; i++) {
        hw_buf_clear(&heard->sent);
        dialects[i]->write_whole(&heard->replies[i], &heard->answer, &heard->sent);
        HW_ASSERT(hw_json_validate(heard->sent.data, heard->sent.len, &wide, &root, NULL) == 0);
    }
}

static void
read_in_pieces(uint8_t choice, bool embeds, size_t piece, const char *bytes, size_t len,
               struct heard *heard)
{
    static const char *const types[] = {"text/event-stream", "application/x-ndjson",
                                        "application/json", ""};
    static const struct hw_message asked = {
        .role = HW_MSG_USER, .kind = HW_SOURCE_TEXT, .source = "q", .source_len = 1, .text_len = 1};
    const struct hw_query query = {.last_user = &asked,
                                   .stream = (choice & 64) != 0,
                                   .include_usage = true,
                                   .wants_logprobs = true,
                                   .embeds = embeds,
                                   .input_count = 2};
    struct hw_query queries[DIALECTS];
    const char *type = types[choice / 4 % 4];
    const struct hw_protocol *protocol = hw_protocol_of((enum hw_kind)(choice % HW_KIND_COUNT));
    struct hw_reader *reader = hw_reader_create(protocol, &query, (choice & 128) != 0 ? 500 : 200,
                                                type, strlen(type), 1000);

    memset(heard, 0, sizeof(*heard));
    heard->embeds = embeds;
    hw_buf_init(&heard->log, (size_t)1 << 24);
    hw_buf_init(&heard->sent, (size_t)1 << 24);
    hw_answer_init(&heard->answer, 500);
    for (size_t i = 0; i < DIALECTS; i++) {
        queries[i] = query;
        queries[i].dialect = dialects[i];
        heard->replies[i] =
            (struct hw_reply){.query = &queries[i], .id = "i", .model = "m", .device = "cpu"};
        hw_reply_init(&heard->replies[i]);
    }
    for (size_t at = 0; at < len; at += piece)
        hw_reader_feed(reader, bytes + at, len - at < piece ? len - at : piece, on_event, heard);
    hw_reader_end(reader, on_event, heard);
    HW_ASSERT(heard->ends == 1);
    hw_reader_destroy(&reader);
    if (!heard->answer.overflowed)
        write_whole(heard);
    for (size_t i = 0; i < DIALECTS; i++)
        hw_reply_free(&heard->replies[i]);
    hw_answer_free(&heard->answer);
    hw_buf_free(&heard->sent);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct heard whole, pieces;

    if (size < 2)
        return 0;
    const char *bytes = (const char *)data + 2;
    size_t piece = data[1] % 16u + 1;
    bool embeds = (data[1] & 16) != 0;
    read_in_pieces(data[0], embeds, size, bytes, size - 2, &whole);
    read_in_pieces(data[0], embeds, piece, bytes, size - 2, &pieces);
    HW_ASSERT(whole.log.len == pieces.log.len);
    HW_ASSERT(memcmp(whole.log.data, pieces.log.data, whole.log.len) == 0);
    hw_buf_free(&whole.log);
    hw_buf_free(&pieces.log);
    return 0;
}

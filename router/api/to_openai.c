/* router/api/to_openai.c - queries for OpenAI-compatible backends.
 *
 * A query of the same dialect goes out as it came in, around a new model name: unknown fields, the
 * spelling of numbers and the order of keys stay what the agent sent. */
#include "router/api/protocol.h"

#include <string.h>

#include "router/api/calls.h"
#include "router/api/canonical.h"
#include "router/api/dialect.h"
#include "router/api/embeddings.h"
#include "router/api/outgoing.h"
#include "router/api/text.h"

/* What its base64 begins with says which format an image has. */
static const char *
image_type(const struct hw_json *image)
{
    static const struct {
        const char *head, *type;
    } types[] = {{"iVBORw0KGgo", "png"}, {"UklGR", "webp"}, {"R0lGOD", "gif"}};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        size_t len = strlen(types[i].head);
        if (image->len > len + 2 && memcmp(image->p + 1, types[i].head, len) == 0)
            return types[i].type;
    }
    return "jpeg";
}

/* Ollama's images stand beside the content, as bare base64. */
static void
put_parts(struct hw_buf *text, const struct hw_message *message, const struct hw_json *images)
{
    struct hw_json_iter iter;
    struct hw_json image;

    hw_buf_puts(text, "[{\"type\":\"text\",\"text\":");
    hw_text_put(text, message);
    hw_buf_puts(text, "}");
    hw_json_iter_init(&iter, images);
    while (hw_json_next(&iter, NULL, &image)) {
        hw_buf_puts(text, ",{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/");
        hw_buf_puts(text, image_type(&image));
        hw_buf_puts(text, ";base64,");
        hw_buf_append(text, image.p + 1, image.len - 2);
        hw_buf_puts(text, "\"}}");
    }
    hw_buf_puts(text, "]");
}

static void
put_part(struct hw_buf *text, const struct hw_json *string)
{
    hw_buf_puts(text, text->data[text->len - 1] == '[' ? "" : ",");
    hw_buf_puts(text, "{\"type\":\"text\",\"text\":");
    hw_put_raw(text, string);
    hw_buf_puts(text, "}");
}

/* Anthropic's: a URL, or base64 and its type. */
static void
put_source(struct hw_buf *text, const struct hw_json *source)
{
    struct hw_json value, media;

    hw_buf_puts(text, text->data[text->len - 1] == '[' ? "" : ",");
    hw_buf_puts(text, "{\"type\":\"image_url\",\"image_url\":{\"url\":\"");
    if (hw_json_get(source, "url", &value)) {
        hw_buf_append(text, value.p + 1, value.len - 2);
    } else if (hw_json_get(source, "media_type", &media) && hw_json_get(source, "data", &value)) {
        hw_buf_puts(text, "data:");
        hw_buf_append(text, media.p + 1, media.len - 2);
        hw_buf_puts(text, ";base64,");
        hw_buf_append(text, value.p + 1, value.len - 2);
    }
    hw_buf_puts(text, "\"}}");
}

/* That of a Responses item. */
static void
put_input_image(struct hw_buf *text, const struct hw_json *part, const struct hw_json *url)
{
    struct hw_json detail;

    hw_buf_puts(text, text->data[text->len - 1] == '[' ? "" : ",");
    hw_buf_puts(text, "{\"type\":\"image_url\",\"image_url\":{\"url\":");
    hw_put_raw(text, url);
    if (hw_json_get(part, "detail", &detail) && detail.type == HW_JSON_STRING) {
        hw_put_key(text, "detail");
        hw_put_raw(text, &detail);
    }
    hw_buf_puts(text, "}}");
}

/* Other dialects' images stand among the texts, too. */
static void
put_block(struct hw_buf *text, enum hw_source_kind kind, const struct hw_json *block)
{
    struct hw_json type, value;

    if (hw_text_of_part(block, kind, &value))
        put_part(text, &value);
    else if (!hw_json_get(block, "type", &type))
        return;
    else if (kind == HW_SOURCE_BLOCKS && hw_json_string_is(&type, "image") &&
             hw_json_get(block, "source", &value))
        put_source(text, &value);
    else if (kind == HW_SOURCE_ITEM_PARTS && hw_json_string_is(&type, "input_image") &&
             hw_json_get(block, "image_url", &value) && value.type == HW_JSON_STRING)
        put_input_image(text, block, &value);
}

static void
put_blocks(struct hw_buf *text, const struct hw_message *message)
{
    struct hw_json blocks = {HW_JSON_ARRAY, message->source, message->source_len};
    struct hw_json_iter iter;
    struct hw_json block;

    hw_buf_puts(text, "[");
    hw_json_iter_init(&iter, &blocks);
    while (!text->failed && hw_json_next(&iter, NULL, &block))
        put_block(text, message->kind, &block);
    hw_buf_puts(text, "]");
}

static void
put_content(struct hw_buf *text, const struct hw_query *query, const struct hw_message *message)
{
    struct hw_json images;

    if (hw_message_get(query, message, HW_MEMBER_IMAGES, &images))
        put_parts(text, message, &images);
    else if (message->kind == HW_SOURCE_PARTS)
        hw_buf_append(text, message->source, message->source_len);
    else if (message->has_image)
        put_blocks(text, message);
    else
        hw_text_put(text, message);
}

static void
put_message(struct hw_buf *text, const struct hw_query *query, size_t at)
{
    static const char *const roles[] = {
        [HW_MSG_SYSTEM] = "system",
        [HW_MSG_USER] = "user",
        [HW_MSG_ASSISTANT] = "assistant",
        [HW_MSG_TOOL] = "tool",
    };
    const struct hw_message *message = &query->messages[at];
    struct hw_json id, reasoning;
    /* A tool's answer to no call that anybody knows of is taken for text alone. */
    bool answers =
        message->role == HW_MSG_TOOL && hw_message_get(query, message, HW_MEMBER_TOOL_CALL_ID, &id);

    hw_buf_puts(text, "{\"role\":\"");
    hw_buf_puts(text, message->role == HW_MSG_TOOL && !answers ? "user" : roles[message->role]);
    hw_buf_puts(text, "\",\"content\":");
    put_content(text, query, message);
    if (hw_message_get(query, message, HW_MEMBER_REASONING, &reasoning)) {
        hw_put_key(text, "reasoning_content");
        hw_put_raw(text, &reasoning);
    }
    if (message->has_calls) {
        hw_put_key(text, "tool_calls");
        hw_calls_put_openai(text, query, at);
    }
    if (answers) {
        hw_put_key(text, "tool_call_id");
        hw_put_raw(text, &id);
    }
    hw_buf_puts(text, "}");
}

static void
put_sampling(struct hw_buf *text, const struct hw_query *query)
{
    if (query->has_max_tokens) {
        hw_put_key(text, "max_tokens");
        hw_buf_printf(text, "%u", query->max_tokens);
    }
    if (query->has_temperature) {
        hw_put_key(text, "temperature");
        hw_put_number(text, &query->temperature_raw, query->temperature);
    }
    if (query->has_top_p) {
        hw_put_key(text, "top_p");
        hw_put_number(text, &query->top_p_raw, query->top_p);
    }
    if (query->has_seed) {
        hw_put_key(text, "seed");
        hw_put_raw(text, &query->seed_raw);
    }
    if (query->presence_penalty.p != NULL) {
        hw_put_key(text, "presence_penalty");
        hw_put_raw(text, &query->presence_penalty);
    }
    if (query->frequency_penalty.p != NULL) {
        hw_put_key(text, "frequency_penalty");
        hw_put_raw(text, &query->frequency_penalty);
    }
    for (size_t i = 0; i < query->stop_count; i++) {
        if (i == 0)
            hw_put_key(text, "stop");
        hw_buf_puts(text, i == 0 ? "[" : ",");
        hw_json_write_string(text, query->stops[i], query->stop_lens[i]);
    }
    if (query->stop_count > 0)
        hw_buf_puts(text, "]");
}

static void
put_tools_and_format(struct hw_buf *text, const struct hw_query *query)
{
    const struct hw_json root = hw_query_root(query);
    struct hw_json parallel;

    if (query->tools.p != NULL) {
        hw_put_key(text, "tools");
        hw_put_raw(text, &query->tools);
        if (query->tool_choice.p != NULL) {
            hw_put_key(text, "tool_choice");
            hw_put_raw(text, &query->tool_choice);
        }
        if (query->dialect == &hw_dialect_responses &&
            hw_json_get(&root, "parallel_tool_calls", &parallel) && parallel.type == HW_JSON_BOOL) {
            hw_put_key(text, "parallel_tool_calls");
            hw_put_raw(text, &parallel);
        }
    }
    if (query->response_format.p != NULL) {
        hw_put_key(text, "response_format");
        hw_put_raw(text, &query->response_format);
    }
    const struct hw_json *effort = query->effort.p != NULL ? &query->effort : &query->think;
    if (effort->p != NULL && effort->type == HW_JSON_STRING) {
        hw_put_key(text, "reasoning_effort");
        hw_put_raw(text, effort);
    }
    if (query->wants_logprobs) {
        hw_put_key(text, "logprobs");
        hw_buf_puts(text, "true");
        if (query->top_logprobs.p != NULL) {
            hw_put_key(text, "top_logprobs");
            hw_put_raw(text, &query->top_logprobs);
        }
    }
}

static void
drop_uncarried(const struct hw_query *query, struct hw_outgoing *out)
{
    static const char *const carried[] = {"question",
                                          "model",
                                          "messages",
                                          "prompt",
                                          "system",
                                          "stream",
                                          "max_tokens",
                                          "seed",
                                          "stop_sequences",
                                          "top_p",
                                          "temperature",
                                          "tool_choice",
                                          "tools",
                                          "format",
                                          "images",
                                          "metadata",
                                          "options",
                                          "think",
                                          "thinking",
                                          "output_format",
                                          "output_config",
                                          "logprobs",
                                          "top_logprobs",
                                          "input",
                                          "instructions",
                                          "max_output_tokens",
                                          "text",
                                          "reasoning",
                                          "include",
                                          "stream_options",
                                          "user",
                                          "safety_identifier",
                                          "prompt_cache_key",
                                          "parallel_tool_calls",
                                          NULL};
    static const char *const options[] = {
        "num_predict",      "temperature",       "top_p", "seed", "stop",
        "presence_penalty", "frequency_penalty", NULL};
    bool wanted;

    /* To think or not, without a level, has no word. */
    if (hw_json_bool(&query->think, &wanted)) {
        bool ollama = query->dialect != &hw_dialect_anthropic;
        hw_outgoing_drop(out, ollama ? "think" : "thinking", ollama ? 5 : 8);
    }
    hw_outgoing_drop_others(out, query, carried);
    hw_outgoing_drop_options(out, query, options);
}

/* From any other dialect. */
static int
write_translated(const struct hw_query *query, const char *model, struct hw_outgoing *out,
                 struct hw_err *err)
{
    struct hw_buf *text = &out->text;

    if (model == NULL)
        model = query->model;
    if (model == NULL)
        return hw_err_set(err, HW_EINVAL, "an openai backend must be asked for a model by name");
    hw_buf_reserve(text, query->body->len + 1024); /* at once: it may be megabytes */
    hw_buf_puts(text, "{");
    hw_put_key(text, "model");
    hw_json_write_string(text, model, strlen(model));
    hw_put_key(text, "messages");
    hw_buf_puts(text, "[");
    for (size_t i = 0; i < query->message_count; i++) {
        if (i > 0)
            hw_buf_puts(text, ",");
        put_message(text, query, i);
    }
    hw_buf_puts(text, "]");
    put_sampling(text, query);
    put_tools_and_format(text, query);
    hw_put_key(text, "stream");
    hw_buf_puts(text, "true"); /* also for a whole answer, as in to_ollama.c */
    hw_put_key(text, "stream_options");
    hw_buf_puts(text, "{\"include_usage\":true}}");
    drop_uncarried(query, out);
    return hw_outgoing_done(out, hw_dialect_openai.path, err);
}

static int
write_request(const struct hw_query *query, const char *model, struct hw_outgoing *out,
              struct hw_err *err)
{
    if (hw_protocol_speaks(&hw_protocol_openai, query->dialect))
        return hw_outgoing_pass(query, model, out, err);
    if (query->embeds)
        return hw_embeddings_to_openai(query, model, out, err);
    return write_translated(query, model, out, err);
}

static const struct hw_dialect *const spoken[] = {&hw_dialect_openai, &hw_dialect_completions,
                                                  &hw_dialect_embeddings, NULL};

const struct hw_protocol hw_protocol_openai = {
    .kind = HW_KIND_OPENAI,
    .dialects = spoken,
    .write_request = write_request,
};

/* router/api/responses_write.c - the response object and its items. */
#include "router/api/outgoing.h"
#include "router/api/responses.h"
#include "router/api/write.h"

bool
hw_responses_wants_summary(const struct hw_query *query)
{
    struct hw_json root, reasoning, summary;

    if (query->body == NULL)
        return false;
    root = hw_query_root(query);
    return hw_json_get(&root, "reasoning", &reasoning) &&
           (hw_json_get(&reasoning, "summary", &summary) ||
            hw_json_get(&reasoning, "generate_summary", &summary)) &&
           summary.type == HW_JSON_STRING;
}

void
hw_responses_write_item_id(struct hw_buf *out, const struct hw_reply *reply,
                           enum hw_event_type type, size_t n)
{
    hw_write(out, type == HW_EVENT_TEXT        ? "\"msg_"
                  : type == HW_EVENT_REASONING ? "\"rs_"
                                               : "\"fc_");
    hw_json_write_escaped(out, reply->id, strlen(reply->id));
    hw_write(out, "_");
    hw_write_u64(out, n);
    hw_write(out, "\"");
}

void
hw_responses_write_logprobs(struct hw_buf *out, const char *entries, size_t len)
{
    if (len > 0 && *entries == ',') { /* of an earlier message */
        entries++;
        len--;
    }
    hw_write(out, ",\"logprobs\":[");
    hw_buf_append(out, entries, len);
    hw_write(out, "]");
}

void
hw_responses_write_part(struct hw_buf *out, const struct hw_reply *reply, enum hw_event_type type,
                        const char *text, size_t len, const char *logprobs, size_t logprobs_len)
{
    if (type == HW_EVENT_REASONING)
        hw_write(out, hw_responses_wants_summary(reply->query)
                          ? "{\"type\":\"summary_text\",\"text\":"
                          : "{\"type\":\"reasoning_text\",\"text\":");
    else
        hw_write(out, "{\"type\":\"output_text\",\"annotations\":[],\"text\":");
    hw_json_write_string(out, text, len);
    if (type == HW_EVENT_TEXT)
        hw_responses_write_logprobs(out, logprobs, logprobs_len);
    hw_write(out, "}");
}

static void
put_call(struct hw_buf *out, const struct hw_tool_call *call, bool closed)
{
    hw_write(out, ",\"call_id\":");
    hw_write_string(out, call->id);
    hw_write(out, ",\"name\":");
    hw_write_string(out, call->name);
    hw_write(out, ",\"arguments\":");
    if (closed)
        hw_json_write_string(out, call->arguments.data, call->arguments.len);
    else
        hw_write(out, "\"\"");
}

void
hw_responses_write_item(struct hw_buf *out, const struct hw_reply *reply,
                        const struct hw_answer *answer, const struct hw_response_item *item,
                        size_t n)
{
    bool thought = item->type == HW_EVENT_REASONING;
    const struct hw_buf *from = thought ? &answer->reasoning : &answer->text;

    hw_write(out, "{\"id\":");
    hw_responses_write_item_id(out, reply, item->type, n);
    if (item->type == HW_EVENT_TOOL_CALL) {
        hw_write(out, ",\"type\":\"function_call\"");
        put_call(out, &answer->tool_calls[item->call], item->closed);
    } else {
        const char *text = from->len > 0 ? from->data + item->start : "";
        bool summary = thought && hw_responses_wants_summary(reply->query);
        hw_write(out, thought ? summary ? ",\"type\":\"reasoning\",\"summary\":["
                                        : ",\"type\":\"reasoning\",\"summary\":[],\"content\":["
                              : ",\"type\":\"message\",\"role\":\"assistant\",\"content\":[");
        if (item->closed)
            hw_responses_write_part(out, reply, item->type, text, item->end - item->start,
                                    answer->logprobs.data + item->logprobs_start,
                                    item->logprobs_end - item->logprobs_start);
        hw_write(out, "]");
    }
    hw_write(out, !item->closed ? ",\"status\":\"in_progress\"}"
                  : item->cut   ? ",\"status\":\"incomplete\"}"
                                : ",\"status\":\"completed\"}");
}

/* What was asked, or what holds where it was not. */
static void
put_asked(struct hw_buf *out, const struct hw_query *query)
{
    static const struct {
        const char *name, *otherwise;
    } members[] = {{"instructions", "null"},
                   {"max_output_tokens", "null"},
                   {"metadata", "{}"},
                   {"parallel_tool_calls", "true"},
                   {"reasoning", "{\"effort\":null,\"summary\":null}"},
                   {"temperature", "null"},
                   {"text", "{\"format\":{\"type\":\"text\"}}"},
                   {"tool_choice", "\"auto\""},
                   {"tools", "[]"},
                   {"top_p", "null"},
                   {"user", "null"}};
    struct hw_json root = {.p = NULL}, value;

    if (query->body != NULL)
        root = hw_query_root(query);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        hw_write(out, ",\"");
        hw_write(out, members[i].name);
        hw_write(out, "\":");
        if (root.p != NULL && hw_json_get(&root, members[i].name, &value) &&
            value.type != HW_JSON_NULL)
            hw_put_raw(out, &value);
        else
            hw_write(out, members[i].otherwise);
    }
}

static void
put_usage(struct hw_buf *out, const struct hw_usage *usage)
{
    if (!usage->known) {
        hw_write(out, ",\"usage\":null");
        return;
    }
    hw_write(out, ",\"usage\":{\"input_tokens\":");
    hw_write_u64(out, usage->prompt_tokens);
    hw_write(out, ",\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":");
    hw_write_u64(out, usage->output_tokens);
    hw_write(out, ",\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":");
    hw_write_u64(out, usage->prompt_tokens + usage->output_tokens);
    hw_write(out, "}");
}

static void
put_status(struct hw_buf *out, const enum hw_finish *finish)
{
    const char *reason = finish == NULL                ? NULL
                         : *finish == HW_FINISH_LENGTH ? "max_output_tokens"
                         : *finish == HW_FINISH_FILTER ? "content_filter"
                                                       : NULL;

    hw_write(out, finish == NULL   ? ",\"status\":\"in_progress\""
                  : reason == NULL ? ",\"status\":\"completed\""
                                   : ",\"status\":\"incomplete\"");
    hw_write(out, ",\"error\":null,\"incomplete_details\":");
    if (reason != NULL) {
        hw_write(out, "{\"reason\":\"");
        hw_write(out, reason);
        hw_write(out, "\"}");
    } else {
        hw_write(out, "null");
    }
}

void
hw_responses_write_response(struct hw_buf *out, const struct hw_reply *reply,
                            const struct hw_answer *answer, const struct hw_response_item *items,
                            size_t count, const enum hw_finish *finish)
{
    static const struct hw_usage unknown = {.known = false};

    hw_write(out, "{\"id\":\"resp_");
    hw_json_write_escaped(out, reply->id, strlen(reply->id));
    hw_write(out, "\",\"object\":\"response\",\"created_at\":");
    hw_write_u64(out, reply->created_s);
    hw_write(out, ",\"model\":");
    hw_write_string(out, reply->model);
    put_status(out, finish);
    hw_write(out, ",\"output\":[");
    for (size_t i = 0; i < count; i++) {
        hw_write(out, i == 0 ? "" : ",");
        hw_responses_write_item(out, reply, answer, &items[i], i);
    }
    hw_write(out, "],\"previous_response_id\":null,\"store\":false,\"background\":false,"
                  "\"truncation\":\"disabled\"");
    put_asked(out, reply->query);
    put_usage(out, finish != NULL ? &answer->usage : &unknown);
    hw_write(out, "}");
}

void
hw_responses_write_whole(struct hw_reply *reply, const struct hw_answer *answer, struct hw_buf *out)
{
    struct hw_response_item items[2 + HW_MAX_TOOL_CALLS];
    size_t count = 0;

    if (answer->reasoning.len > 0)
        items[count++] = (struct hw_response_item){
            .type = HW_EVENT_REASONING, .closed = true, .end = answer->reasoning.len};
    if (answer->text.len > 0 || answer->tool_call_count == 0)
        items[count++] = (struct hw_response_item){.type = HW_EVENT_TEXT,
                                                   .closed = true,
                                                   .end = answer->text.len,
                                                   .logprobs_end = answer->logprobs.len};
    for (size_t i = 0; i < answer->tool_call_count; i++)
        items[count++] = (struct hw_response_item){
            .type = HW_EVENT_TOOL_CALL, .closed = true, .call = (uint32_t)i};
    items[count - 1].cut = answer->finish == HW_FINISH_LENGTH;
    hw_responses_write_response(out, reply, answer, items, count, &answer->finish);
}

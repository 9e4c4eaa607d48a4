/* router/api/openai_write.c - answers in the OpenAI dialect: whole, as SSE chunks, and errors.
 *
 * A chunk is written for each event of a stream, so it is put together by appends: no format string
 * is walked on that way. Whoever calls checks out->failed once. */
#include "router/api/openai.h"

#include <string.h>

static void
put(struct hw_buf *out, const char *text)
{
    hw_buf_append(out, text, strlen(text));
}

static void
put_u64(struct hw_buf *out, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    hw_buf_append(out, digits + at, sizeof(digits) - at);
}

static void
put_string(struct hw_buf *out, const char *text)
{
    hw_json_write_string(out, text, strlen(text));
}

static const char *
finish_word(enum hw_finish finish, bool saw_tool_call)
{
    switch (finish) {
    case HW_FINISH_LENGTH:
        return "length";
    case HW_FINISH_FILTER:
        return "content_filter";
    case HW_FINISH_TOOL_CALLS:
        return "tool_calls";
    case HW_FINISH_STOP:
        break;
    }
    return saw_tool_call ? "tool_calls" : "stop";
}

static void
put_usage(struct hw_buf *out, const struct hw_usage *usage)
{
    put(out, "\"usage\":{\"prompt_tokens\":");
    put_u64(out, usage->prompt_tokens);
    put(out, ",\"completion_tokens\":");
    put_u64(out, usage->output_tokens);
    put(out, ",\"total_tokens\":");
    put_u64(out, usage->prompt_tokens + usage->output_tokens);
    put(out, "}");
}

static void
put_frame(struct hw_buf *out, const struct hw_reply *reply, const char *object)
{
    put(out, "{\"id\":\"chatcmpl-");
    hw_json_write_escaped(out, reply->id, strlen(reply->id));
    put(out, "\",\"object\":\"");
    put(out, object);
    put(out, "\",\"created\":");
    put_u64(out, reply->created_s);
    put(out, ",\"model\":");
    put_string(out, reply->model);
    put(out, ",\"choices\":[");
}

void
hw_openai_write_whole(struct hw_reply *reply, const struct hw_answer *answer, struct hw_buf *out)
{
    put_frame(out, reply, "chat.completion");
    put(out, "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    if (answer->text.len > 0 || answer->tool_call_count == 0)
        hw_json_write_string(out, answer->text.data, answer->text.len);
    else
        put(out, "null");
    if (answer->reasoning.len > 0) {
        put(out, ",\"reasoning_content\":");
        hw_json_write_string(out, answer->reasoning.data, answer->reasoning.len);
    }
    for (size_t i = 0; i < answer->tool_call_count; i++) {
        const struct hw_tool_call *call = &answer->tool_calls[i];
        put(out, i == 0 ? ",\"tool_calls\":[{\"id\":" : ",{\"id\":");
        put_string(out, call->id);
        put(out, ",\"type\":\"function\",\"function\":{\"name\":");
        put_string(out, call->name);
        put(out, ",\"arguments\":");
        hw_json_write_string(out, call->arguments.data, call->arguments.len);
        put(out, "}}");
    }
    if (answer->tool_call_count > 0)
        put(out, "]");
    put(out, ",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"");
    put(out, finish_word(answer->finish, answer->tool_call_count > 0));
    put(out, "\"}]");
    if (answer->usage.known) {
        put(out, ",");
        put_usage(out, &answer->usage);
    }
    put(out, "}");
}

/* A chunk up to and with the opening brace of its delta. The role stands in the first delta only.
 */
static void
begin_chunk(struct hw_reply *reply, struct hw_buf *out)
{
    put(out, "data: ");
    put_frame(out, reply, "chat.completion.chunk");
    put(out, "{\"index\":0,\"delta\":{");
    if (!reply->opened)
        put(out, "\"role\":\"assistant\"");
}

static void
end_chunk(struct hw_reply *reply, const char *finish, struct hw_buf *out)
{
    put(out, "},\"logprobs\":null,\"finish_reason\":");
    if (finish != NULL) {
        put(out, "\"");
        put(out, finish);
        put(out, "\"}]");
    } else {
        put(out, "null}]");
    }
    put(out, reply->query->include_usage ? ",\"usage\":null}\n\n" : "}\n\n");
    reply->opened = true;
}

static void
write_text(struct hw_reply *reply, const char *field, const struct hw_event *event,
           struct hw_buf *out)
{
    begin_chunk(reply, out);
    put(out, reply->opened ? "\"" : ",\"");
    put(out, field);
    put(out, "\":");
    hw_json_write_string(out, event->text, event->len);
    end_chunk(reply, NULL, out);
}

static void
write_tool_call(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    begin_chunk(reply, out);
    put(out, reply->opened ? "\"tool_calls\":[{\"index\":" : ",\"tool_calls\":[{\"index\":");
    put_u64(out, event->index);
    if (event->id != NULL) {
        put(out, ",\"id\":");
        put_string(out, event->id);
        put(out, ",\"type\":\"function\"");
    }
    put(out, ",\"function\":{");
    if (event->name != NULL) {
        put(out, "\"name\":");
        put_string(out, event->name);
        put(out, ",");
    }
    put(out, "\"arguments\":");
    hw_json_write_string(out, event->text, event->len);
    put(out, "}}]");
    end_chunk(reply, NULL, out);
    reply->saw_tool_call = true;
}

static void
write_finish(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    if (!reply->opened) {
        /* An answer without a word still has its role in a delta of its own. */
        begin_chunk(reply, out);
        put(out, ",\"content\":\"\"");
        end_chunk(reply, NULL, out);
    }
    begin_chunk(reply, out);
    end_chunk(reply, finish_word(event->finish, reply->saw_tool_call), out);
    /* Counts that nobody knows are left out rather than given as 0. */
    if (reply->query->include_usage && event->usage.known) {
        put(out, "data: ");
        put_frame(out, reply, "chat.completion.chunk");
        put(out, "],");
        put_usage(out, &event->usage);
        put(out, "}\n\n");
    }
    put(out, "data: [DONE]\n\n");
}

static void
write_error_event(const struct hw_event *event, struct hw_buf *out)
{
    char message[1024];
    size_t len = event->len < sizeof(message) ? event->len : sizeof(message) - 1;

    if (len > 0)
        memcpy(message, event->text, len);
    message[len] = '\0';
    put(out, "data: ");
    hw_openai_write_error(event->status >= 400 ? event->status : 502, message, NULL, out);
    put(out, "\n\n");
}

void
hw_openai_write_event(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    switch (event->type) {
    case HW_EVENT_TEXT:
        write_text(reply, "content", event, out);
        return;
    case HW_EVENT_REASONING:
        write_text(reply, "reasoning_content", event, out);
        return;
    case HW_EVENT_TOOL_CALL:
        write_tool_call(reply, event, out);
        return;
    case HW_EVENT_FINISH:
        write_finish(reply, event, out);
        return;
    case HW_EVENT_ERROR:
        write_error_event(event, out);
        return;
    }
}

static const char *
error_type(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 429:
        return "rate_limit_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

static const char *
error_code(int status, const char *param)
{
    switch (status) {
    case 401:
        return "invalid_api_key";
    case 404:
        return param != NULL && strcmp(param, "model") == 0 ? "model_not_found" : "not_found";
    case 413:
        return "request_too_large";
    case 429:
        return "rate_limit_exceeded";
    default:
        return NULL;
    }
}

void
hw_openai_write_error(int status, const char *message, const char *param, struct hw_buf *out)
{
    const char *code = error_code(status, param);

    put(out, "{\"error\":{\"message\":");
    put_string(out, message);
    put(out, ",\"type\":\"");
    put(out, error_type(status));
    put(out, "\",\"param\":");
    if (param != NULL)
        put_string(out, param);
    else
        put(out, "null");
    put(out, ",\"code\":");
    if (code != NULL)
        put_string(out, code);
    else
        put(out, "null");
    put(out, "}}");
}

/* router/api/openai_write.c - answers in the OpenAI dialect: whole, as SSE chunks, and errors. */
#include "router/api/openai.h"

#include <string.h>

#include "router/api/write.h"

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

void
hw_openai_write_usage(struct hw_buf *out, const struct hw_usage *usage)
{
    hw_write(out, "\"usage\":{\"prompt_tokens\":");
    hw_write_u64(out, usage->prompt_tokens);
    hw_write(out, ",\"completion_tokens\":");
    hw_write_u64(out, usage->output_tokens);
    hw_write(out, ",\"total_tokens\":");
    hw_write_u64(out, usage->prompt_tokens + usage->output_tokens);
    hw_write(out, "}");
}

void
hw_openai_write_head(struct hw_buf *out, const struct hw_reply *reply, const char *prefix,
                     const char *object)
{
    hw_write(out, "{\"id\":\"");
    hw_write(out, prefix);
    hw_json_write_escaped(out, reply->id, strlen(reply->id));
    hw_write(out, "\",\"object\":\"");
    hw_write(out, object);
    hw_write(out, "\",\"created\":");
    hw_write_u64(out, reply->created_s);
    hw_write(out, ",\"model\":");
    hw_write_string(out, reply->model);
    hw_write(out, ",\"choices\":[");
}

static void
put_logprobs(struct hw_buf *out, const char *entries, size_t len)
{
    if (len == 0) {
        hw_write(out, ",\"logprobs\":null");
        return;
    }
    hw_write(out, ",\"logprobs\":{\"content\":[");
    hw_buf_append(out, entries, len);
    hw_write(out, "],\"refusal\":null}");
}

void
hw_openai_write_whole(struct hw_reply *reply, const struct hw_answer *answer, struct hw_buf *out)
{
    hw_openai_write_head(out, reply, "chatcmpl-", "chat.completion");
    hw_write(out, "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    if (answer->text.len > 0 || answer->tool_call_count == 0)
        hw_json_write_string(out, answer->text.data, answer->text.len);
    else
        hw_write(out, "null");
    if (answer->reasoning.len > 0) {
        hw_write(out, ",\"reasoning_content\":");
        hw_json_write_string(out, answer->reasoning.data, answer->reasoning.len);
    }
    for (size_t i = 0; i < answer->tool_call_count; i++) {
        const struct hw_tool_call *call = &answer->tool_calls[i];
        hw_write(out, i == 0 ? ",\"tool_calls\":[{\"id\":" : ",{\"id\":");
        hw_write_string(out, call->id);
        hw_write(out, ",\"type\":\"function\",\"function\":{\"name\":");
        hw_write_string(out, call->name);
        hw_write(out, ",\"arguments\":");
        hw_json_write_string(out, call->arguments.data, call->arguments.len);
        hw_write(out, "}}");
    }
    if (answer->tool_call_count > 0)
        hw_write(out, "]");
    hw_write(out, ",\"refusal\":null}");
    put_logprobs(out, answer->logprobs.data, answer->logprobs.len);
    hw_write(out, ",\"finish_reason\":\"");
    hw_write(out, finish_word(answer->finish, answer->tool_call_count > 0));
    hw_write(out, "\"}]");
    if (answer->usage.known) {
        hw_write(out, ",");
        hw_openai_write_usage(out, &answer->usage);
    }
    hw_write(out, "}");
}

/* A chunk up to and with the opening brace of its delta. The role stands in the first delta only.
 */
static void
begin_chunk(struct hw_reply *reply, struct hw_buf *out)
{
    hw_write(out, "data: ");
    hw_openai_write_head(out, reply, "chatcmpl-", "chat.completion.chunk");
    hw_write(out, "{\"index\":0,\"delta\":{");
    if (!reply->opened)
        hw_write(out, "\"role\":\"assistant\"");
}

static void
end_chunk(struct hw_reply *reply, const struct hw_event *event, const char *finish,
          struct hw_buf *out)
{
    hw_write(out, "}");
    put_logprobs(out, event->logprobs, event->logprobs_len);
    hw_write(out, ",\"finish_reason\":");
    if (finish != NULL) {
        hw_write(out, "\"");
        hw_write(out, finish);
        hw_write(out, "\"}]");
    } else {
        hw_write(out, "null}]");
    }
    hw_write(out, reply->query->include_usage ? ",\"usage\":null}\n\n" : "}\n\n");
    reply->opened = true;
}

static void
write_text(struct hw_reply *reply, const char *field, const struct hw_event *event,
           struct hw_buf *out)
{
    begin_chunk(reply, out);
    hw_write(out, reply->opened ? "\"" : ",\"");
    hw_write(out, field);
    hw_write(out, "\":");
    hw_json_write_string(out, event->text, event->len);
    end_chunk(reply, event, NULL, out);
}

static void
write_tool_call(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    begin_chunk(reply, out);
    hw_write(out, reply->opened ? "\"tool_calls\":[{\"index\":" : ",\"tool_calls\":[{\"index\":");
    hw_write_u64(out, event->index);
    if (event->id != NULL) {
        hw_write(out, ",\"id\":");
        hw_write_string(out, event->id);
        hw_write(out, ",\"type\":\"function\"");
    }
    hw_write(out, ",\"function\":{");
    if (event->name != NULL) {
        hw_write(out, "\"name\":");
        hw_write_string(out, event->name);
        hw_write(out, ",");
    }
    hw_write(out, "\"arguments\":");
    hw_json_write_string(out, event->text, event->len);
    hw_write(out, "}}]");
    end_chunk(reply, event, NULL, out);
    reply->saw_tool_call = true;
}

static void
write_finish(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    if (!reply->opened) {
        /* An answer without a word still has its role in a delta of its own. */
        begin_chunk(reply, out);
        hw_write(out, ",\"content\":\"\"");
        end_chunk(reply, event, NULL, out);
    }
    begin_chunk(reply, out);
    end_chunk(reply, event, finish_word(event->finish, reply->saw_tool_call), out);
    /* Counts that nobody knows are left out rather than given as 0. */
    if (reply->query->include_usage && event->usage.known) {
        hw_write(out, "data: ");
        hw_openai_write_head(out, reply, "chatcmpl-", "chat.completion.chunk");
        hw_write(out, "],");
        hw_openai_write_usage(out, &event->usage);
        hw_write(out, "}\n\n");
    }
    hw_write(out, "data: [DONE]\n\n");
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
        hw_write_error_event(out, "data: ", event, hw_openai_write_error);
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
hw_openai_write_error_object(int status, const char *message, const char *param, struct hw_buf *out)
{
    const char *code = error_code(status, param);

    hw_write(out, "\"error\":{\"message\":");
    hw_write_string(out, message);
    hw_write(out, ",\"type\":\"");
    hw_write(out, error_type(status));
    hw_write(out, "\",\"param\":");
    if (param != NULL)
        hw_write_string(out, param);
    else
        hw_write(out, "null");
    hw_write(out, ",\"code\":");
    if (code != NULL)
        hw_write_string(out, code);
    else
        hw_write(out, "null");
    hw_write(out, "}");
}

void
hw_openai_write_error(int status, const char *message, const char *param, struct hw_buf *out)
{
    hw_write(out, "{");
    hw_openai_write_error_object(status, message, param, out);
    hw_write(out, "}");
}

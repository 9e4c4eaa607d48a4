/* router/api/anthropic_write.c - answers in the Anthropic dialect: whole, as events, and errors.
 *
 * Blocks of a stream come one after the other, while backends may stream several calls of tools at
 * once: one call is passed on as it comes; what belongs to another is gathered until that one's
 * arguments are complete. */
#include "policies/classify.h"
#include "router/api/anthropic.h"
#include "router/api/write.h"

static const char *
stop_reason(enum hw_finish finish, bool called)
{
    switch (finish) {
    case HW_FINISH_LENGTH:
        return "max_tokens";
    case HW_FINISH_FILTER:
        return "refusal";
    case HW_FINISH_TOOL_CALLS:
        return "tool_use";
    case HW_FINISH_STOP:
        break;
    }
    return called ? "tool_use" : "end_turn";
}

/* The dialect has no way to leave counts out: what a backend does not tell is estimated. */
static void
put_usage(struct hw_buf *out, const struct hw_reply *reply, const struct hw_usage *usage,
          uint64_t output_bytes)
{
    hw_write(out, "\"usage\":{\"input_tokens\":");
    hw_write_u64(out, usage->known ? usage->prompt_tokens
                                   : hw_estimate_tokens(reply->query->prompt_bytes));
    hw_write(out, ",\"output_tokens\":");
    hw_write_u64(out, usage->known ? usage->output_tokens : hw_estimate_tokens(output_bytes));
    hw_write(out, "}");
}

/* A message up to its list of blocks. */
static void
begin_message(struct hw_buf *out, const struct hw_reply *reply)
{
    hw_write(out, "{\"id\":\"msg_");
    hw_json_write_escaped(out, reply->id, strlen(reply->id));
    hw_write(out, "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    hw_write_string(out, reply->model);
    hw_write(out, ",\"content\":[");
}

static void
put_call_head(struct hw_buf *out, const struct hw_tool_call *call)
{
    hw_write(out, "{\"type\":\"tool_use\",\"id\":");
    hw_write_string(out, call->id);
    hw_write(out, ",\"name\":");
    hw_write_string(out, call->name);
    hw_write(out, ",\"input\":");
}

void
hw_anthropic_write_whole(struct hw_reply *reply, const struct hw_answer *answer, struct hw_buf *out)
{
    bool first = true;

    begin_message(out, reply);
    if (answer->reasoning.len > 0) {
        hw_write(out, "{\"type\":\"thinking\",\"thinking\":");
        hw_json_write_string(out, answer->reasoning.data, answer->reasoning.len);
        hw_write(out, ",\"signature\":\"\"}");
        first = false;
    }
    if (answer->text.len > 0 || answer->tool_call_count == 0) {
        hw_write(out, first ? "" : ",");
        hw_write(out, "{\"type\":\"text\",\"text\":");
        hw_json_write_string(out, answer->text.data, answer->text.len);
        hw_write(out, "}");
        first = false;
    }
    for (size_t i = 0; i < answer->tool_call_count; i++) {
        hw_write(out, first ? "" : ",");
        put_call_head(out, &answer->tool_calls[i]);
        hw_write_arguments(out, &answer->tool_calls[i].arguments);
        hw_write(out, "}");
        first = false;
    }
    hw_write(out, "],\"stop_reason\":\"");
    hw_write(out, stop_reason(answer->finish, answer->tool_call_count > 0));
    hw_write(out, "\",\"stop_sequence\":null,");
    put_usage(out, reply, &answer->usage, answer->text.len + answer->reasoning.len);
    hw_write(out, "}");
}

/* ---- streams ---- */

static void
begin_event(struct hw_buf *out, const char *name)
{
    hw_write(out, "event: ");
    hw_write(out, name);
    hw_write(out, "\ndata: {\"type\":\"");
    hw_write(out, name);
    hw_write(out, "\"");
}

static void
end_event(struct hw_buf *out)
{
    hw_write(out, "}\n\n");
}

static void
open_stream(struct hw_reply *reply, struct hw_buf *out)
{
    const struct hw_usage unknown = {.known = false};

    if (reply->opened)
        return;
    reply->opened = true;
    begin_event(out, "message_start");
    hw_write(out, ",\"message\":");
    begin_message(out, reply);
    hw_write(out, "],\"stop_reason\":null,\"stop_sequence\":null,");
    put_usage(out, reply, &unknown, 0);
    hw_write(out, "}");
    end_event(out);
}

static void
put_index(const struct hw_reply *reply, struct hw_buf *out)
{
    hw_write(out, ",\"index\":");
    hw_write_u64(out, reply->blocks);
}

static void
close_block(struct hw_reply *reply, struct hw_buf *out)
{
    if (!reply->block_open)
        return;
    begin_event(out, "content_block_stop");
    put_index(reply, out);
    end_event(out);
    reply->block_open = false;
    reply->blocks++;
}

static bool
call_is_open(const struct hw_reply *reply)
{
    return reply->block_open && reply->block_type == HW_EVENT_TOOL_CALL;
}

static bool
open_call_is_complete(const struct hw_reply *reply)
{
    return reply->calls.tool_calls[reply->open_call].scan.complete;
}

static void
put_arguments(struct hw_reply *reply, const char *text, size_t len, struct hw_buf *out)
{
    begin_event(out, "content_block_delta");
    put_index(reply, out);
    hw_write(out, ",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":");
    hw_json_write_string(out, text, len);
    hw_write(out, "}");
    end_event(out);
}

/* Closes the open call. None is no object, which is what arguments have to be. */
static void
end_arguments(struct hw_reply *reply, struct hw_buf *out)
{
    if (reply->calls.tool_calls[reply->open_call].arguments.len == 0)
        put_arguments(reply, "{}", 2, out);
    close_block(reply, out);
}

static void
write_text(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    bool thinking = event->type == HW_EVENT_REASONING;

    if (event->len == 0)
        return; /* log-probabilities alone, which this dialect has not */
    if (call_is_open(reply) && !open_call_is_complete(reply)) {
        hw_answer_add(&reply->calls, event); /* it has to wait */
        return;
    }
    if (call_is_open(reply))
        end_arguments(reply, out);
    if (reply->block_open && reply->block_type != event->type)
        close_block(reply, out);
    if (!reply->block_open) {
        begin_event(out, "content_block_start");
        put_index(reply, out);
        hw_write(out, thinking ? ",\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\","
                                 "\"signature\":\"\"}"
                               : ",\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
        end_event(out);
        reply->block_open = true;
        reply->block_type = event->type;
    }
    begin_event(out, "content_block_delta");
    put_index(reply, out);
    hw_write(out, thinking ? ",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":"
                           : ",\"delta\":{\"type\":\"text_delta\",\"text\":");
    hw_json_write_string(out, event->text, event->len);
    hw_write(out, "}");
    end_event(out);
    reply->text_bytes += event->len;
}

/* The open call's arguments are complete, or nothing more will come: then what had to wait for it.
 */
static void
close_call(struct hw_reply *reply, struct hw_buf *out)
{
    struct hw_buf *const waiting[] = {&reply->calls.reasoning, &reply->calls.text};

    end_arguments(reply, out);
    for (size_t i = 0; i < 2; i++) {
        struct hw_event event = {.type = i == 0 ? HW_EVENT_REASONING : HW_EVENT_TEXT,
                                 .text = waiting[i]->data,
                                 .len = waiting[i]->len};
        write_text(reply, &event, out);
        hw_buf_clear(waiting[i]);
    }
}

static void
begin_call(struct hw_reply *reply, uint32_t index, struct hw_buf *out)
{
    begin_event(out, "content_block_start");
    put_index(reply, out);
    hw_write(out, ",\"content_block\":");
    put_call_head(out, &reply->calls.tool_calls[index]);
    hw_write(out, "{}}");
    end_event(out);
    reply->block_open = true;
    reply->block_type = HW_EVENT_TOOL_CALL;
    reply->open_call = index;
    reply->written_calls |= (uint64_t)1 << index;
}

/* Its arguments are all there: made an object where they are none. */
static void
write_whole_call(struct hw_reply *reply, uint32_t index, struct hw_buf *out)
{
    struct hw_buf arguments;

    begin_call(reply, index, out);
    hw_buf_init(&arguments, HW_MAX_CALL_BYTES * 2);
    hw_write_arguments(&arguments, &reply->calls.tool_calls[index].arguments);
    put_arguments(reply, arguments.data, arguments.len, out);
    out->failed = out->failed || arguments.failed;
    hw_buf_free(&arguments);
    close_block(reply, out);
}

static void
write_tool_event(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    const struct hw_answer *calls = &reply->calls;

    hw_answer_add(&reply->calls, event);
    if (calls->overflowed)
        return;
    if (call_is_open(reply) && reply->open_call != event->index &&
        calls->tool_calls[reply->open_call].scan.complete)
        close_call(reply, out);
    if (call_is_open(reply) && reply->open_call == event->index) {
        if (event->len > 0)
            put_arguments(reply, event->text, event->len, out);
        return;
    }
    if (call_is_open(reply) || (reply->written_calls >> event->index & 1) != 0)
        return; /* it has to wait; or it was complete, and this is white space */
    close_block(reply, out);
    begin_call(reply, event->index, out);
    const struct hw_buf *arguments = &calls->tool_calls[event->index].arguments;
    if (arguments->len > 0)
        put_arguments(reply, arguments->data, arguments->len, out);
}

static void
write_error_event(const struct hw_event *event, struct hw_buf *out)
{
    hw_write_error_event(out, "event: error\ndata: ", event, hw_anthropic_write_error);
}

static void
write_finish(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    static const char too_large[] = "the calls of tools are larger than Hatchway holds";
    const struct hw_answer *calls = &reply->calls;

    if (call_is_open(reply))
        close_call(reply, out);
    close_block(reply, out);
    if (calls->overflowed) {
        struct hw_event error = {.text = too_large, .len = sizeof(too_large) - 1};
        write_error_event(&error, out);
        return;
    }
    for (uint32_t i = 0; i < calls->tool_call_count; i++)
        if ((reply->written_calls >> i & 1) == 0)
            write_whole_call(reply, i, out);
    begin_event(out, "message_delta");
    hw_write(out, ",\"delta\":{\"stop_reason\":\"");
    hw_write(out, stop_reason(event->finish, calls->tool_call_count > 0));
    hw_write(out, "\",\"stop_sequence\":null},");
    put_usage(out, reply, &event->usage, reply->text_bytes);
    end_event(out);
    begin_event(out, "message_stop");
    end_event(out);
}

void
hw_anthropic_write_event(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    if (event->type == HW_EVENT_ERROR) {
        write_error_event(event, out);
        return;
    }
    open_stream(reply, out);
    switch (event->type) {
    case HW_EVENT_TEXT:
    case HW_EVENT_REASONING:
        write_text(reply, event, out);
        return;
    case HW_EVENT_TOOL_CALL:
        write_tool_event(reply, event, out);
        return;
    case HW_EVENT_FINISH:
        write_finish(reply, event, out);
        return;
    case HW_EVENT_ERROR:
        return;
    }
}

/* ---- errors ---- */

void
hw_anthropic_write_error(int status, const char *message, const char *param, struct hw_buf *out)
{
    static const struct {
        int status;
        const char *type;
    } types[] = {{401, "authentication_error"}, {403, "permission_error"},
                 {404, "not_found_error"},      {413, "request_too_large"},
                 {429, "rate_limit_error"},     {503, "overloaded_error"},
                 {504, "timeout_error"}};
    const char *type = status >= 500 ? "api_error" : "invalid_request_error";

    (void)param;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (types[i].status == status)
            type = types[i].type;
    hw_write(out, "{\"type\":\"error\",\"error\":{\"type\":\"");
    hw_write(out, type);
    hw_write(out, "\",\"message\":");
    hw_write_string(out, message);
    hw_write(out, "}}");
}

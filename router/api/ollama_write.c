/* router/api/ollama_write.c - answers in the Ollama dialect: whole, as lines of a stream, errors.
 *
 * A call of a tool is one object with its arguments as an object, so that what a backend streams in
 * pieces is gathered, and written in a line of its own as soon as it and those before it are
 * complete. */
#include <time.h>

#include "router/api/ollama.h"
#include "router/api/write.h"

static bool
is_chat(const struct hw_reply *reply)
{
    return reply->query->dialect == &hw_dialect_ollama;
}

static void
put_two_digits(struct hw_buf *out, int value, const char *behind)
{
    char text[2] = {(char)('0' + value / 10 % 10), (char)('0' + value % 10)};

    hw_buf_append(out, text, 2);
    hw_write(out, behind);
}

static void
begin_object(struct hw_buf *out, const struct hw_reply *reply)
{
    time_t seconds = (time_t)reply->created_s;
    struct tm tm = {0};

    hw_write(out, "{\"model\":");
    hw_write_string(out, reply->model);
    hw_write(out, ",\"created_at\":\"");
    gmtime_r(&seconds, &tm);
    hw_write_u64(out, (uint64_t)(tm.tm_year + 1900));
    hw_write(out, "-");
    put_two_digits(out, tm.tm_mon + 1, "-");
    put_two_digits(out, tm.tm_mday, "T");
    put_two_digits(out, tm.tm_hour, ":");
    put_two_digits(out, tm.tm_min, ":");
    put_two_digits(out, tm.tm_sec, "Z\"");
}

/* Chat's message or generate's members, up to where a chat's calls would stand. */
static void
put_text(struct hw_buf *out, const struct hw_reply *reply, const char *text, size_t len,
         const char *thinking, size_t thinking_len)
{
    hw_write(out, is_chat(reply) ? ",\"message\":{\"role\":\"assistant\",\"content\":"
                                 : ",\"response\":");
    hw_json_write_string(out, text, len);
    if (thinking_len > 0) {
        hw_write(out, ",\"thinking\":");
        hw_json_write_string(out, thinking, thinking_len);
    }
}

static void
put_call(struct hw_buf *out, const struct hw_answer *answer, size_t i)
{
    const struct hw_tool_call *call = &answer->tool_calls[i];

    hw_write(out, "{\"id\":");
    hw_write_string(out, call->id);
    hw_write(out, ",\"function\":{\"index\":");
    hw_write_u64(out, i);
    hw_write(out, ",\"name\":");
    hw_write_string(out, call->name);
    hw_write(out, ",\"arguments\":");
    hw_write_arguments(out, &call->arguments);
    hw_write(out, "}}");
}

static void
put_calls(struct hw_buf *out, const struct hw_answer *answer)
{
    for (size_t i = 0; i < answer->tool_call_count; i++) {
        hw_write(out, i == 0 ? ",\"tool_calls\":[" : ",");
        put_call(out, answer, i);
    }
    if (answer->tool_call_count > 0)
        hw_write(out, "]");
}

static void
end_text(struct hw_buf *out, const struct hw_reply *reply)
{
    if (is_chat(reply))
        hw_write(out, "}");
}

static void
put_ns(struct hw_buf *out, const char *name, uint64_t us)
{
    hw_write(out, ",\"");
    hw_write(out, name);
    hw_write(out, "\":");
    hw_write_u64(out, us * 1000u);
}

/* What only the last object has. Ollama's words are stop and length: a call of a tool is a stop. */
static void
put_end(struct hw_buf *out, const struct hw_reply *reply, enum hw_finish finish,
        const struct hw_usage *usage)
{
    uint64_t first = reply->first_token_us < reply->total_us ? reply->first_token_us : 0;

    hw_write(out, ",\"done\":true,\"done_reason\":");
    if (reply->query->loads)
        hw_write(out, "\"load\"");
    else
        hw_write(out, finish == HW_FINISH_LENGTH ? "\"length\"" : "\"stop\"");
    put_ns(out, "total_duration", reply->total_us);
    put_ns(out, "load_duration", 0);
    if (usage->known) {
        hw_write(out, ",\"prompt_eval_count\":");
        hw_write_u64(out, usage->prompt_tokens);
    }
    put_ns(out, "prompt_eval_duration", first);
    if (usage->known) {
        hw_write(out, ",\"eval_count\":");
        hw_write_u64(out, usage->output_tokens);
    }
    put_ns(out, "eval_duration", reply->total_us - first);
    hw_write(out, "}");
}

static void
put_logprobs(struct hw_buf *out, const char *entries, size_t len)
{
    if (len == 0)
        return;
    hw_write(out, ",\"logprobs\":[");
    hw_buf_append(out, entries, len);
    hw_write(out, "]");
}

void
hw_ollama_write_whole(struct hw_reply *reply, const struct hw_answer *answer, struct hw_buf *out)
{
    begin_object(out, reply);
    put_text(out, reply, answer->text.data, answer->text.len, answer->reasoning.data,
             answer->reasoning.len);
    if (is_chat(reply))
        put_calls(out, answer);
    end_text(out, reply);
    put_logprobs(out, answer->logprobs.data, answer->logprobs.len);
    put_end(out, reply, answer->finish, &answer->usage);
}

static void
write_piece(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    bool reasoning = event->type == HW_EVENT_REASONING;

    begin_object(out, reply);
    put_text(out, reply, event->text, reasoning ? 0 : event->len, event->text,
             reasoning ? event->len : 0);
    end_text(out, reply);
    put_logprobs(out, event->logprobs, event->logprobs_len);
    hw_write(out, ",\"done\":false}\n");
}

/* In a line of its own, once. /api/generate has no tools. */
static void
write_call(struct hw_reply *reply, size_t i, struct hw_buf *out)
{
    if ((reply->written_calls >> i & 1) != 0 || !is_chat(reply))
        return;
    reply->written_calls |= (uint64_t)1 << i;
    begin_object(out, reply);
    put_text(out, reply, "", 0, NULL, 0);
    hw_write(out, ",\"tool_calls\":[");
    put_call(out, &reply->calls, i);
    hw_write(out, "]}");
    hw_write(out, ",\"done\":false}\n");
}

/* In the order in which they began: none before one that is still coming. */
static void
write_complete_calls(struct hw_reply *reply, struct hw_buf *out)
{
    const struct hw_answer *calls = &reply->calls;

    for (size_t i = 0; !calls->overflowed && i < calls->tool_call_count; i++) {
        if (!calls->tool_calls[i].scan.complete)
            return;
        write_call(reply, i, out);
    }
}

static void
write_finish(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    if (reply->calls.overflowed) {
        hw_ollama_write_error(502, "the calls of tools are larger than Hatchway holds", NULL, out);
        hw_write(out, "\n");
        return;
    }
    for (size_t i = 0; i < reply->calls.tool_call_count; i++)
        write_call(reply, i, out);
    begin_object(out, reply);
    put_text(out, reply, "", 0, NULL, 0);
    end_text(out, reply);
    put_end(out, reply, event->finish, &event->usage);
    hw_write(out, "\n");
}

static void
write_error_event(const struct hw_event *event, struct hw_buf *out)
{
    hw_write(out, "{\"error\":");
    hw_json_write_string(out, event->text, event->len);
    hw_write(out, "}\n");
}

void
hw_ollama_write_event(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    switch (event->type) {
    case HW_EVENT_TEXT:
    case HW_EVENT_REASONING:
        write_piece(reply, event, out);
        return;
    case HW_EVENT_TOOL_CALL:
        hw_answer_add(&reply->calls, event);
        write_complete_calls(reply, out);
        return;
    case HW_EVENT_FINISH:
        write_finish(reply, event, out);
        return;
    case HW_EVENT_ERROR:
        write_error_event(event, out);
        return;
    }
}

void
hw_ollama_write_error(int status, const char *message, const char *param, struct hw_buf *out)
{
    (void)status;
    (void)param;
    hw_write(out, "{\"error\":");
    hw_write_string(out, message);
    hw_write(out, "}");
}

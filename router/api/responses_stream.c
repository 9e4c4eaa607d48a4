/* router/api/responses_stream.c - a Responses stream: typed events, numbered.
 *
 *   response.created, response.in_progress,
 *   for each item: output_item.added, (content_part.added), deltas, done, (content_part.done),
 *   output_item.done,
 *   response.completed | response.incomplete | error
 *
 * The last event repeats the whole answer, so it is gathered in reply->calls. A message or a
 * thought ends when something else begins; calls of functions may come one within the other, each
 * in an item of its own, which ends when its arguments are complete or the answer is. */
#include "hatchway/assert.h"
#include "router/api/openai.h"
#include "router/api/responses.h"
#include "router/api/write.h"

enum { MAX_ITEMS = 1024 };

struct hw_response_stream {
    uint64_t sequence;
    size_t count, room;
    struct hw_response_item *items;
};

void
hw_response_stream_free(struct hw_response_stream **stream)
{
    if (*stream != NULL)
        free((*stream)->items);
    free(*stream);
    *stream = NULL;
}

static void
begin_event(struct hw_reply *reply, const char *name, struct hw_buf *out)
{
    hw_write(out, "event: ");
    hw_write(out, name);
    hw_write(out, "\ndata: {\"type\":\"");
    hw_write(out, name);
    hw_write(out, "\",\"sequence_number\":");
    hw_write_u64(out, reply->response->sequence++);
}

static void
end_event(struct hw_buf *out)
{
    hw_write(out, "}\n\n");
}

static void
write_response(struct hw_reply *reply, const char *name, const enum hw_finish *finish,
               struct hw_buf *out)
{
    begin_event(reply, name, out);
    hw_write(out, ",\"response\":");
    hw_responses_write_response(out, reply, &reply->calls, reply->response->items,
                                reply->response->count, finish);
    end_event(out);
}

static void
open_stream(struct hw_reply *reply, struct hw_buf *out)
{
    if (reply->response != NULL)
        return;
    reply->response = hw_xcalloc(1, sizeof(*reply->response));
    reply->opened = true;
    write_response(reply, "response.created", NULL, out);
    write_response(reply, "response.in_progress", NULL, out);
}

/* An event about item n's part: its names up to where its own members begin. */
static void
begin_part_event(struct hw_reply *reply, const char *name, size_t n, struct hw_buf *out)
{
    enum hw_event_type type = reply->response->items[n].type;
    bool summary = type == HW_EVENT_REASONING && hw_responses_wants_summary(reply->query);

    begin_event(reply, name, out);
    hw_write(out, ",\"item_id\":");
    hw_responses_write_item_id(out, reply, type, n);
    hw_write(out, ",\"output_index\":");
    hw_write_u64(out, n);
    if (type != HW_EVENT_TOOL_CALL)
        hw_write(out, summary ? ",\"summary_index\":0" : ",\"content_index\":0");
}

static void
write_item_event(struct hw_reply *reply, const char *name, size_t n, struct hw_buf *out)
{
    begin_event(reply, name, out);
    hw_write(out, ",\"output_index\":");
    hw_write_u64(out, n);
    hw_write(out, ",\"item\":");
    hw_responses_write_item(out, reply, &reply->calls, &reply->response->items[n], n);
    end_event(out);
}

/* The names of a part's events differ by what it is. */
static const char *
part_event(const struct hw_reply *reply, enum hw_event_type type, const char *what)
{
    static const char *const names[][5] = {
        {"added", "response.content_part.added", "response.content_part.added",
         "response.reasoning_summary_part.added", NULL},
        {"delta", "response.output_text.delta", "response.reasoning_text.delta",
         "response.reasoning_summary_text.delta", "response.function_call_arguments.delta"},
        {"done", "response.output_text.done", "response.reasoning_text.done",
         "response.reasoning_summary_text.done", "response.function_call_arguments.done"},
        {"closed", "response.content_part.done", "response.content_part.done",
         "response.reasoning_summary_part.done", NULL},
    };
    size_t row = 0;

    while (strcmp(names[row][0], what) != 0)
        row++;
    if (type == HW_EVENT_TEXT)
        return names[row][1];
    if (type == HW_EVENT_TOOL_CALL)
        return names[row][4];
    return names[row][hw_responses_wants_summary(reply->query) ? 3 : 2];
}

static void
write_part(struct hw_reply *reply, size_t n, const char *what, const char *text, size_t len,
           struct hw_buf *out)
{
    const struct hw_response_item *item = &reply->response->items[n];
    const char *name = part_event(reply, item->type, what);

    if (name == NULL)
        return;
    begin_part_event(reply, name, n, out);
    hw_write(out, ",\"part\":");
    hw_responses_write_part(out, reply, item->type, text, len,
                            reply->calls.logprobs.data + item->logprobs_start,
                            item->closed ? item->logprobs_end - item->logprobs_start : 0);
    end_event(out);
}

/* The item's number; SIZE_MAX: there are too many. */
static size_t
open_item(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    struct hw_response_stream *stream = reply->response;
    size_t n = stream->count;

    if (n == MAX_ITEMS) {
        reply->calls.overflowed = true;
        return SIZE_MAX;
    }
    if (n == stream->room) {
        size_t room = n == 0 ? 4 : n * 2;
        struct hw_response_item *items = realloc(stream->items, room * sizeof(*items));
        HW_ASSERT(items != NULL);
        stream->items = items;
        stream->room = room;
    }
    stream->items[n] = (struct hw_response_item){
        .type = event->type,
        .start =
            event->type == HW_EVENT_REASONING ? reply->calls.reasoning.len : reply->calls.text.len,
        .logprobs_start = reply->calls.logprobs.len,
        .call = event->index,
    };
    stream->count++;
    if (event->type == HW_EVENT_TOOL_CALL)
        hw_answer_add(&reply->calls, &(struct hw_event){.type = event->type,
                                                        .index = event->index,
                                                        .id = event->id,
                                                        .name = event->name,
                                                        .text = ""});
    if (reply->calls.overflowed) {
        stream->count--;
        return SIZE_MAX;
    }
    write_item_event(reply, "response.output_item.added", n, out);
    write_part(reply, n, "added", "", 0, out);
    return n;
}

static void
close_item(struct hw_reply *reply, size_t n, bool cut, struct hw_buf *out)
{
    struct hw_response_item *item = &reply->response->items[n];
    bool call = item->type == HW_EVENT_TOOL_CALL;
    const struct hw_buf *from = call ? &reply->calls.tool_calls[item->call].arguments
                                : item->type == HW_EVENT_REASONING ? &reply->calls.reasoning
                                                                   : &reply->calls.text;

    item->closed = true;
    item->cut = cut;
    item->end = from->len;
    item->logprobs_end = reply->calls.logprobs.len;
    const char *text = from->len > 0 ? from->data + (call ? 0 : item->start) : "";
    size_t len = from->len - (call ? 0 : item->start);
    begin_part_event(reply, part_event(reply, item->type, "done"), n, out);
    if (call) {
        hw_write(out, ",\"name\":");
        hw_write_string(out, reply->calls.tool_calls[item->call].name);
    }
    hw_write(out, call ? ",\"arguments\":" : ",\"text\":");
    hw_json_write_string(out, text, len);
    if (item->type == HW_EVENT_TEXT)
        hw_responses_write_logprobs(out, reply->calls.logprobs.data + item->logprobs_start,
                                    item->logprobs_end - item->logprobs_start);
    end_event(out);
    write_part(reply, n, "closed", text, len, out);
    write_item_event(reply, "response.output_item.done", n, out);
}

/* The open item that the event goes on with; SIZE_MAX: none. */
static size_t
find_open(const struct hw_reply *reply, const struct hw_event *event)
{
    const struct hw_response_stream *stream = reply->response;

    for (size_t n = stream->count; n-- > 0;) {
        const struct hw_response_item *item = &stream->items[n];
        if (!item->closed && item->type == event->type &&
            (event->type != HW_EVENT_TOOL_CALL || item->call == event->index))
            return n;
    }
    return SIZE_MAX;
}

/* What cannot go on once this event is there. */
static void
close_others(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    const struct hw_response_stream *stream = reply->response;

    for (size_t n = 0; n < stream->count; n++) {
        const struct hw_response_item *item = &stream->items[n];
        bool goes_on = item->type == HW_EVENT_TOOL_CALL
                           ? !reply->calls.tool_calls[item->call].scan.complete ||
                                 (event->type == item->type && event->index == item->call)
                           : event->type == item->type;
        if (!item->closed && !goes_on)
            close_item(reply, n, false, out);
    }
}

static void
write_delta(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    size_t n = find_open(reply, event);

    close_others(reply, event, out);
    if (n == SIZE_MAX && event->type == HW_EVENT_TOOL_CALL && event->name == NULL)
        return; /* more of a call that is complete: white space */
    if (n == SIZE_MAX)
        n = open_item(reply, event, out);
    if (n == SIZE_MAX)
        return;
    hw_answer_add(&reply->calls, event);
    if (event->len == 0 && event->logprobs_len == 0)
        return;
    begin_part_event(reply, part_event(reply, event->type, "delta"), n, out);
    hw_write(out, ",\"delta\":");
    hw_json_write_string(out, event->text, event->len);
    if (event->type == HW_EVENT_TEXT)
        hw_responses_write_logprobs(out, event->logprobs, event->logprobs_len);
    end_event(out);
}

static void
write_error(struct hw_reply *reply, int status, const char *text, size_t len, struct hw_buf *out)
{
    char message[1024];

    if (len >= sizeof(message))
        len = sizeof(message) - 1;
    if (len > 0)
        memcpy(message, text, len);
    message[len] = '\0';
    if (reply->response == NULL)
        reply->response = hw_xcalloc(1, sizeof(*reply->response));
    begin_event(reply, "error", out);
    hw_write(out, ",\"code\":\"server_error\",\"message\":");
    hw_write_string(out, message);
    /* Some clients look for the error here, others there. */
    hw_write(out, ",\"param\":null,");
    struct hw_buf error;
    hw_buf_init(&error, 16384);
    hw_openai_write_error_object(status >= 400 ? status : 502, message, NULL, &error);
    hw_buf_append(out, error.data, error.len);
    hw_buf_free(&error);
    end_event(out);
}

static void
write_finish(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    static const char too_large[] = "the answer is larger than Hatchway holds";
    bool cut = event->finish == HW_FINISH_LENGTH;

    if (reply->calls.overflowed) {
        write_error(reply, 502, too_large, sizeof(too_large) - 1, out);
        return;
    }
    if (reply->response->count == 0) { /* an answer without a word is an empty message */
        struct hw_event empty = {.type = HW_EVENT_TEXT, .text = ""};
        open_item(reply, &empty, out);
    }
    for (size_t n = 0; n < reply->response->count; n++)
        if (!reply->response->items[n].closed)
            close_item(reply, n, cut && n + 1 == reply->response->count, out);
    hw_answer_add(&reply->calls, event);
    bool whole = event->finish != HW_FINISH_LENGTH && event->finish != HW_FINISH_FILTER;
    write_response(reply, whole ? "response.completed" : "response.incomplete", &event->finish,
                   out);
}

void
hw_responses_write_event(struct hw_reply *reply, const struct hw_event *event, struct hw_buf *out)
{
    if (event->type == HW_EVENT_ERROR) {
        write_error(reply, event->status, event->text, event->len, out);
        return;
    }
    open_stream(reply, out);
    if (event->type == HW_EVENT_FINISH)
        write_finish(reply, event, out);
    else if (!reply->calls.overflowed)
        write_delta(reply, event, out);
}

/* router/api/reader_openai.c - OpenAI's chunks and completions as events. */
#include "router/api/reader.h"

/* A content of parts, as Mistral's servers stream it: text, and thoughts that are parts again. */
static void
emit_parts(struct hw_reader *reader, enum hw_event_type type, const struct hw_json *parts)
{
    struct hw_json_iter iter;
    struct hw_json part, value;

    hw_json_iter_init(&iter, parts);
    while (!reader->done && hw_json_next(&iter, NULL, &part)) {
        if (part.type != HW_JSON_OBJECT)
            continue;
        if (hw_json_get(&part, "thinking", &value)) {
            if (value.type == HW_JSON_ARRAY && type == HW_EVENT_TEXT)
                emit_parts(reader, HW_EVENT_REASONING, &value);
            else
                hw_reader_emit_text(reader, HW_EVENT_REASONING, &value);
        } else if (hw_json_get(&part, "text", &value)) {
            hw_reader_emit_text(reader, type, &value);
        }
    }
}

static void
take_delta(struct hw_reader *reader, const struct hw_json *delta, bool complete)
{
    struct hw_json content = {.p = NULL}, reasoning = {.p = NULL}, refusal = {.p = NULL},
                   calls = {.p = NULL};
    struct hw_json_iter iter;
    struct hw_json key, value;

    if (delta->p == NULL || delta->type != HW_JSON_OBJECT)
        return;
    hw_json_iter_init(&iter, delta);
    while (hw_json_next(&iter, &key, &value)) {
        if (value.type == HW_JSON_NULL)
            continue;
        if (hw_json_string_is(&key, "content"))
            content = value;
        else if (hw_json_string_is(&key, "reasoning_content") ||
                 hw_json_string_is(&key, "reasoning"))
            reasoning = value;
        else if (hw_json_string_is(&key, "refusal"))
            refusal = value;
        else if (hw_json_string_is(&key, "tool_calls"))
            calls = value;
    }
    hw_reader_emit_text(reader, HW_EVENT_REASONING, &reasoning);
    if (content.p != NULL && content.type == HW_JSON_ARRAY)
        emit_parts(reader, HW_EVENT_TEXT, &content);
    else
        hw_reader_emit_text(reader, HW_EVENT_TEXT, &content);
    hw_reader_emit_text(reader, HW_EVENT_TEXT, &refusal);
    hw_reader_take_calls(reader, &calls, complete);
}

static void
take_choice(struct hw_reader *reader, const struct hw_json *choice)
{
    struct hw_json delta = {.p = NULL}, reason = {.p = NULL}, text = {.p = NULL},
                   logprobs = {.type = HW_JSON_NULL};
    struct hw_json_iter iter;
    struct hw_json key, value;
    uint64_t index = 0;
    bool complete = false; /* a message rather than a delta, also where a stream was asked for */

    if (choice->type != HW_JSON_OBJECT)
        return;
    hw_json_iter_init(&iter, choice);
    while (hw_json_next(&iter, &key, &value)) {
        if (hw_json_string_is(&key, "delta")) {
            delta = value;
        } else if (hw_json_string_is(&key, "message")) {
            delta = value;
            complete = true;
        }
        if (hw_json_string_is(&key, "finish_reason"))
            reason = value;
        else if (hw_json_string_is(&key, "logprobs"))
            logprobs = value;
        else if (hw_json_string_is(&key, "text")) /* of /v1/completions */
            text = value;
        else if (hw_json_string_is(&key, "index") && !hw_json_uint(&value, &index))
            index = 0;
    }
    if (index != 0)
        return; /* a canonical answer is one answer */
    reader->saw_answer = true;
    if (logprobs.type == HW_JSON_OBJECT && hw_json_get(&logprobs, "content", &value))
        hw_reader_note_logprobs(reader, &value);
    take_delta(reader, &delta, complete);
    hw_reader_emit_text(reader, HW_EVENT_TEXT, &text);
    hw_reader_emit_logprobs(reader);
    hw_reader_note_finish(reader, &reason);
}

void
hw_reader_take_openai(struct hw_reader *reader, const struct hw_json *root, bool whole)
{
    struct hw_json_iter iter;
    struct hw_json key, value, choices = {.p = NULL};

    hw_json_iter_init(&iter, root);
    while (hw_json_next(&iter, &key, &value)) {
        if (value.type == HW_JSON_NULL)
            continue;
        if (hw_json_string_is(&key, "choices")) {
            choices = value;
        } else if (hw_json_string_is(&key, "usage")) {
            hw_reader_take_count(&value, "prompt_tokens", &reader->usage.prompt_tokens,
                                 &reader->usage.known);
            hw_reader_take_count(&value, "completion_tokens", &reader->usage.output_tokens,
                                 &reader->usage.known);
        } else if (hw_json_string_is(&key, "error")) {
            hw_reader_fail_said(reader, 0, &value);
            return;
        }
    }
    if (choices.p != NULL && choices.type == HW_JSON_ARRAY) {
        hw_json_iter_init(&iter, &choices);
        while (!reader->done && hw_json_next(&iter, NULL, &value))
            take_choice(reader, &value);
    }
    if (whole && !reader->done)
        hw_reader_finish(reader);
}

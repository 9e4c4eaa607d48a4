/* router/api/reader.h - what the reader's files share; nobody else includes it.
 *
 * reader.c cuts bytes into objects, reader_objects.c turns objects into events. */
#ifndef HW_ROUTER_API_READER_H
#define HW_ROUTER_API_READER_H

#include "router/api/protocol.h"

enum hw_framing {
    HW_FRAMING_UNKNOWN, /* no content type to go by: the first byte decides */
    HW_FRAMING_WHOLE,
    HW_FRAMING_LINES, /* NDJSON */
    HW_FRAMING_SSE,
    HW_FRAMING_ERROR, /* the body of a status that is no success */
};

struct hw_reader {
    enum hw_kind kind;
    enum hw_framing framing;
    const struct hw_query *query;
    int status;
    size_t max_bytes;

    struct hw_buf line; /* an unfinished line; the body so far of a whole answer */
    struct hw_buf data; /* an SSE event's data lines */
    bool has_data;
    bool first_line_seen;
    bool skip_lf; /* a line ended with CR: a LF that follows belongs to it */

    struct hw_buf logprobs;       /* entries for the next TEXT; empty: none */
    struct hw_buf text, id, name; /* what an event points to, when it had to be decoded */
    bool saw_answer;              /* a choice, or a message */
    bool finish_seen;
    enum hw_finish finish;
    struct hw_usage usage;
    uint64_t call_keys[HW_MAX_TOOL_CALLS]; /* the backend's index of each call, in our order */
    uint64_t call_ids[HW_MAX_TOOL_CALLS];  /* a hash of the id that each came with; 0: none */
    uint32_t call_count;

    hw_on_event on_event; /* during a call */
    void *ctx;
    bool done;   /* FINISH or ERROR was emitted */
    bool busy;   /* within a call */
    bool ending; /* the body has ended: what is left may be half an object */
    bool doomed;
};

void hw_reader_emit(struct hw_reader *reader, const struct hw_event *event);
void hw_reader_fail(struct hw_reader *reader, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* One object of the answer; whole: there will be no other. */
void hw_reader_take_object(struct hw_reader *reader, const char *text, size_t len, bool whole);
/* The answer is complete as far as the backend says. */
void hw_reader_finish(struct hw_reader *reader);

/* reader_objects.c */
/* "..." | {"message": "..."} | [{"msg": "..."}], the last as FastAPI says what it expected. */
void hw_reader_fail_said(struct hw_reader *reader, int status, const struct hw_json *said);
/* The characters of a string: where they lie, or decoded into buf. */
bool hw_reader_characters(const struct hw_json *string, struct hw_buf *buf, const char **text,
                          size_t *len);
/* TEXT or REASONING, when there is any. */
void hw_reader_emit_text(struct hw_reader *reader, enum hw_event_type type,
                         const struct hw_json *string);
/* Entries for the next piece of text; only where the agent asked. Ollama leaves out what is empty,
 * OpenAI's clients look for it. */
void hw_reader_note_logprobs(struct hw_reader *reader, const struct hw_json *entries);
/* Entries that no text came with: of a character that is not complete, or of the end. */
void hw_reader_emit_logprobs(struct hw_reader *reader);
void hw_reader_take_count(const struct hw_json *object, const char *name, uint64_t *out,
                          bool *known);
void hw_reader_note_finish(struct hw_reader *reader, const struct hw_json *reason);

/* reader_calls.c. complete: each element is a call of its own; otherwise it continues the call of
 * its index. */
void hw_reader_take_calls(struct hw_reader *reader, const struct hw_json *calls, bool complete);
/* reader_openai.c */
void hw_reader_take_openai(struct hw_reader *reader, const struct hw_json *root, bool whole);
/* reader_embeddings.c: the whole answer to a query that embeds. */
void hw_reader_take_embeddings(struct hw_reader *reader, const struct hw_json *root);
/* The body of a status that is no success. */
void hw_reader_take_error(struct hw_reader *reader, const char *text, size_t len);

#endif

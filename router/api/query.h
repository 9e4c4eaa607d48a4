/* router/api/query.h - a query in canonical form, whatever dialect it came in.
 *
 * Everything points into the request's body or the exchange's arena. JSON sub-trees that Hatchway
 * does not interpret (tools, schemas) stay as source text. What dialects spell differently is,
 * where it is small (tools, response formats), in OpenAI's spelling here: the other dialects'
 * parsers write it into the arena (canonical.h). What may be large (content, calls of tools) stays
 * as it was sent, and is read through text.h and calls.h, whichever dialect it is in. */
#ifndef HW_ROUTER_API_QUERY_H
#define HW_ROUTER_API_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "router/api/json.h"
#include "router/http/body.h"

enum hw_role_of_message { HW_MSG_SYSTEM, HW_MSG_USER, HW_MSG_ASSISTANT, HW_MSG_TOOL };

/* Where the text of a message stands, and how it is spelt (text.h). */
enum hw_source_kind {
    HW_SOURCE_NONE,
    HW_SOURCE_TEXT,       /* bytes of text */
    HW_SOURCE_STRING,     /* a JSON string */
    HW_SOURCE_PARTS,      /* OpenAI's content, an array of parts */
    HW_SOURCE_BLOCKS,     /* Anthropic's, an array of blocks */
    HW_SOURCE_ITEM_PARTS, /* that of a Responses item, an array of parts */
    HW_SOURCE_LINES       /* a JSON array of strings, each a line of the text */
};

/* A query of megabytes may be tens of thousands of these, and its body is held once: so a message
 * says where things stand and holds none of them. (No JSON text is as long as 4 GiB: limits.body.)
 */
struct hw_message {
    const char *source;
    uint32_t source_len;
    uint32_t text_len;     /* all text in it, decoded and joined */
    uint32_t members : 25; /* what else it has: hw_message_get; 0: nothing */
    enum hw_role_of_message role : 2;
    enum hw_source_kind kind : 3;
    bool has_image : 1;
    bool has_calls : 1; /* of tools: calls.h */
    uint32_t at;        /* index of what it was read from, in the agent's own array */
};

_Static_assert(sizeof(struct hw_message) <= 24, "a talk of 60,000 short messages is 8 MiB");

/* What few messages have beside their text. */
enum hw_member {
    HW_MEMBER_TOOL_CALLS,   /* as the agent's dialect spells them: calls.h */
    HW_MEMBER_TOOL_CALL_ID, /* a string */
    HW_MEMBER_REASONING,    /* an assistant's thoughts, a string */
    HW_MEMBER_IMAGES        /* Ollama's: an array of bare base64, beside the content */
};

struct hw_member_slot {
    const char *p;
    uint32_t len;
    uint32_t what : 3;
    uint32_t next : 29; /* of the same message: its place + 1; 0: none */
};

/* Most a query may give; dialects and backends that take fewer say so. */
#define HW_MAX_STOPS 16
#define HW_MAX_LOST 16

struct hw_dialect;

struct hw_query {
    const struct hw_dialect *dialect;
    struct hw_body *body; /* the stream's; the exchange holds a reference */
    const char *model;    /* as asked, decoded; NULL when absent (bdh) */
    size_t model_at;      /* the model's JSON string in body: offset and length, quotes included */
    size_t model_len;     /* 0: absent */
    struct hw_message *messages;
    size_t message_count, message_room;
    struct hw_member_slot *members;
    size_t member_count, member_room;
    const struct hw_message *last_user; /* NULL: none */
    uint64_t prompt_bytes;

    bool stream;
    bool include_usage; /* openai stream_options.include_usage */
    bool has_max_tokens, has_temperature, has_top_p, has_top_k, has_seed;
    uint32_t max_tokens;
    double temperature;
    double top_p;
    uint32_t top_k;
    uint64_t seed;
    double min_p, repetition_penalty; /* 0: not given */
    uint32_t repeat_last;             /* tokens that the penalty looks back; 0: not given */
    struct hw_json seed_raw, temperature_raw, top_p_raw, presence_penalty, frequency_penalty;
    struct hw_json min_p_raw, repetition_penalty_raw, repeat_last_raw; /* .p NULL: not given */
    const char *stops[HW_MAX_STOPS];
    size_t stop_lens[HW_MAX_STOPS];
    size_t stop_count;
    struct hw_json tools, tool_choice, response_format; /* .p NULL when absent */
    struct hw_json think;  /* as Ollama spells it: a boolean or a level; the same */
    struct hw_json effort; /* of thought, as OpenAI spells it: a level; the same */
    bool wants_logprobs;
    struct hw_json top_logprobs; /* the same */
    bool wants_tools, wants_images, wants_json;
    /* Neither sampling at random nor asking for what a kept answer cannot hold (n > 1,
     * logprobs...): with temperature 0 or a seed. */
    bool deterministic;
    bool keepable;
    bool loads; /* Ollama's: no prompt, only to have the model loaded (or unloaded) */
    /* Vectors are wanted, not words (embeddings.h); input: as sent. */
    bool embeds, input_is_tokens, wants_base64;
    struct hw_json input, dimensions;
    size_t input_count;
    /* What parsing could not carry, whoever answers: "messages[0].content[1].document". */
    const char *lost[HW_MAX_LOST];
    size_t lost_count;
};

#endif

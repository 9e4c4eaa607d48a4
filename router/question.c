/* router/question.c - see question.h. */
#include "router/question.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "config/load.h"
#include "policies/rank.h"
#include "router/api/text.h"

/* --- what a query tells ---------------------------------------------------------------------- */

void
hw_query_traits(const struct hw_query *query, struct hw_arena *arena, struct hw_traits *traits)
{
    traits->dialect = query->dialect->name;
    traits->model = query->model;
    traits->text = "";
    traits->text_len = 0;
    if (query->last_user != NULL)
        hw_text_excerpt(query->last_user, arena, &traits->text, &traits->text_len);
    traits->prompt_bytes = query->prompt_bytes;
    traits->prompt_tokens = hw_estimate_tokens(query->prompt_bytes);
    traits->max_tokens = query->has_max_tokens ? query->max_tokens : 0;
    traits->wants_tools = query->wants_tools;
    traits->wants_images = query->wants_images;
    traits->wants_json = query->wants_json;
    traits->stream = query->stream;
    traits->embeds = query->embeds;
    traits->asked_role = -1;
    traits->role = -1;
    traits->lane = HW_LANE_INTERACTIVE;
}

/* Who asks, the instructions, the first question. Long ones tell apart by their beginning and their
 * size. */
uint64_t
hw_query_conversation(const struct hw_query *query, int agent)
{
    enum { PART_BYTES = 2048 };
    char part[PART_BYTES];
    uint64_t hash = 0xcbf29ce484222325u ^ (uint64_t)(agent + 1);

    for (size_t i = 0; i < query->message_count; i++) {
        const struct hw_message *message = &query->messages[i];
        size_t len = hw_text_head(message, part, PART_BYTES);
        for (size_t j = 0; j < len; j++)
            hash = (hash ^ (uint8_t)part[j]) * 0x100000001b3u;
        hash = (hash ^ message->text_len) * 0x100000001b3u;
        if (message->role == HW_MSG_USER || i == 3)
            break;
    }
    return hash | 1;
}

/* --- a question ------------------------------------------------------------------------------ */

int
hw_question_add_header(struct hw_question *question, const char *name, const char *value,
                       struct hw_arena *arena, struct hw_err *err)
{
    struct hw_question_header *header = &question->headers[question->header_count];

    if (question->header_count == HW_QUESTION_HEADERS_MAX)
        return hw_err_set(err, HW_EINVAL, "at most %d headers", HW_QUESTION_HEADERS_MAX);
    char *copy = hw_arena_copy(arena, name, strlen(name));
    header->name = copy;
    header->value = hw_arena_copy(arena, value, strlen(value));
    if (copy == NULL || header->value == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for the header");
    for (; *copy != '\0'; copy++)
        *copy = (char)tolower((unsigned char)*copy);
    question->header_count++;
    return 0;
}

static const char *
find_header(void *ctx, const char *name, size_t *len)
{
    const struct hw_question *question = ctx;

    for (size_t i = 0; i < question->header_count; i++)
        if (strcmp(question->headers[i].name, name) == 0) {
            *len = strlen(question->headers[i].value);
            return question->headers[i].value;
        }
    return NULL;
}

static const char *
header_value(const struct hw_question *question, const char *name)
{
    size_t len;
    return find_header((void *)(uintptr_t)question, name, &len); /* only read */
}

/* By its path, else by the dialect's name: its chat. */
static int
find_dialect(const struct hw_question *question, const struct hw_dialect **out, struct hw_err *err)
{
    static const struct hw_dialect *const chats[] = {&hw_dialect_openai, &hw_dialect_ollama,
                                                     &hw_dialect_anthropic, &hw_dialect_bdh};

    *out = question->path != NULL ? hw_dialect_at_path(question->path) : NULL;
    if (question->dialect == NULL) {
        *out = *out != NULL ? *out : &hw_dialect_openai;
        return 0;
    }
    if (*out != NULL && strcmp((*out)->name, question->dialect) == 0)
        return 0;
    for (size_t i = 0; i < sizeof(chats) / sizeof(chats[0]); i++)
        if (strcmp(chats[i]->name, question->dialect) == 0) {
            *out = chats[i];
            return 0;
        }
    return hw_err_set(err, HW_EINVAL,
                      "there is no dialect '%.64s'; use openai, ollama, anthropic or bdh",
                      question->dialect);
}

static int
read_body(const struct hw_snapshot *snapshot, const struct hw_question *question,
          const struct hw_dialect *dialect, struct hw_arena *arena, struct hw_asked *out,
          struct hw_err *err)
{
    struct hw_json_limits limits = {snapshot->limits.json_depth, snapshot->limits.json_nodes};
    char *copy = hw_arena_copy(arena, question->body, question->body_len);
    struct hw_body *body = hw_arena_alloc(arena, sizeof(*body));

    if (copy == NULL || body == NULL)
        return hw_err_set(err, HW_ELIMIT, "the body is too large: limits.body allows %llu bytes",
                          (unsigned long long)snapshot->limits.body);
    *body = (struct hw_body){.refs = 1, .len = question->body_len, .bytes = copy};
    int rc = dialect->parse(body, &limits, arena, &out->query, err);
    out->query.dialect = dialect;
    if (rc != 0)
        hw_err_prefix(err, "the body, read as that of %s", dialect->path);
    return rc;
}

static void
read_text(const struct hw_question *question, const struct hw_dialect *dialect,
          struct hw_asked *out)
{
    size_t len = strlen(question->text);

    out->message = (struct hw_message){.role = HW_MSG_USER,
                                       .kind = HW_SOURCE_TEXT,
                                       .source = question->text,
                                       .source_len = (uint32_t)len,
                                       .text_len = (uint32_t)len};
    out->query = (struct hw_query){.dialect = dialect,
                                   .messages = &out->message,
                                   .message_count = 1,
                                   .last_user = &out->message,
                                   .prompt_bytes = len,
                                   .keepable = true};
    out->query.embeds = dialect == &hw_dialect_embeddings || dialect == &hw_dialect_ollama_embed ||
                        dialect == &hw_dialect_ollama_embeddings;
}

static int
find_agent(const struct hw_snapshot *snapshot, const char *name, int *out, struct hw_err *err)
{
    const char *words[64];
    size_t count = 0;

    *out = -1;
    for (size_t i = 0; name != NULL && i < snapshot->agent_count; i++) {
        if (strcmp(snapshot->agents[i].name, name) == 0)
            *out = (int)i;
        if (count < 63)
            words[count++] = snapshot->agents[i].name;
    }
    if (name == NULL || *out >= 0)
        return 0;
    words[count] = NULL;
    if (count == 0)
        return hw_err_set(err, HW_EINVAL, "there is no agent '%.64s': the policy lists none", name);
    const char *near = hw_nearest_word(name, words);
    return hw_err_set(err, HW_EINVAL, "there is no agent '%.64s'; %s '%s'", name,
                      near != NULL ? "did you mean" : "the first is",
                      near != NULL ? near : words[0]);
}

/* The agent's lane, unless a header or the question says another. */
static int
read_lane(const struct hw_snapshot *snapshot, const struct hw_question *question,
          struct hw_asked *out, struct hw_err *err)
{
    const char *header = header_value(question, "x-hatchway-lane");

    if (out->agent >= 0) {
        out->traits.lane = snapshot->agents[out->agent].lane;
        out->traits.has_lane = true;
    }
    for (int i = 0; i < HW_LANE_COUNT; i++) {
        bool meant = question->lane != NULL
                         ? strcmp(question->lane, hw_lane_names[i]) == 0
                         : header != NULL && strcasecmp(header, hw_lane_names[i]) == 0;
        if (meant) {
            out->traits.lane = (enum hw_lane)i;
            out->traits.has_lane = true;
            return 0;
        }
    }
    if (question->lane != NULL)
        return hw_err_set(err, HW_EINVAL,
                          "there is no lane '%.64s'; use realtime, interactive or background",
                          question->lane);
    return 0;
}

static int
read_role(const struct hw_snapshot *snapshot, const struct hw_question *question,
          struct hw_asked *out, struct hw_err *err)
{
    const char *header = header_value(question, "x-hatchway-role"), *resolved = NULL;
    const char *role = question->role != NULL ? question->role : header;

    if (hw_resolve_model(snapshot, out->traits.model, &out->traits.asked_role, &resolved) ==
            HW_MODEL_UNKNOWN &&
        !(question->knows != NULL && question->knows(question->knows_ctx, out->traits.model)))
        return hw_err_set(err, HW_EINVAL, "there is no model, role, alias or backend '%.128s'%s",
                          out->traits.model,
                          question->knows == NULL && hw_snapshot_discovers(snapshot)
                              ? " in the configuration; what backends were found to have a running "
                                "gateway knows: POST /hatchway/explain"
                              : "");
    if (role == NULL)
        return 0;
    out->traits.asked_role = hw_snapshot_role(snapshot, role, strlen(role));
    if (out->traits.asked_role < 0)
        return hw_err_set(err, HW_EINVAL, "there is no role '%.64s'", role);
    return 0;
}

static void
set_tokens(const struct hw_question *question, struct hw_traits *traits)
{
    if (question->tokens < 0)
        return;
    traits->prompt_tokens = question->tokens < UINT32_MAX ? (uint32_t)question->tokens : UINT32_MAX;
    traits->prompt_bytes = (uint64_t)traits->prompt_tokens * 4;
    traits->tokens_told = true;
}

int
hw_question_read(const struct hw_snapshot *snapshot, const struct hw_question *question,
                 struct hw_arena *arena, struct hw_asked *out, struct hw_err *err)
{
    const struct hw_dialect *dialect;
    struct hw_traits *traits = &out->traits;

    *out = (struct hw_asked){.agent = -1};
    int rc = find_dialect(question, &dialect, err);
    if (rc == 0 && question->body != NULL)
        rc = read_body(snapshot, question, dialect, arena, out, err);
    else if (rc == 0)
        read_text(question, dialect, out);
    if (rc != 0)
        return rc;
    hw_query_traits(&out->query, arena, traits);
    traits->model = question->model != NULL ? question->model : out->query.model;
    traits->prompt_tokens =
        hw_tokens_asked(question->ratios, snapshot, traits->model, out->query.prompt_bytes);
    traits->path = question->path != NULL ? question->path : dialect->path;
    traits->header = find_header;
    traits->header_ctx = (void *)(uintptr_t)question; /* only read */
    traits->now_s = question->now_s;
    set_tokens(question, traits);
    if (question->at != NULL &&
        !hw_question_time(snapshot, question->at, question->now_s, &traits->now_s))
        return hw_err_set(err, HW_EINVAL,
                          "'%.64s' is no time; write 03:00, sat 14:30 or 2026-11-21T03:00",
                          question->at);
    if ((rc = find_agent(snapshot, question->agent, &out->agent, err)) != 0 ||
        (rc = read_lane(snapshot, question, out, err)) != 0 ||
        (rc = read_role(snapshot, question, out, err)) != 0)
        return rc;
    traits->agent = out->agent >= 0 ? snapshot->agents[out->agent].name : NULL;
    out->conversation = hw_query_conversation(&out->query, out->agent);
    return 0;
}

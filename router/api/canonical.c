/* router/api/canonical.c - see canonical.h. */
#include "router/api/canonical.h"

#include <stdarg.h>
#include <string.h>

#include "router/api/fields.h"

#define MAX_MEMBERS ((1u << 25) - 1) /* of a whole query: what its messages can count */

/* Room for one more of what an array in the arena has count of; NULL: over the arena's limit. */
static void *
grow(struct hw_arena *arena, void *array, size_t count, size_t *room, size_t each,
     struct hw_err *err)
{
    if (count < *room)
        return array;
    size_t more = *room == 0 ? 4 : *room * 2;
    void *grown = *room == 0 ? hw_arena_alloc(arena, more * each)
                             : hw_arena_grow(arena, array, *room * each, more * each);
    if (grown == NULL)
        hw_err_set(err, HW_ELIMIT, "must not take more memory than one query may have");
    else
        *room = more;
    return grown;
}

struct hw_message *
hw_query_add_message(struct hw_query *query, struct hw_arena *arena, struct hw_err *err)
{
    struct hw_message *grown = grow(arena, query->messages, query->message_count,
                                    &query->message_room, sizeof(*grown), err);

    if (grown == NULL)
        return NULL;
    query->messages = grown;
    struct hw_message *message = &query->messages[query->message_count++];
    *message = (struct hw_message){.source = NULL};
    return message;
}

int
hw_query_read_messages(const struct hw_json *array, const char *name, hw_read_message read,
                       void *ctx, struct hw_query *query, struct hw_err *err)
{
    struct hw_json_iter iter;
    struct hw_json item;
    size_t unplaced = query->message_count;

    if (array->type != HW_JSON_ARRAY)
        return hw_field_wrong(name, "an array", array, err);
    hw_json_iter_init(&iter, array);
    for (size_t i = 0; hw_json_next(&iter, NULL, &item); i++) {
        int rc = read(ctx, &item, i);
        if (rc != 0)
            return hw_query_at(rc, name, i, err);
        for (; unplaced < query->message_count; unplaced++)
            query->messages[unplaced].at = (uint32_t)i;
    }
    return 0;
}

int
hw_message_set(struct hw_query *query, struct hw_message *message, enum hw_member what,
               const struct hw_json *value, struct hw_arena *arena, struct hw_err *err)
{
    struct hw_member_slot *grown =
        grow(arena, query->members, query->member_count, &query->member_room, sizeof(*grown), err);

    if (grown == NULL || query->member_count == MAX_MEMBERS)
        return HW_ELIMIT;
    query->members = grown;
    grown[query->member_count++] = (struct hw_member_slot){
        .p = value->p, .len = (uint32_t)value->len, .what = what, .next = message->members};
    message->members = (uint32_t)query->member_count & MAX_MEMBERS;
    return 0;
}

bool
hw_message_get(const struct hw_query *query, const struct hw_message *message, enum hw_member what,
               struct hw_json *value)
{
    static const enum hw_json_type types[] = {
        [HW_MEMBER_TOOL_CALLS] = HW_JSON_ARRAY,
        [HW_MEMBER_TOOL_CALL_ID] = HW_JSON_STRING,
        [HW_MEMBER_REASONING] = HW_JSON_STRING,
        [HW_MEMBER_IMAGES] = HW_JSON_ARRAY,
    };

    for (uint32_t at = message->members; at != 0;) {
        const struct hw_member_slot *slot = &query->members[at - 1];
        if (slot->what == what) { /* the latest that was set */
            *value = (struct hw_json){types[what], slot->p, slot->len};
            return true;
        }
        at = slot->next;
    }
    return false;
}

void
hw_query_settle(struct hw_query *query)
{
    query->last_user = NULL;
    for (size_t i = 0; i < query->message_count; i++) {
        const struct hw_message *message = &query->messages[i];
        query->prompt_bytes += message->text_len;
        query->wants_images = query->wants_images || message->has_image;
        if (message->role == HW_MSG_USER)
            query->last_user = message;
    }
}

int
hw_query_keep(struct hw_buf *buf, enum hw_json_type type, struct hw_arena *arena,
              struct hw_json *out, struct hw_err *err)
{
    const char *copy =
        buf->failed ? NULL : hw_arena_copy(arena, buf->data != NULL ? buf->data : "", buf->len);

    if (copy != NULL)
        *out = (struct hw_json){type, copy, buf->len};
    hw_buf_free(buf);
    if (copy == NULL)
        return hw_err_set(err, HW_ELIMIT, "the query takes more memory than one may have");
    return 0;
}

void
hw_query_lose(struct hw_query *query, struct hw_arena *arena, const char *format, ...)
{
    char name[64];
    va_list ap;

    if (query->lost_count == HW_MAX_LOST) {
        query->lost[HW_MAX_LOST - 1] = "...";
        return;
    }
    va_start(ap, format);
    int n = vsnprintf(name, sizeof(name), format, ap);
    va_end(ap);
    const char *copy =
        n > 0 && (size_t)n < sizeof(name) ? hw_arena_copy(arena, name, (size_t)n) : NULL;
    query->lost[query->lost_count++] = copy != NULL ? copy : "...";
}

int
hw_query_at(int rc, const char *array, size_t i, struct hw_err *err)
{
    if (err == NULL)
        return rc;
    struct hw_err inner = *err;
    /* The field's name comes first in what it says, unless it speaks of the element itself. */
    return hw_err_set(err, rc, "%s[%zu]%s%.440s", array, i,
                      strncmp(inner.msg, "must ", 5) == 0 ? " " : ".", inner.msg);
}

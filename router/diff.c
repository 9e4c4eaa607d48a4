/* router/diff.c - see diff.h. */
#include "router/diff.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

void
hw_diff_init(struct hw_diff *diff, const struct hw_snapshot *old, const struct hw_snapshot *new)
{
    *diff = (struct hw_diff){.old = old, .new = new};
    diff->moves = hw_xcalloc(HW_DIFF_MOVES_MAX, sizeof(*diff->moves));
}

void
hw_diff_free(struct hw_diff *diff)
{
    free(diff->moves);
    diff->moves = NULL;
}

/* --- places ---------------------------------------------------------------------------------- */

static struct hw_diff_place
place_of(const struct hw_replayed *replayed)
{
    bool routed = replayed->route >= 0;

    return (struct hw_diff_place){.end = replayed->end,
                                  .route = routed ? replayed->route : -1,
                                  .backend =
                                      replayed->end == HW_REPLAY_SENT ? replayed->backend : -1};
}

static const char *
route_name(const struct hw_snapshot *snapshot, int route)
{
    return route >= 0 ? snapshot->routes[route].name : "";
}

static const char *
backend_name(const struct hw_snapshot *snapshot, int backend)
{
    return backend >= 0 ? snapshot->backends[backend].name : "";
}

static bool
same_route(const struct hw_diff *diff, int old, int new)
{
    return strcmp(route_name(diff->old, old), route_name(diff->new, new)) == 0;
}

static bool
same_backend(const struct hw_diff *diff, int old, int new)
{
    return strcmp(backend_name(diff->old, old), backend_name(diff->new, new)) == 0;
}

void
hw_diff_place_text(const struct hw_snapshot *snapshot, const struct hw_diff_place *place, char *out,
                   size_t size)
{
    const char *what = place->end == HW_REPLAY_SENT ? backend_name(snapshot, place->backend)
                                                    : hw_replay_end_names[place->end];

    if (place->route >= 0)
        snprintf(out, size, "%s -> %s", route_name(snapshot, place->route), what);
    else
        snprintf(out, size, "%s", what);
}

/* --- counting -------------------------------------------------------------------------------- */

static void
add_example(struct hw_diff_move *move, const struct hw_record *record)
{
    struct hw_diff_example *example = &move->examples[move->example_count];
    size_t len = 0;

    if (move->example_count == HW_DIFF_EXAMPLES)
        return;
    move->example_count++;
    snprintf(example->request_id, sizeof(example->request_id), "%.39s",
             record->request_id != NULL ? record->request_id : "-");
    if (record->text == NULL) {
        snprintf(example->what, sizeof(example->what), "%s%.32s %.32s, about %u tokens",
                 record->agent != NULL ? record->agent : "", record->agent != NULL ? ":" : "",
                 record->dialect, record->prompt_tokens);
        return;
    }
    while (len < record->text_len && len < sizeof(example->what) - 5)
        len++;
    while (len > 0 && len < record->text_len && ((uint8_t)record->text[len] & 0xc0) == 0x80)
        len--; /* not within a character */
    for (size_t i = 0; i < len; i++)
        example->what[i] = (uint8_t)record->text[i] < ' ' ? ' ' : record->text[i];
    memcpy(example->what + len, "...", len < record->text_len ? 4 : 0);
}

static void
count_move(struct hw_diff *diff, const struct hw_record *record, const struct hw_replayed *old,
           const struct hw_replayed *new, bool by_load)
{
    struct hw_diff_place from = place_of(old), to = place_of(new);
    struct hw_diff_move *move = NULL;

    for (size_t i = 0; i < diff->move_count && move == NULL; i++) {
        struct hw_diff_move *other = &diff->moves[i];
        if (memcmp(&other->from, &from, sizeof(from)) == 0 &&
            memcmp(&other->to, &to, sizeof(to)) == 0 && other->by_load == by_load)
            move = other;
    }
    if (move == NULL && diff->move_count == HW_DIFF_MOVES_MAX) {
        diff->moves_beyond++;
        return;
    }
    if (move == NULL) {
        move = &diff->moves[diff->move_count++];
        *move = (struct hw_diff_move){.from = from, .to = to, .by_load = by_load};
    }
    move->count++;
    add_example(move, record);
}

static void
count_roles(struct hw_diff *diff, const struct hw_replayed *old, const struct hw_replayed *new)
{
    const char *a = old->role >= 0 ? diff->old->roles[old->role].name : "";
    const char *b = new->role >= 0 ? diff->new->roles[new->role].name : "";

    if (old->role_known && new->role_known && strcmp(a, b) != 0)
        diff->roles[old->role >= 0 ? old->role : HW_MAX_ROLES]
                   [new->role >= 0 ? new->role : HW_MAX_ROLES]++;
}

static void
count_unknown(struct hw_diff *diff, uint32_t missing)
{
    diff->unknown++;
    diff->unknown_text += (missing & HW_UNKNOWN_TEXT) != 0;
    diff->unknown_role += (missing & HW_UNKNOWN_ROLE) != 0;
    diff->unknown_agent += (missing & HW_UNKNOWN_AGENT) != 0;
    diff->unknown_header += (missing & HW_UNKNOWN_HEADER) != 0;
    diff->unknown_model += (missing & HW_UNKNOWN_MODEL) != 0;
}

/* Is the old policy the one that made the log? */
static void
count_agreement(struct hw_diff *diff, const struct hw_record *record, const struct hw_replayed *old)
{
    const char *told = record->route != NULL ? record->route : "";

    if (old->end == HW_REPLAY_UNKNOWN)
        return;
    diff->compared++;
    diff->agreed += strcmp(told, route_name(diff->old, old->route)) == 0;
}

bool
hw_diff_add(struct hw_diff *diff, const struct hw_record *record, const struct hw_replayed *old,
            const struct hw_replayed *new)
{
    uint32_t missing = (old->end == HW_REPLAY_UNKNOWN ? old->missing : 0) |
                       (new->end == HW_REPLAY_UNKNOWN ? new->missing : 0);
    bool known = old->end != HW_REPLAY_UNKNOWN && new->end != HW_REPLAY_UNKNOWN;

    diff->queries++;
    if (diff->first_ms == 0 || record->time_ms < diff->first_ms)
        diff->first_ms = record->time_ms;
    if (record->time_ms > diff->last_ms)
        diff->last_ms = record->time_ms;
    count_agreement(diff, record, old);
    if (!known) {
        count_unknown(diff, missing);
        return false;
    }
    count_roles(diff, old, new);
    bool as_before = old->end == new->end &&same_route(diff, old->route, new->route);
    if (as_before &&
        (old->end != HW_REPLAY_SENT || same_backend(diff, old->backend, new->backend))) {
        diff->stayed++;
        return true;
    }
    bool by_load = as_before && same_backend(diff, old->idle_backend, new->idle_backend);
    diff->displaced += by_load;
    diff->moved += !by_load;
    count_move(diff, record, old, new, by_load);
    return true;
}

static int
compare_moves(const void *a, const void *b)
{
    const struct hw_diff_move *x = a, *y = b;

    if (x->by_load != y->by_load)
        return x->by_load ? 1 : -1;
    return (x->count < y->count) - (x->count > y->count);
}

void
hw_diff_sort(struct hw_diff *diff)
{
    qsort(diff->moves, diff->move_count, sizeof(diff->moves[0]), compare_moves);
}

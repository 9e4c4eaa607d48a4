/* router/diff_print.c - `hatchway policy diff` in words, and as JSON. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "router/diff.h"
#include "router/log_private.h"

#define MOVES_SHOWN 20

static double
percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

static const char *
role_name(const struct hw_snapshot *snapshot, size_t i)
{
    return i < HW_MAX_ROLES ? snapshot->roles[i].name : "none";
}

/* Walks the names of both policies' backends, each once. *old and *new: their loads, or NULL. */
static const char *
next_backend(const struct hw_diff *diff, size_t *at, const struct hw_replay_load **old,
             const struct hw_replay_load **new)
{
    size_t old_count = diff->old->backend_count;

    while (*at < old_count + diff->new->backend_count) {
        size_t i = (*at)++;
        const char *name =
            i < old_count ? diff->old->backends[i].name : diff->new->backends[i - old_count].name;
        int in_old = hw_snapshot_backend(diff->old, name, strlen(name));
        int in_new = hw_snapshot_backend(diff->new, name, strlen(name));
        if (i >= old_count && in_old >= 0)
            continue;
        *old = in_old >= 0 ? &diff->old_loads[in_old] : NULL;
        *new = in_new >= 0 ? &diff->new_loads[in_new] : NULL;
        return name;
    }
    return NULL;
}

/* --- words ----------------------------------------------------------------------------------- */

static void
print_move(const struct hw_diff *diff, const struct hw_diff_move *move, FILE *out)
{
    char from[200], to[200];

    hw_diff_place_text(diff->old, &move->from, from, sizeof(from));
    hw_diff_place_text(diff->new, &move->to, to, sizeof(to));
    fprintf(out, "  %8" PRIu64 "  %4.1f %%  %s  =>  %s%s\n", move->count,
            percent(move->count, diff->queries), from, to, move->by_load ? "  (by load)" : "");
    for (size_t i = 0; i < move->example_count; i++)
        fprintf(out, "                    %s  %s\n", move->examples[i].request_id,
                move->examples[i].what);
}

static void
print_unknown(const struct hw_diff *diff, FILE *out)
{
    if (diff->unknown == 0)
        return;
    fprintf(out,
            "\n%" PRIu64 " (%.1f %%) cannot be told, for the log does not say enough, and are left "
            "out:\n",
            diff->unknown, percent(diff->unknown, diff->queries));
    if (diff->unknown_text > 0)
        fprintf(out,
                "  %8" PRIu64 "  hang on the text (keyword, regex, affinity), and the log has none "
                "(decisions: { text: full })\n",
                diff->unknown_text);
    if (diff->unknown_role > 0)
        fprintf(out,
                "  %8" PRIu64 "  hang on the role, which these keywords or examples may find to be "
                "another (decisions: { text: full }, or features where no role has keywords)\n",
                diff->unknown_role);
    if (diff->unknown_agent > 0)
        fprintf(out, "  %8" PRIu64 "  hang on who asked (decisions: { agents: all })\n",
                diff->unknown_agent);
    if (diff->unknown_model > 0)
        fprintf(out,
                "  %8" PRIu64 "  ask for a model that a backend may be found to have (name it in "
                "the backend's models)\n",
                diff->unknown_model);
    if (diff->unknown_header > 0)
        fprintf(out,
                "  %8" PRIu64 "  hang on a header that was not logged (decisions: { headers: [...] "
                "})\n",
                diff->unknown_header);
}

static void
print_roles(const struct hw_diff *diff, FILE *out)
{
    bool any = false;

    for (size_t a = 0; a < HW_DIFF_ROLES_MAX; a++)
        for (size_t b = 0; b < HW_DIFF_ROLES_MAX; b++) {
            if (diff->roles[a][b] == 0)
                continue;
            fprintf(out, "%s  %8u  %s  =>  %s\n", any ? "" : "\nanother role:\n", diff->roles[a][b],
                    role_name(diff->old, a), role_name(diff->new, b));
            any = true;
        }
}

static void
print_load(const char *name, const struct hw_replay_load *old, const struct hw_replay_load *new,
           const char *note, FILE *out)
{
    static const struct hw_replay_load none = {0};

    old = old != NULL ? old : &none;
    new = new != NULL ? new : &none;
    fprintf(out, "  %-20s %8" PRIu64 " %8" PRIu64, name, old->queries, new->queries);
    if (old->share > 0 || new->share > 0)
        fprintf(out, " %5.0f%% %5.0f%%", 100 * old->share, 100 * new->share);
    else
        fprintf(out, " %6s %6s", "", "");
    fprintf(out, " %9.0f %9.0f %9.0f %9.0f%s\n", old->mean_ms, new->mean_ms, old->p99_ms,
            new->p99_ms, note);
}

static void
print_loads(const struct hw_diff *diff, FILE *out)
{
    const struct hw_replay_load *old, *new;
    const char *name;
    size_t at = 0;
    bool guessed = false;

    fprintf(out, "\n  %-20s %17s %13s %19s %19s\n", "", "queries", "load", "mean ms", "p99 ms");
    fprintf(out, "  %-20s %8s %8s %6s %6s %9s %9s %9s %9s\n", "backend", "old", "new", "old", "new",
            "old", "new", "old", "new");
    while ((name = next_backend(diff, &at, &old, &new)) != NULL) {
        bool measured = hw_figures_find(diff->figures, name) != NULL;
        guessed = guessed || !measured;
        print_load(name, old, new, measured ? "" : " *", out);
    }
    print_load("all, with hits", &diff->old_all, &diff->new_all, "", out);
    if (guessed)
        fprintf(out, "  * the log has no answer of it: its speed is the prior of its kind\n");
}

static void
print_head(const struct hw_diff *diff, FILE *out)
{
    char first[HW_LOG_TIME_BYTES], last[HW_LOG_TIME_BYTES];

    hw_log_time_at(diff->first_ms, first);
    hw_log_time_at(diff->last_ms, last);
    fprintf(out, "%" PRIu64 " queries from %s to %s\n", diff->queries, first, last);
    if (diff->unreadable > 0)
        fprintf(out, "%" PRIu64 " lines are no records, the first: %s\n", diff->unreadable,
                diff->first_unreadable);
    fprintf(out, "the old policy takes the log's route for %.1f %% of those that can be told\n",
            percent(diff->agreed, diff->compared));
    fprintf(out,
            "\n%" PRIu64 " (%.1f %%) stay where they are, %" PRIu64 " (%.1f %%) move, %" PRIu64
            " (%.1f %%) are displaced by the others' load\n",
            diff->stayed, percent(diff->stayed, diff->queries), diff->moved,
            percent(diff->moved, diff->queries), diff->displaced,
            percent(diff->displaced, diff->queries));
}

void
hw_diff_print(const struct hw_diff *diff, FILE *out)
{
    size_t shown = diff->move_count < MOVES_SHOWN ? diff->move_count : MOVES_SHOWN;

    print_head(diff, out);
    for (size_t i = 0; i < shown; i++)
        print_move(diff, &diff->moves[i], out);
    if (shown < diff->move_count || diff->moves_beyond > 0)
        fprintf(out, "  and %zu more ways (--json has them)\n", diff->move_count - shown);
    print_roles(diff, out);
    print_unknown(diff, out);
    print_loads(diff, out);
}

/* --- JSON ------------------------------------------------------------------------------------ */

static cJSON *
place_json(const struct hw_snapshot *snapshot, const struct hw_diff_place *place)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "end", hw_replay_end_names[place->end]);
    if (place->route >= 0)
        cJSON_AddStringToObject(json, "route", snapshot->routes[place->route].name);
    if (place->backend >= 0)
        cJSON_AddStringToObject(json, "backend", snapshot->backends[place->backend].name);
    return json;
}

static void
add_moves(const struct hw_diff *diff, cJSON *root)
{
    cJSON *list = cJSON_AddArrayToObject(root, "moves");

    for (size_t i = 0; i < diff->move_count; i++) {
        const struct hw_diff_move *move = &diff->moves[i];
        cJSON *json = cJSON_CreateObject();
        cJSON_AddItemToObject(json, "from", place_json(diff->old, &move->from));
        cJSON_AddItemToObject(json, "to", place_json(diff->new, &move->to));
        cJSON_AddBoolToObject(json, "by_load", move->by_load);
        cJSON_AddNumberToObject(json, "count", (double)move->count);
        cJSON *examples = cJSON_AddArrayToObject(json, "examples");
        for (size_t j = 0; j < move->example_count; j++) {
            cJSON *example = cJSON_CreateObject();
            cJSON_AddStringToObject(example, "request_id", move->examples[j].request_id);
            cJSON_AddStringToObject(example, "what", move->examples[j].what);
            cJSON_AddItemToArray(examples, example);
        }
        cJSON_AddItemToArray(list, json);
    }
}

static void
add_roles(const struct hw_diff *diff, cJSON *root)
{
    cJSON *list = cJSON_AddArrayToObject(root, "roles");

    for (size_t a = 0; a < HW_DIFF_ROLES_MAX; a++)
        for (size_t b = 0; b < HW_DIFF_ROLES_MAX; b++) {
            if (diff->roles[a][b] == 0)
                continue;
            cJSON *json = cJSON_CreateObject();
            cJSON_AddStringToObject(json, "from", role_name(diff->old, a));
            cJSON_AddStringToObject(json, "to", role_name(diff->new, b));
            cJSON_AddNumberToObject(json, "count", diff->roles[a][b]);
            cJSON_AddItemToArray(list, json);
        }
}

static void
add_load(cJSON *json, const char *name, const struct hw_replay_load *load)
{
    if (load == NULL) {
        cJSON_AddNullToObject(json, name);
        return;
    }
    cJSON *item = cJSON_AddObjectToObject(json, name);
    cJSON_AddNumberToObject(item, "queries", (double)load->queries);
    cJSON_AddNumberToObject(item, "load", load->share);
    cJSON_AddNumberToObject(item, "mean_ms", load->mean_ms);
    cJSON_AddNumberToObject(item, "p99_ms", load->p99_ms);
    cJSON_AddNumberToObject(item, "peak_inflight", load->peak_inflight);
}

static void
add_backends(const struct hw_diff *diff, cJSON *root)
{
    cJSON *list = cJSON_AddArrayToObject(root, "backends");
    const struct hw_replay_load *old, *new;
    const char *name;
    size_t at = 0;

    while ((name = next_backend(diff, &at, &old, &new)) != NULL) {
        const struct hw_figure *figure = hw_figures_find(diff->figures, name);
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "name", name);
        cJSON_AddNumberToObject(json, "measured_by",
                                figure != NULL ? (double)figure->speed.samples : 0);
        add_load(json, "old", old);
        add_load(json, "new", new);
        cJSON_AddItemToArray(list, json);
    }
    cJSON *all = cJSON_AddObjectToObject(root, "all");
    add_load(all, "old", &diff->old_all);
    add_load(all, "new", &diff->new_all);
}

void
hw_diff_print_json(const struct hw_diff *diff, FILE *out)
{
    cJSON *root = cJSON_CreateObject();

    cJSON_AddNumberToObject(root, "queries", (double)diff->queries);
    cJSON_AddNumberToObject(root, "stayed", (double)diff->stayed);
    cJSON_AddNumberToObject(root, "moved", (double)diff->moved);
    cJSON_AddNumberToObject(root, "displaced", (double)diff->displaced);
    cJSON *unknown = cJSON_AddObjectToObject(root, "unknown");
    cJSON_AddNumberToObject(unknown, "queries", (double)diff->unknown);
    cJSON_AddNumberToObject(unknown, "text", (double)diff->unknown_text);
    cJSON_AddNumberToObject(unknown, "role", (double)diff->unknown_role);
    cJSON_AddNumberToObject(unknown, "agent", (double)diff->unknown_agent);
    cJSON_AddNumberToObject(unknown, "header", (double)diff->unknown_header);
    cJSON_AddNumberToObject(unknown, "model", (double)diff->unknown_model);
    cJSON_AddNumberToObject(root, "unreadable", (double)diff->unreadable);
    cJSON_AddNumberToObject(root, "agreement", percent(diff->agreed, diff->compared) / 100);
    add_moves(diff, root);
    cJSON_AddNumberToObject(root, "moves_beyond", (double)diff->moves_beyond);
    add_roles(diff, root);
    add_backends(diff, root);
    char *text = cJSON_Print(root);
    fprintf(out, "%s\n", text != NULL ? text : "{}");
    free(text);
    cJSON_Delete(root);
}

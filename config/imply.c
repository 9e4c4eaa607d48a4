/* config/imply.c - see imply.h.
 *
 * A condition of `wide` is proven for `narrow` by a field of narrow itself, by one of its `all`, or
 * by each of its `any`; `not` by something that narrow excludes. Hours and days are compared as
 * minutes of the week, so that 22-06 on fridays lies within the weekend as one would expect. */
#include "config/imply.h"

#include <string.h>

#define WEEK_MINUTES ((size_t)7 * 24 * 60)
#define DAY_MINUTES ((size_t)24 * 60)

enum field {
    FIELD_ROLE,
    FIELD_LANE,
    FIELD_TIME,
    FIELD_TOOLS,
    FIELD_IMAGES,
    FIELD_JSON,
    FIELD_STREAM,
    FIELD_TOKENS,
    FIELD_AGENT,
    FIELD_MODEL,
    FIELD_DIALECT,
    FIELD_PATH,
    FIELD_KEYWORD,
    FIELD_HEADER,
    FIELD_REGEX,
    FIELD_COUNT
};

static bool
step(struct hw_imply *imply)
{
    if (imply->steps_left == 0)
        return false;
    imply->steps_left--;
    return true;
}

/* --- lists ----------------------------------------------------------------------------------- */

typedef bool covers_fn(const char *item, const char *by);

static bool
is_same(const char *item, const char *by)
{
    return strcmp(item, by) == 0;
}

/* Of two paths or prefixes: all that the first one means, the second one means. */
static bool
path_covers(const char *item, const char *by)
{
    size_t len = strlen(by);
    return len > 0 && by[len - 1] == '*' ? strncmp(item, by, len - 1) == 0 : strcmp(item, by) == 0;
}

static bool
has(struct hw_imply *imply, const struct hw_conf_list *list, const char *item, covers_fn *covers)
{
    for (size_t i = 0; i < list->count; i++)
        if (step(imply) && covers(item, list->items[i]))
            return true;
    return false;
}

/* Empty lists restrict nothing. */
static bool
is_within(struct hw_imply *imply, const struct hw_conf_list *narrow,
          const struct hw_conf_list *wide, covers_fn *covers)
{
    if (wide->count == 0)
        return true;
    for (size_t i = 0; i < narrow->count; i++)
        if (!has(imply, wide, narrow->items[i], covers))
            return false;
    return narrow->count > 0;
}

static bool
are_apart(struct hw_imply *imply, const struct hw_conf_list *a, const struct hw_conf_list *b,
          covers_fn *covers)
{
    if (a->count == 0 || b->count == 0)
        return false;
    for (size_t i = 0; i < a->count; i++)
        for (size_t j = 0; j < b->count; j++)
            if (!step(imply) || covers(a->items[i], b->items[j]) ||
                covers(b->items[j], a->items[i]))
                return false;
    return true;
}

/* --- the clock ------------------------------------------------------------------------------- */

struct week {
    bool minutes[WEEK_MINUTES];
};

static bool
has_time(const struct hw_conf_when *when)
{
    return when->hours_count > 0 || when->days_mask != 0;
}

static void
fill_week(const struct hw_conf_when *when, struct week *week)
{
    static const struct hw_conf_hours all_day = {0, 0, NULL};
    const struct hw_conf_hours *hours = when->hours_count > 0 ? when->hours : &all_day;
    size_t count = when->hours_count > 0 ? when->hours_count : 1;
    memset(week, 0, sizeof(*week));
    for (size_t day = 0; day < 7; day++) {
        if (when->days_mask != 0 && (when->days_mask >> day & 1) == 0)
            continue;
        for (size_t i = 0; i < count; i++) {
            size_t len = (hours[i].end + DAY_MINUTES - hours[i].begin) % DAY_MINUTES;
            size_t begin = day * DAY_MINUTES + hours[i].begin;
            for (size_t m = 0; m < (len > 0 ? len : DAY_MINUTES); m++)
                week->minutes[(begin + m) % WEEK_MINUTES] = true;
        }
    }
}

static bool
times_relate(struct hw_imply *imply, const struct hw_conf_when *a, const struct hw_conf_when *b,
             bool apart)
{
    struct week first, second;
    if (!has_time(a) || !has_time(b) || imply->steps_left < WEEK_MINUTES)
        return false;
    imply->steps_left -= WEEK_MINUTES;
    fill_week(a, &first);
    fill_week(b, &second);
    for (size_t i = 0; i < WEEK_MINUTES; i++)
        if (first.minutes[i] && second.minutes[i] == apart)
            return false;
    return true;
}

/* --- one field ------------------------------------------------------------------------------- */

static bool
mask_within(uint64_t narrow, uint64_t wide)
{
    return wide == 0 || (narrow != 0 && (narrow & ~wide) == 0);
}

static bool
wanted_within(enum hw_wanted narrow, enum hw_wanted wide)
{
    return wide == HW_WANTED_ANY || narrow == wide;
}

/* Each header that wide asks for, narrow asks for in no more ways. */
static bool
headers_within(struct hw_imply *imply, const struct hw_conf_when *narrow,
               const struct hw_conf_when *wide)
{
    static const struct hw_conf_list none;
    for (size_t i = 0; i < wide->header_count; i++) {
        const struct hw_conf_header *header = &wide->header[i];
        bool any = has(imply, &header->values, "*", is_same), found = false;
        for (size_t j = 0; j < narrow->header_count && !found; j++)
            found =
                step(imply) && strcmp(narrow->header[j].name, header->name) == 0 &&
                is_within(imply, &narrow->header[j].values, any ? &none : &header->values, is_same);
        if (!found)
            return false;
    }
    return true;
}

static bool
regexes_within(struct hw_imply *imply, const struct hw_conf_when *narrow,
               const struct hw_conf_when *wide)
{
    for (size_t i = 0; i < narrow->regex_count; i++) {
        bool found = false;
        for (size_t j = 0; j < wide->regex_count && !found; j++)
            found = step(imply) && strcmp(narrow->regex[i].text, wide->regex[j].text) == 0;
        if (!found)
            return false;
    }
    return narrow->regex_count > 0;
}

/* A condition of wide's is met by narrow's own of the same kind. */
static bool
field_within(struct hw_imply *imply, const struct hw_conf_when *narrow,
             const struct hw_conf_when *wide, enum field field)
{
    const struct hw_conf_range *n = &narrow->prompt_tokens, *w = &wide->prompt_tokens;
    switch (field) {
    case FIELD_ROLE:
        return mask_within(narrow->role_mask, wide->role_mask);
    case FIELD_LANE:
        return mask_within(narrow->lane_mask, wide->lane_mask);
    case FIELD_TIME:
        return !has_time(wide) || times_relate(imply, narrow, wide, false);
    case FIELD_TOOLS:
        return wanted_within(narrow->tools, wide->tools);
    case FIELD_IMAGES:
        return wanted_within(narrow->images, wide->images);
    case FIELD_JSON:
        return wanted_within(narrow->json, wide->json);
    case FIELD_STREAM:
        return wanted_within(narrow->stream, wide->stream);
    case FIELD_TOKENS:
        return !w->present || (w->min == 0 && w->max >= UINT32_MAX) ||
               (n->present && n->min >= w->min && (n->max <= w->max || w->max >= UINT32_MAX));
    case FIELD_AGENT:
        return is_within(imply, &narrow->agent, &wide->agent, is_same);
    case FIELD_MODEL:
        return is_within(imply, &narrow->model, &wide->model, is_same);
    case FIELD_DIALECT:
        return is_within(imply, &narrow->dialect, &wide->dialect, is_same);
    case FIELD_PATH:
        return is_within(imply, &narrow->path, &wide->path, path_covers);
    case FIELD_KEYWORD:
        return is_within(imply, &narrow->keyword, &wide->keyword, is_same);
    case FIELD_HEADER:
        return headers_within(imply, narrow, wide);
    case FIELD_REGEX:
        return wide->regex_count == 0 || regexes_within(imply, narrow, wide);
    case FIELD_COUNT:
        break;
    }
    return false;
}

/* --- trees ----------------------------------------------------------------------------------- */

static bool
field_holds(struct hw_imply *imply, const struct hw_conf_when *narrow,
            const struct hw_conf_when *wide, enum field field)
{
    if (!step(imply))
        return false;
    if (field_within(imply, narrow, wide, field))
        return true;
    for (size_t i = 0; i < narrow->all_count; i++)
        if (field_holds(imply, &narrow->all[i], wide, field))
            return true;
    size_t i = 0;
    while (i < narrow->any_count && field_holds(imply, &narrow->any[i], wide, field))
        i++;
    return narrow->any_count > 0 && i == narrow->any_count;
}

/* One of wide's alternatives holds for narrow, or for each of narrow's own alternatives. */
static bool
any_holds(struct hw_imply *imply, const struct hw_conf_when *narrow,
          const struct hw_conf_when *wide)
{
    for (size_t i = 0; i < wide->any_count; i++)
        if (step(imply) && hw_when_implies(imply, narrow, &wide->any[i]))
            return true;
    size_t i = 0;
    while (i < narrow->any_count && step(imply) && any_holds(imply, &narrow->any[i], wide))
        i++;
    return narrow->any_count > 0 && i == narrow->any_count;
}

bool
hw_when_implies(struct hw_imply *imply, const struct hw_conf_when *narrow,
                const struct hw_conf_when *wide)
{
    for (enum field field = 0; field < FIELD_COUNT; field++)
        if (!field_holds(imply, narrow, wide, field))
            return false;
    for (size_t i = 0; i < wide->all_count; i++)
        if (!hw_when_implies(imply, narrow, &wide->all[i]))
            return false;
    if (wide->any_count > 0 && !any_holds(imply, narrow, wide))
        return false;
    for (size_t i = 0; i < wide->none_count; i++)
        if (!hw_when_excludes(imply, narrow, &wide->none[i]))
            return false;
    return true;
}

static bool
wanted_apart(enum hw_wanted a, enum hw_wanted b)
{
    return a != HW_WANTED_ANY && b != HW_WANTED_ANY && a != b;
}

static bool
headers_apart(struct hw_imply *imply, const struct hw_conf_when *a, const struct hw_conf_when *b)
{
    for (size_t i = 0; i < a->header_count; i++)
        for (size_t j = 0; j < b->header_count; j++)
            if (step(imply) && strcmp(a->header[i].name, b->header[j].name) == 0 &&
                !has(imply, &a->header[i].values, "*", is_same) &&
                !has(imply, &b->header[j].values, "*", is_same) &&
                are_apart(imply, &a->header[i].values, &b->header[j].values, is_same))
                return true;
    return false;
}

/* Of what a query has one of, both want different ones. */
static bool
fields_apart(struct hw_imply *imply, const struct hw_conf_when *a, const struct hw_conf_when *b)
{
    const struct hw_conf_range *m = &a->prompt_tokens, *n = &b->prompt_tokens;
    return (a->role_mask != 0 && b->role_mask != 0 && (a->role_mask & b->role_mask) == 0) ||
           (a->lane_mask != 0 && b->lane_mask != 0 && (a->lane_mask & b->lane_mask) == 0) ||
           (m->present && n->present && (m->max < n->min || n->max < m->min)) ||
           wanted_apart(a->tools, b->tools) || wanted_apart(a->images, b->images) ||
           wanted_apart(a->json, b->json) || wanted_apart(a->stream, b->stream) ||
           are_apart(imply, &a->agent, &b->agent, is_same) ||
           are_apart(imply, &a->model, &b->model, is_same) ||
           are_apart(imply, &a->dialect, &b->dialect, is_same) ||
           are_apart(imply, &a->path, &b->path, path_covers) || headers_apart(imply, a, b) ||
           times_relate(imply, a, b, true);
}

/* One of b's parts alone is enough to be excluded by. */
static bool
excluded_by_part(struct hw_imply *imply, const struct hw_conf_when *a, const struct hw_conf_when *b)
{
    for (size_t i = 0; i < b->all_count; i++)
        if (hw_when_excludes(imply, a, &b->all[i]))
            return true;
    for (size_t i = 0; i < b->none_count; i++)
        if (step(imply) && hw_when_implies(imply, a, &b->none[i]))
            return true;
    size_t i = 0;
    while (i < b->any_count && hw_when_excludes(imply, a, &b->any[i]))
        i++;
    return b->any_count > 0 && i == b->any_count;
}

bool
hw_when_excludes(struct hw_imply *imply, const struct hw_conf_when *a, const struct hw_conf_when *b)
{
    if (!step(imply))
        return false;
    return fields_apart(imply, a, b) || excluded_by_part(imply, a, b) ||
           excluded_by_part(imply, b, a);
}

bool
hw_when_impossible(struct hw_imply *imply, const struct hw_conf_when *when)
{
    if (!step(imply))
        return false;
    for (size_t i = 0; i < when->all_count; i++) {
        if (hw_when_impossible(imply, &when->all[i]) ||
            hw_when_excludes(imply, when, &when->all[i]))
            return true;
        for (size_t j = 0; j < i; j++)
            if (hw_when_excludes(imply, &when->all[i], &when->all[j]))
                return true;
    }
    for (size_t i = 0; i < when->none_count; i++)
        if (hw_when_implies(imply, when, &when->none[i]))
            return true;
    size_t i = 0;
    while (i < when->any_count && (hw_when_impossible(imply, &when->any[i]) ||
                                   hw_when_excludes(imply, when, &when->any[i])))
        i++;
    return when->any_count > 0 && i == when->any_count;
}

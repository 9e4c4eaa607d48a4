/* policies/route.c - conditions of a route, each with the sentence that says why it fails.
 *
 * Matching and explaining are one walk over the same conditions, so that `hatchway route` can never
 * tell another story than the gateway acts on; without room for a sentence nothing is formatted. */
#include "policies/route.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config/pattern.h"
#include "config/zone.h"
#include "policies/hours.h"
#include "policies/words.h"

/* Keywords and patterns look at the start of the last user message only: every route may have its
 * own, and a pasted megabyte must not hold up the loop. */
#define TEXT_BYTES 16384
#define WORDS_NAMED 6 /* of a long list a reason names the first few */

struct reason {
    char *text; /* NULL: nobody reads it */
    size_t size, len;
    struct words_seen *seen;
    bool assume;  /* what a condition counts as that hangs on something unknown */
    uint32_t met; /* the unknown that was met */
};

const char hw_header_unknown[] = "";

/* Does a condition hang on what is unknown? Then it counts as reason->assume. */
static bool
hangs_on(const struct hw_traits *traits, uint32_t what, struct reason *reason)
{
    reason->met |= traits->unknown & what;
    return (traits->unknown & what) != 0;
}

/* The message's words, for all routes' keywords; filled when the first one asks for it. */
struct words_seen {
    bool filled;
    struct hw_sieve sieve;
};

static void __attribute__((format(printf, 2, 3))) say(struct reason *reason, const char *fmt, ...)
{
    if (reason->text == NULL || reason->len + 1 >= reason->size)
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(reason->text + reason->len, reason->size - reason->len, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    reason->len += (size_t)n;
    if (reason->len >= reason->size)
        reason->len = reason->size - 1;
}

/* Joins words as a person would: "a", "a or b", "a, b or 3 others". */
static void
say_word(struct reason *reason, const char *word, size_t i, size_t count)
{
    size_t named = count > WORDS_NAMED + 1 ? WORDS_NAMED : count;

    if (i >= named)
        return;
    if (i > 0)
        say(reason, "%s", i + 1 == count ? " or " : ", ");
    say(reason, "%s", word);
    if (i + 1 == named && named < count)
        say(reason, " or %zu others", count - named);
}

static void
say_list(struct reason *reason, const struct hw_conf_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        say_word(reason, list->items[i], i, list->count);
}

static bool
list_has(const struct hw_conf_list *list, const char *word)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], word) == 0)
            return true;
    }
    return false;
}

static bool
role_holds(const struct hw_snapshot *snapshot, const struct hw_conf_when *when,
           const struct hw_traits *traits, struct reason *reason)
{
    size_t said = 0;

    if (when->role_mask == 0)
        return true;
    if (hangs_on(traits, HW_UNKNOWN_ROLE, reason))
        return reason->assume;
    if (traits->role >= 0 && (when->role_mask >> traits->role & 1) != 0)
        return true;
    say(reason, "role is %s, wants ",
        traits->role >= 0 ? snapshot->roles[traits->role].name : "none");
    for (size_t i = 0; i < snapshot->role_count; i++) {
        if ((when->role_mask >> i & 1) != 0)
            say_word(reason, snapshot->roles[i].name, said++,
                     (size_t)__builtin_popcountll(when->role_mask));
    }
    return false;
}

static bool
lane_holds(const struct hw_conf_when *when, const struct hw_traits *traits, struct reason *reason)
{
    enum hw_lane lane = traits->has_lane ? traits->lane : HW_LANE_INTERACTIVE;
    size_t said = 0;

    if (when->lane_mask == 0 || (when->lane_mask >> lane & 1) != 0)
        return true;
    say(reason, "lane is %s, wants ", hw_lane_names[lane]);
    for (size_t i = 0; i < HW_LANE_COUNT; i++) {
        if ((when->lane_mask >> i & 1) != 0)
            say_word(reason, hw_lane_names[i], said++, (size_t)__builtin_popcount(when->lane_mask));
    }
    return false;
}

/* A list of alternatives for one word of the query; `none` stands for a word that is not there. */
static bool
word_holds(const char *what, const struct hw_conf_list *wanted, const char *word, const char *none,
           struct reason *reason)
{
    if (word == NULL || word[0] == '\0')
        word = none;
    if (wanted->count == 0 || list_has(wanted, word))
        return true;
    say(reason, "%s is %.80s, wants ", what, word);
    say_list(reason, wanted);
    return false;
}

static bool
agent_holds(const struct hw_conf_when *when, const struct hw_traits *traits, struct reason *reason)
{
    if (when->agent.count > 0 && hangs_on(traits, HW_UNKNOWN_AGENT, reason))
        return reason->assume;
    return word_holds("agent", &when->agent, traits->agent, "none", reason);
}

static bool
keyword_holds(const struct hw_conf_when *when, const struct hw_traits *traits,
              struct reason *reason)
{
    size_t len = traits->text_len < TEXT_BYTES ? traits->text_len : TEXT_BYTES;

    if (when->keyword.count == 0)
        return true;
    if (hangs_on(traits, HW_UNKNOWN_TEXT, reason))
        return reason->assume;
    if (traits->text != NULL && !reason->seen->filled) {
        hw_sieve_fill(&reason->seen->sieve, traits->text, len);
        reason->seen->filled = true;
    }
    for (size_t i = 0; traits->text != NULL && i < when->keyword.count; i++) {
        if (hw_sieve_may_have(&reason->seen->sieve, when->keyword.items[i]) &&
            hw_text_has_keyword(traits->text, len, when->keyword.items[i]))
            return true;
    }
    say(reason, "the message has no keyword ");
    say_list(reason, &when->keyword);
    return false;
}

static bool
tokens_hold(const struct hw_conf_when *when, const struct hw_traits *traits, struct reason *reason)
{
    const struct hw_conf_range *range = &when->prompt_tokens;

    if (!range->present ||
        (traits->prompt_tokens >= range->min && traits->prompt_tokens <= range->max))
        return true;
    say(reason, "prompt_tokens is about %" PRIu32 ", wants ", traits->prompt_tokens);
    if (range->min == range->max)
        say(reason, "%" PRIu64, range->min);
    else if (range->max >= UINT32_MAX)
        say(reason, "at least %" PRIu64, range->min);
    else if (range->min == 0)
        say(reason, "at most %" PRIu64, range->max);
    else
        say(reason, "%" PRIu64 " to %" PRIu64, range->min, range->max);
    return false;
}

/* --- what the query wants, and where it came by --- */

static bool
wanted_holds(const char *what, enum hw_wanted wanted, bool value, struct reason *reason)
{
    if (wanted == HW_WANTED_ANY || (wanted == HW_WANTED_TRUE) == value)
        return true;
    say(reason, "%s is %s, wants %s", what, value ? "true" : "false", value ? "false" : "true");
    return false;
}

static bool
wishes_hold(const struct hw_conf_when *when, const struct hw_traits *traits, struct reason *reason)
{
    return wanted_holds("tools", when->tools, traits->wants_tools, reason) &&
           wanted_holds("images", when->images, traits->wants_images, reason) &&
           wanted_holds("json", when->json, traits->wants_json, reason) &&
           wanted_holds("stream", when->stream, traits->stream, reason);
}

static bool
difficult_holds(const struct hw_conf_when *when, const struct hw_traits *traits,
                struct reason *reason)
{
    if (when->difficult == HW_WANTED_ANY)
        return true;
    if (hangs_on(traits, HW_UNKNOWN_TEXT, reason))
        return reason->assume;
    if (wanted_holds("difficult", when->difficult, traits->difficult, reason))
        return true;
    say(reason, " (%.0f %% of queries are easier)", 100.0 * (double)traits->difficulty);
    return false;
}

static bool
path_holds(const struct hw_conf_when *when, const struct hw_traits *traits, struct reason *reason)
{
    const char *path = traits->path != NULL ? traits->path : "";

    if (when->path.count == 0)
        return true;
    for (size_t i = 0; i < when->path.count; i++) {
        const char *item = when->path.items[i];
        size_t len = strlen(item);
        if (item[len - 1] == '*' ? strncmp(path, item, len - 1) == 0 : strcmp(path, item) == 0)
            return true;
    }
    say(reason, "path is %.80s, wants ", *path != '\0' ? path : "none");
    say_list(reason, &when->path);
    return false;
}

static bool
header_holds(const struct hw_conf_header *header, const struct hw_traits *traits,
             struct reason *reason)
{
    size_t len = 0;
    const char *value =
        traits->header != NULL ? traits->header(traits->header_ctx, header->name, &len) : NULL;

    if (value == hw_header_unknown) {
        reason->met |= HW_UNKNOWN_HEADER;
        return reason->assume;
    }
    for (size_t i = 0; value != NULL && i < header->values.count; i++) {
        const char *item = header->values.items[i];
        if (strcmp(item, "*") == 0 || (strlen(item) == len && memcmp(item, value, len) == 0))
            return true;
    }
    if (value == NULL)
        say(reason, "there is no header %s", header->name);
    else
        say(reason, "header %s is %.*s", header->name, (int)(len < 60 ? len : 60), value);
    say(reason, ", wants ");
    say_list(reason, &header->values);
    return false;
}

static bool
headers_hold(const struct hw_conf_when *when, const struct hw_traits *traits, struct reason *reason)
{
    for (size_t i = 0; i < when->header_count; i++)
        if (!header_holds(&when->header[i], traits, reason))
            return false;
    return true;
}

/* --- the clock --- */

static bool
hours_hold(const struct hw_snapshot *snapshot, const struct hw_conf_when *when,
           const struct hw_traits *traits, struct reason *reason)
{
    static const struct hw_conf_hours all_day = {0, 0, NULL};
    const struct hw_conf_hours *hours = when->hours_count > 0 ? when->hours : &all_day;
    size_t count = when->hours_count > 0 ? when->hours_count : 1, said = 0;

    if (when->hours_count == 0 && when->days_mask == 0)
        return true;
    struct hw_local_time now = hw_zone_local(snapshot->zone, traits->now_s);
    if (hw_hours_hold(hours, count, when->days_mask, now))
        return true;
    say(reason, "it is %s %02u:%02u, wants ", hw_day_names[now.weekday], now.minute / 60,
        now.minute % 60);
    for (size_t i = 0; i < when->hours_count; i++)
        say_word(reason, hours[i].text, i, when->hours_count);
    if (when->hours_count > 0 && when->days_mask != 0)
        say(reason, " on ");
    for (size_t i = 0; i < 7; i++)
        if ((when->days_mask >> i & 1) != 0)
            say_word(reason, hw_day_names[i], said++, (size_t)__builtin_popcount(when->days_mask));
    return false;
}

/* --- patterns --- */

static bool
regex_holds(const struct hw_conf_when *when, const struct hw_traits *traits, struct reason *reason)
{
    size_t len = traits->text_len < TEXT_BYTES ? traits->text_len : TEXT_BYTES;
    const char *text = traits->text != NULL ? traits->text : "";

    if (when->regex_count == 0)
        return true;
    if (hangs_on(traits, HW_UNKNOWN_TEXT, reason))
        return reason->assume;
    const char *gave_up = NULL;
    for (size_t i = 0; i < when->regex_count; i++) {
        enum hw_pattern_result result = hw_pattern_search(when->regex[i].pattern, text, len);
        if (result == HW_PATTERN_YES)
            return true;
        if (result == HW_PATTERN_GAVE_UP)
            gave_up = when->regex[i].text;
    }
    if (gave_up != NULL) {
        say(reason, "the search for %.80s backtracked too much and was given up", gave_up);
        return false;
    }
    say(reason, "the message does not match ");
    for (size_t i = 0; i < when->regex_count; i++)
        say_word(reason, when->regex[i].text, i, when->regex_count);
    return false;
}

/* --- the tree --- */

static bool when_holds(const struct hw_snapshot *snapshot, const struct hw_conf_when *when,
                       const struct hw_traits *traits, struct reason *reason);

static bool
all_hold(const struct hw_snapshot *snapshot, const struct hw_conf_when *when,
         const struct hw_traits *traits, struct reason *reason)
{
    for (size_t i = 0; i < when->all_count; i++)
        if (!when_holds(snapshot, &when->all[i], traits, reason))
            return false;
    return true;
}

static bool
any_holds(const struct hw_snapshot *snapshot, const struct hw_conf_when *when,
          const struct hw_traits *traits, struct reason *reason)
{
    struct reason nobody = {.seen = reason->seen, .assume = reason->assume};
    bool holds = when->any_count == 0;

    for (size_t i = 0; i < when->any_count && !holds; i++)
        holds = when_holds(snapshot, &when->any[i], traits, &nobody);
    reason->met |= nobody.met;
    if (holds)
        return true;
    if (reason->text == NULL)
        return false;
    say(reason, "none of any holds (");
    for (size_t i = 0; i < when->any_count; i++) {
        say(reason, "%s", i > 0 ? "; " : "");
        when_holds(snapshot, &when->any[i], traits, reason);
    }
    say(reason, ")");
    return false;
}

static bool
none_holds(const struct hw_snapshot *snapshot, const struct hw_conf_when *when,
           const struct hw_traits *traits, struct reason *reason)
{
    struct reason nobody = {.seen = reason->seen, .assume = !reason->assume};

    for (size_t i = 0; i < when->none_count; i++) {
        bool holds = when_holds(snapshot, &when->none[i], traits, &nobody);
        reason->met |= nobody.met;
        if (!holds)
            continue;
        say(reason, "what not excludes holds");
        if (when->none_count > 1)
            say(reason, " (its condition %zu)", i + 1);
        return false;
    }
    return true;
}

static bool
when_holds(const struct hw_snapshot *snapshot, const struct hw_conf_when *when,
           const struct hw_traits *traits, struct reason *reason)
{
    /* Cheap conditions first: the search for keywords and patterns reads the text. */
    return role_holds(snapshot, when, traits, reason) && lane_holds(when, traits, reason) &&
           agent_holds(when, traits, reason) &&
           word_holds("model", &when->model, traits->model, "auto", reason) &&
           word_holds("dialect", &when->dialect, traits->dialect, "none", reason) &&
           tokens_hold(when, traits, reason) && wishes_hold(when, traits, reason) &&
           difficult_holds(when, traits, reason) && hours_hold(snapshot, when, traits, reason) &&
           path_holds(when, traits, reason) && headers_hold(when, traits, reason) &&
           all_hold(snapshot, when, traits, reason) && any_holds(snapshot, when, traits, reason) &&
           none_holds(snapshot, when, traits, reason) && keyword_holds(when, traits, reason) &&
           regex_holds(when, traits, reason);
}

static bool
route_holds(const struct hw_snapshot *snapshot, size_t i, const struct hw_traits *traits,
            struct reason *reason)
{
    const struct hw_conf_when *when = &snapshot->routes[i].when;

    return !when->present || when_holds(snapshot, when, traits, reason);
}

int
hw_route_match(const struct hw_snapshot *snapshot, const struct hw_traits *traits)
{
    struct words_seen seen;
    struct reason nobody = {.text = NULL, .seen = &seen};

    seen.filled = false;
    for (size_t i = 0; i < snapshot->route_count; i++) {
        if (route_holds(snapshot, i, traits, &nobody))
            return (int)i;
    }
    return -1;
}

/* A condition that holds even if everything unknown speaks against it surely holds; one that does
 * not even if everything speaks for it surely does not. */
int
hw_route_match_known(const struct hw_snapshot *snapshot, const struct hw_traits *traits,
                     uint32_t *missing)
{
    struct words_seen seen;

    seen.filled = false;
    *missing = 0;
    for (size_t i = 0; i < snapshot->route_count; i++) {
        struct reason at_worst = {.seen = &seen, .assume = false};
        struct reason at_best = {.seen = &seen, .assume = true};
        if (route_holds(snapshot, i, traits, &at_worst))
            return (int)i;
        if (!route_holds(snapshot, i, traits, &at_best))
            continue;
        *missing = at_worst.met | at_best.met;
        return HW_ROUTE_UNKNOWN;
    }
    return -1;
}

bool
hw_route_explain(const struct hw_snapshot *snapshot, size_t i, const struct hw_traits *traits,
                 char *why, size_t size)
{
    struct words_seen seen;
    struct reason reason = {.text = size > 0 ? why : NULL, .size = size, .seen = &seen};

    seen.filled = false;
    return route_holds(snapshot, i, traits, &reason);
}

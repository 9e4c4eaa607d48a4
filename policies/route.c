/* policies/route.c - conditions of a route, each with the sentence that says why it fails.
 *
 * Matching and explaining are one walk over the same conditions, so that `hatchway route` can never
 * tell another story than the gateway acts on; without room for a sentence nothing is formatted. */
#include "policies/route.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A keyword condition looks at the start of the last user message only: every route may have its
 * own words, and a pasted megabyte must not hold up the loop. */
#define KEYWORD_BYTES 16384
#define WORDS_NAMED 6 /* of a long list a reason names the first few */

struct reason {
    char *text; /* NULL: nobody reads it */
    size_t size, len;
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
keyword_holds(const struct hw_conf_when *when, const struct hw_traits *traits,
              struct reason *reason)
{
    size_t len = traits->text_len < KEYWORD_BYTES ? traits->text_len : KEYWORD_BYTES;

    if (when->keyword.count == 0)
        return true;
    for (size_t i = 0; traits->text != NULL && i < when->keyword.count; i++) {
        if (hw_text_has_keyword(traits->text, len, when->keyword.items[i]))
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

static bool
route_holds(const struct hw_snapshot *snapshot, size_t i, const struct hw_traits *traits,
            struct reason *reason)
{
    const struct hw_conf_when *when = &snapshot->routes[i].when;

    /* Cheap conditions first: the search for keywords reads the text. */
    return !when->present ||
           (role_holds(snapshot, when, traits, reason) && lane_holds(when, traits, reason) &&
            word_holds("agent", &when->agent, traits->agent, "none", reason) &&
            word_holds("model", &when->model, traits->model, "auto", reason) &&
            word_holds("dialect", &when->dialect, traits->dialect, "none", reason) &&
            tokens_hold(when, traits, reason) && keyword_holds(when, traits, reason));
}

int
hw_route_match(const struct hw_snapshot *snapshot, const struct hw_traits *traits)
{
    struct reason nobody = {.text = NULL};

    for (size_t i = 0; i < snapshot->route_count; i++) {
        if (route_holds(snapshot, i, traits, &nobody))
            return (int)i;
    }
    return -1;
}

bool
hw_route_explain(const struct hw_snapshot *snapshot, size_t i, const struct hw_traits *traits,
                 char *why, size_t size)
{
    struct reason reason = {.text = size > 0 ? why : NULL, .size = size};

    return route_holds(snapshot, i, traits, &reason);
}

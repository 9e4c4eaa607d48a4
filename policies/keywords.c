/* policies/keywords.c - all keywords of all roles, in one pass over the query's text.
 *
 * They are compiled into one open-addressed table of first words, each leading to the phrases that
 * begin with it. A query is split into words once (a window of 768 bytes, as CLASSIFY's recipe
 * measures it), and each word costs one probe: no loop over roles or keywords. */
#include "policies/keywords.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/words.h"

#define WINDOW_BYTES 768
#define WINDOW_HEAD 512
#define WINDOW_TAIL 255
#define MAX_PHRASE_WORDS 16
#define MAX_MATCHES 64 /* distinct keywords counted in one text */

struct phrase {
    uint64_t words[MAX_PHRASE_WORDS];
    uint32_t word_count;
    uint32_t role;
    float weight;
    int32_t next;        /* with the same first word; -1: none */
    const char *keyword; /* in keywords->text */
};

struct slot {
    uint64_t first; /* hash of the first word; 0: empty */
    int32_t phrase;
};

struct hw_keywords {
    size_t role_count;
    struct phrase *phrases;
    size_t phrase_count;
    struct slot *slots; /* slot_mask + 1 of them, at most half full */
    size_t slot_mask;
    char *text; /* the phrases' own, NUL-terminated one behind the other */
};

struct match {
    int32_t phrases[MAX_MATCHES];
    size_t count;
    float weights[HW_MAX_ROLES];
};

static struct slot *
slot_of(const struct hw_keywords *keywords, uint64_t first)
{
    size_t i = (size_t)(first >> 1) & keywords->slot_mask;

    while (keywords->slots[i].first != 0 && keywords->slots[i].first != first)
        i = (i + 1) & keywords->slot_mask;
    return &keywords->slots[i];
}

/* A phrase of n words weighs 1, 1.5, 2, ...: "hedge fund" says more than "fund", but less than two
 * keywords apart, or "should we" would outweigh "hedge" and "market". */
static float
phrase_weight(uint32_t words)
{
    return (float)(words + 1) / 2.0f;
}

static int
phrase_compile(struct phrase *phrase, const char *keyword, uint32_t role, struct hw_err *err)
{
    struct hw_words words;
    struct hw_word word;

    *phrase = (struct phrase){.role = role, .next = -1, .keyword = keyword};
    hw_words_init(&words, keyword, strlen(keyword));
    while (hw_words_next(&words, &word)) {
        if (phrase->word_count == MAX_PHRASE_WORDS)
            return hw_err_set(err, HW_EINVAL, "keyword has more than %d words, got '%s'",
                              MAX_PHRASE_WORDS, keyword);
        phrase->words[phrase->word_count++] = word.hash;
    }
    if (phrase->word_count == 0)
        return hw_err_set(err, HW_EINVAL, "keyword needs a letter or a digit, got '%s'", keyword);
    phrase->weight = phrase_weight(phrase->word_count);
    return 0;
}

static bool
same_phrase(const struct phrase *a, const struct phrase *b)
{
    return a->role == b->role && a->word_count == b->word_count &&
           memcmp(a->words, b->words, a->word_count * sizeof(a->words[0])) == 0;
}

/* Chains the phrase behind its first word; a role's keyword written twice counts once. */
static void
phrase_link(struct hw_keywords *keywords)
{
    size_t last = keywords->phrase_count;
    struct phrase *phrase = &keywords->phrases[last];
    struct slot *slot = slot_of(keywords, phrase->words[0]);

    if (slot->first == 0) {
        *slot = (struct slot){.first = phrase->words[0], .phrase = -1};
    } else {
        for (int32_t i = slot->phrase; i >= 0; i = keywords->phrases[i].next) {
            if (same_phrase(&keywords->phrases[i], phrase))
                return;
        }
    }
    phrase->next = slot->phrase;
    slot->phrase = (int32_t)last;
    keywords->phrase_count++;
}

static int
compile(struct hw_keywords *keywords, const struct hw_snapshot *snapshot, struct hw_err *err)
{
    size_t count = 0, bytes = 0, slots = 16;

    for (size_t i = 0; i < snapshot->role_count; i++) {
        const struct hw_conf_list *list = &snapshot->roles[i].keywords;
        count += list->count;
        for (size_t k = 0; k < list->count; k++)
            bytes += strlen(list->items[k]) + 1;
    }
    while (slots < 2 * count)
        slots *= 2;
    keywords->phrases = hw_xcalloc(count + 1, sizeof(*keywords->phrases));
    keywords->text = hw_xcalloc(bytes + 1, 1);
    keywords->slots = hw_xcalloc(slots, sizeof(*keywords->slots));
    keywords->slot_mask = slots - 1;

    char *text = keywords->text;
    for (size_t i = 0; i < snapshot->role_count; i++) {
        const struct hw_conf_role *role = &snapshot->roles[i];
        for (size_t k = 0; k < role->keywords.count; k++) {
            size_t len = strlen(role->keywords.items[k]) + 1;
            memcpy(text, role->keywords.items[k], len);
            struct phrase *phrase = &keywords->phrases[keywords->phrase_count];
            int rc = phrase_compile(phrase, text, (uint32_t)i, err);
            if (rc != 0) {
                hw_err_prefix(err, "roles.%s", role->name);
                return rc;
            }
            phrase_link(keywords);
            text += len;
        }
    }
    return 0;
}

static bool
is_word_byte(char c)
{
    return hw_word_class[(uint8_t)c] > 1;
}

/* Word hashes of text[from..to) behind hashes[count]; a word cut by the window's edge is left out,
 * for half a word may be a keyword that the text does not have. */
static size_t
split(const char *text, size_t len, size_t from, size_t to, uint64_t *hashes, size_t count)
{
    struct hw_words words;
    struct hw_word word;
    bool cut_before = from > 0 && is_word_byte(text[from - 1]);
    bool cut_behind = to < len && is_word_byte(text[to]);

    hw_words_init(&words, text + from, to - from);
    while (hw_words_next(&words, &word)) {
        bool starts = word.text == (const uint8_t *)text + from;
        bool ends = word.text + word.len == (const uint8_t *)text + to;
        if ((starts && cut_before) || (ends && cut_behind))
            continue;
        hashes[count++] = word.hash;
    }
    return count;
}

static size_t
split_window(const char *text, size_t len, uint64_t hashes[static WINDOW_BYTES])
{
    if (len <= WINDOW_BYTES)
        return split(text, len, 0, len, hashes, 0);
    size_t count = split(text, len, 0, WINDOW_HEAD, hashes, 0);
    hashes[count++] = 0; /* no phrase goes across the gap */
    return split(text, len, len - WINDOW_TAIL, len, hashes, count);
}

static void
match_count(const struct hw_keywords *keywords, int32_t index, struct match *match)
{
    const struct phrase *phrase = &keywords->phrases[index];

    for (size_t i = 0; i < match->count; i++) {
        if (match->phrases[i] == index)
            return; /* said twice, meant once */
    }
    if (match->count == MAX_MATCHES)
        return;
    match->phrases[match->count++] = index;
    match->weights[phrase->role] += phrase->weight;
}

static void
match_words(const struct hw_keywords *keywords, const uint64_t *hashes, size_t count,
            struct match *match)
{
    for (size_t at = 0; at < count; at++) {
        if (hashes[at] == 0)
            continue;
        const struct slot *slot = slot_of(keywords, hashes[at]);
        if (slot->first == 0)
            continue;
        for (int32_t i = slot->phrase; i >= 0; i = keywords->phrases[i].next) {
            const struct phrase *phrase = &keywords->phrases[i];
            if (phrase->word_count <= count - at &&
                memcmp(phrase->words, hashes + at, phrase->word_count * sizeof(hashes[0])) == 0)
                match_count(keywords, i, match);
        }
    }
}

int
hw_keywords_create(const struct hw_snapshot *snapshot, struct hw_keywords **out, struct hw_err *err)
{
    struct hw_keywords *keywords = hw_xcalloc(1, sizeof(*keywords));

    keywords->role_count = snapshot->role_count;
    int rc = compile(keywords, snapshot, err);
    if (rc != 0) {
        hw_keywords_destroy(&keywords);
        return rc;
    }
    *out = keywords;
    return 0;
}

void
hw_keywords_destroy(struct hw_keywords **keywords)
{
    struct hw_keywords *k = *keywords;

    if (k == NULL)
        return;
    free(k->phrases);
    free(k->slots);
    free(k->text);
    free(k);
    *keywords = NULL;
}

static void
match_text(const struct hw_keywords *keywords, const char *text, size_t len, struct match *match)
{
    uint64_t hashes[WINDOW_BYTES];

    match_words(keywords, hashes, split_window(text, len, hashes), match);
}

/* Of the role's keywords in the text the one that weighs most. */
static const char *
heaviest(const struct hw_keywords *keywords, const struct match *match, int role)
{
    const struct phrase *found = NULL;

    for (size_t i = 0; i < match->count; i++) {
        const struct phrase *phrase = &keywords->phrases[match->phrases[i]];
        if ((int)phrase->role == role && (found == NULL || phrase->weight > found->weight))
            found = phrase;
    }
    HW_ASSERT(found != NULL);
    return found->keyword;
}

bool
hw_keywords_find(const struct hw_keywords *keywords, const char *text, size_t len,
                 struct hw_keyword_match *out)
{
    struct match match = {.count = 0};
    float sum = 0.0f, best = 0.0f;
    int role = -1;

    if (keywords->phrase_count == 0)
        return false;
    match_text(keywords, text, len, &match);
    for (size_t i = 0; i < keywords->role_count; i++) {
        sum += match.weights[i];
        if (match.weights[i] > best) {
            best = match.weights[i];
            role = (int)i;
        }
    }
    if (role < 0)
        return false;
    *out = (struct hw_keyword_match){
        .role = role, .share = best / sum, .keyword = heaviest(keywords, &match, role)};
    return true;
}

void
hw_keywords_weigh(const struct hw_keywords *keywords, const char *text, size_t len,
                  float weights[static HW_MAX_ROLES])
{
    struct match match = {.count = 0};

    if (keywords->phrase_count > 0)
        match_text(keywords, text, len, &match);
    memcpy(weights, match.weights, sizeof(match.weights));
}

/* policies/classify.c - roles by keywords, in one pass over the query's text.
 *
 * All keywords of all roles are compiled into one open-addressed table of first words, each leading
 * to the phrases that begin with it. A query is split into words once (a window of 768 bytes, as
 * CLASSIFY's recipe measures it), and each word costs one probe: no loop over roles or keywords.
 * A text without keywords is handed to the learned classifier. */
#include "policies/classify.h"

#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "policies/features.h"
#include "policies/learn_roles.h"
#include "policies/rank.h"
#include "policies/words.h"

#define WINDOW_BYTES 768
#define WINDOW_HEAD 512
#define WINDOW_TAIL 255
#define MAX_PHRASE_WORDS 16
#define EXPLAINED_WORDS 5
#define MAX_MATCHES 64 /* distinct keywords counted in one text */

struct phrase {
    uint64_t words[MAX_PHRASE_WORDS];
    uint32_t word_count;
    uint32_t role;
    float weight;
    int32_t next;        /* with the same first word; -1: none */
    const char *keyword; /* in classifier->keywords */
};

struct slot {
    uint64_t first; /* hash of the first word; 0: empty */
    int32_t phrase;
};

struct named_role {
    char *name;
    int role;
};

struct hw_classifier {
    size_t role_count;
    struct phrase *phrases;
    size_t phrase_count;
    struct slot *slots; /* slot_mask + 1 of them, at most half full */
    size_t slot_mask;
    char *keywords;           /* the phrases' text, NUL-terminated one behind the other */
    struct named_role *names; /* what `model` may say to mean a role */
    size_t name_count;
    struct hw_kinds *kinds;
    struct hw_learned *learned;      /* NULL: keywords only */
    int learned_roles[HW_MAX_ROLES]; /* of each of its classes */
    float least_confidence;
    struct hw_difficulty *difficulty; /* NULL: nothing is difficult */
    float difficult_from;             /* this rank on */
};

struct match {
    int32_t phrases[MAX_MATCHES];
    size_t count;
    float weights[HW_MAX_ROLES];
};

static struct slot *
slot_of(const struct hw_classifier *classifier, uint64_t first)
{
    size_t i = (size_t)(first >> 1) & classifier->slot_mask;

    while (classifier->slots[i].first != 0 && classifier->slots[i].first != first)
        i = (i + 1) & classifier->slot_mask;
    return &classifier->slots[i];
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
phrase_link(struct hw_classifier *classifier)
{
    size_t last = classifier->phrase_count;
    struct phrase *phrase = &classifier->phrases[last];
    struct slot *slot = slot_of(classifier, phrase->words[0]);

    if (slot->first == 0) {
        *slot = (struct slot){.first = phrase->words[0], .phrase = -1};
    } else {
        for (int32_t i = slot->phrase; i >= 0; i = classifier->phrases[i].next) {
            if (same_phrase(&classifier->phrases[i], phrase))
                return;
        }
    }
    phrase->next = slot->phrase;
    slot->phrase = (int32_t)last;
    classifier->phrase_count++;
}

static int
compile_keywords(struct hw_classifier *classifier, const struct hw_snapshot *snapshot,
                 struct hw_err *err)
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
    classifier->phrases = hw_xcalloc(count + 1, sizeof(*classifier->phrases));
    classifier->keywords = hw_xcalloc(bytes + 1, 1);
    classifier->slots = hw_xcalloc(slots, sizeof(*classifier->slots));
    classifier->slot_mask = slots - 1;

    char *text = classifier->keywords;
    for (size_t i = 0; i < snapshot->role_count; i++) {
        const struct hw_conf_role *role = &snapshot->roles[i];
        for (size_t k = 0; k < role->keywords.count; k++) {
            size_t len = strlen(role->keywords.items[k]) + 1;
            memcpy(text, role->keywords.items[k], len);
            struct phrase *phrase = &classifier->phrases[classifier->phrase_count];
            int rc = phrase_compile(phrase, text, (uint32_t)i, err);
            if (rc != 0) {
                hw_err_prefix(err, "roles.%s", role->name);
                return rc;
            }
            phrase_link(classifier);
            text += len;
        }
    }
    return 0;
}

/* Role names and the aliases that end at one, to tell a role asked by `model` from one by header.
 */
static void
compile_names(struct hw_classifier *classifier, const struct hw_snapshot *snapshot)
{
    size_t max = snapshot->role_count + snapshot->alias_count;

    classifier->names = hw_xcalloc(max + 1, sizeof(*classifier->names));
    for (size_t i = 0; i < max; i++) {
        const char *name = i < snapshot->role_count
                               ? snapshot->roles[i].name
                               : snapshot->aliases[i - snapshot->role_count].name;
        int role;
        const char *resolved;
        if (hw_resolve_model(snapshot, name, &role, &resolved) != HW_MODEL_ROLE)
            continue;
        size_t size = strlen(name) + 1;
        struct named_role *named = &classifier->names[classifier->name_count++];
        named->name = hw_xcalloc(size, 1);
        memcpy(named->name, name, size);
        named->role = role;
    }
}

void
hw_classifier_destroy(struct hw_classifier **classifier)
{
    struct hw_classifier *c = *classifier;

    if (c == NULL)
        return;
    for (size_t i = 0; i < c->name_count; i++)
        free(c->names[i].name);
    free(c->names);
    free(c->phrases);
    free(c->slots);
    free(c->keywords);
    hw_learned_destroy(&c->learned);
    hw_difficulty_destroy(&c->difficulty);
    free(c->kinds);
    free(c);
    *classifier = NULL;
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
match_count(const struct hw_classifier *classifier, int32_t index, struct match *match)
{
    const struct phrase *phrase = &classifier->phrases[index];

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
match_words(const struct hw_classifier *classifier, const uint64_t *hashes, size_t count,
            struct match *match)
{
    for (size_t at = 0; at < count; at++) {
        if (hashes[at] == 0)
            continue;
        const struct slot *slot = slot_of(classifier, hashes[at]);
        if (slot->first == 0)
            continue;
        for (int32_t i = slot->phrase; i >= 0; i = classifier->phrases[i].next) {
            const struct phrase *phrase = &classifier->phrases[i];
            if (phrase->word_count <= count - at &&
                memcmp(phrase->words, hashes + at, phrase->word_count * sizeof(hashes[0])) == 0)
                match_count(classifier, i, match);
        }
    }
}

/* The role that weighs most; among equals the first of the file. */
static void
decide(const struct hw_classifier *classifier, const struct match *match, struct hw_traits *traits)
{
    float sum = 0.0f, best = 0.0f;
    const struct phrase *heaviest = NULL;

    for (size_t i = 0; i < classifier->role_count; i++) {
        sum += match->weights[i];
        if (match->weights[i] > best) {
            best = match->weights[i];
            traits->role = (int)i;
        }
    }
    if (traits->role < 0)
        return;
    traits->role_source = HW_ROLE_BY_KEYWORD;
    traits->confidence = best / sum;
    for (size_t i = 0; i < match->count; i++) {
        const struct phrase *phrase = &classifier->phrases[match->phrases[i]];
        if ((int)phrase->role == traits->role &&
            (heaviest == NULL || phrase->weight > heaviest->weight))
            heaviest = phrase;
    }
    size_t len = strnlen(heaviest->keyword, sizeof(traits->matched_keyword) - 1);
    while (len > 0 && ((uint8_t)heaviest->keyword[len] & 0xc0) == 0x80)
        len--; /* cut between characters: it is shown as JSON */
    memcpy(traits->matched_keyword, heaviest->keyword, len);
    traits->matched_keyword[len] = '\0';
}

static enum hw_role_source
asked_source(const struct hw_classifier *classifier, const struct hw_traits *traits)
{
    for (size_t i = 0; traits->model != NULL && i < classifier->name_count; i++) {
        if (classifier->names[i].role == traits->asked_role &&
            strcmp(classifier->names[i].name, traits->model) == 0)
            return HW_ROLE_BY_MODEL;
    }
    return HW_ROLE_BY_HEADER;
}

static void
classify_by_keywords(const struct hw_classifier *classifier, struct hw_traits *traits)
{
    uint64_t hashes[WINDOW_BYTES];
    struct match match = {.count = 0};
    size_t count = split_window(traits->text, traits->text_len, hashes);

    match_words(classifier, hashes, count, &match);
    decide(classifier, &match, traits);
}

static bool
has_keyword(const void *ctx, const char *text, size_t len)
{
    struct hw_traits traits = {.text = text, .text_len = len, .role = -1};
    const struct hw_classifier *classifier = ctx;

    if (classifier->phrase_count > 0)
        classify_by_keywords(classifier, &traits);
    return traits.role >= 0;
}

int
hw_classifier_create(const struct hw_snapshot *snapshot, struct hw_classifier **out,
                     struct hw_err *err)
{
    if (snapshot->role_count > HW_MAX_ROLES)
        return hw_err_set(err, HW_ELIMIT, "at most %d roles, got %zu", HW_MAX_ROLES,
                          snapshot->role_count);
    struct hw_classifier *classifier = hw_xcalloc(1, sizeof(*classifier));
    classifier->role_count = snapshot->role_count;
    classifier->kinds = hw_kinds_create();
    HW_ASSERT(classifier->kinds != NULL);
    classifier->least_confidence = (float)snapshot->classifier.confidence;
    int rc = compile_keywords(classifier, snapshot, err);
    if (rc == 0)
        rc = hw_learn_roles(snapshot, has_keyword, classifier, &classifier->learned,
                            classifier->learned_roles, err);
    if (rc == 0)
        rc = hw_learn_difficulty(snapshot, &classifier->difficulty, err);
    classifier->difficult_from = 1.0f - (float)snapshot->difficulty.strong_share;
    if (rc != 0) {
        hw_classifier_destroy(&classifier);
        return rc;
    }
    compile_names(classifier, snapshot);
    *out = classifier;
    return 0;
}

static void
take_learned(const struct hw_classifier *classifier, const struct hw_learned_answer *answer,
             struct hw_traits *traits)
{
    if (!answer->known || answer->confidence < classifier->least_confidence)
        return;
    traits->confidence = answer->confidence;
    traits->role = classifier->learned_roles[answer->label];
    traits->role_source = HW_ROLE_BY_LEARNED;
}

static void
classify_by_learning(const struct hw_classifier *classifier, struct hw_traits *traits)
{
    struct hw_learned_answer answer;

    hw_learned_answer(classifier->learned, traits->text, traits->text_len, &answer);
    take_learned(classifier, &answer, traits);
}

static void
classify_as_none(struct hw_traits *traits)
{
    traits->role = -1;
    traits->role_source = HW_ROLE_NONE;
    traits->confidence = 0.0f;
    traits->matched_keyword[0] = '\0';
    traits->difficulty = -1.0f;
    traits->difficult = false;
}

void
hw_classify_buckets(const struct hw_classifier *classifier, const uint16_t *buckets, size_t count,
                    struct hw_traits *traits)
{
    struct hw_learned_answer answer;

    classify_as_none(traits);
    if (classifier->learned == NULL)
        return;
    hw_learned_answer_buckets(classifier->learned, buckets, count, &answer);
    take_learned(classifier, &answer, traits);
}

static void
classify_role(const struct hw_classifier *classifier, struct hw_traits *traits)
{
    if (traits->asked_role >= 0 && (size_t)traits->asked_role < classifier->role_count) {
        traits->role = traits->asked_role;
        traits->role_source = asked_source(classifier, traits);
        traits->confidence = 1.0f;
        return;
    }
    if (traits->text == NULL)
        return;
    if (classifier->phrase_count > 0)
        classify_by_keywords(classifier, traits);
    if (traits->role < 0 && classifier->learned != NULL)
        classify_by_learning(classifier, traits);
}

void
hw_classify(const struct hw_classifier *classifier, struct hw_traits *traits)
{
    classify_as_none(traits);
    classify_role(classifier, traits);
    if (classifier->difficulty == NULL || traits->text == NULL)
        return;
    traits->difficulty = hw_difficulty_rank(classifier->difficulty, traits->text, traits->text_len);
    traits->difficult = traits->difficulty > classifier->difficult_from;
}

size_t
hw_classify_features(const struct hw_classifier *classifier, const char *text, size_t len,
                     uint16_t *out)
{
    return hw_features(classifier->kinds, text, len, HW_FEATURE_BITS_MAX, NULL, 0, out);
}

void
hw_classify_explain(const struct hw_classifier *classifier, const struct hw_traits *traits,
                    char *words, size_t size)
{
    struct hw_learned_word found[EXPLAINED_WORDS];
    size_t used = 0;
    int label = 0;

    words[0] = '\0';
    if (traits->role_source != HW_ROLE_BY_LEARNED)
        return;
    while (classifier->learned_roles[label] != traits->role)
        label++;
    size_t count = hw_learned_explain(classifier->learned, traits->text, traits->text_len, label,
                                      found, EXPLAINED_WORDS);
    for (size_t i = 0; i < count; i++) {
        if (found[i].len + 3 > size - used)
            break;
        if (used > 0) {
            memcpy(words + used, ", ", 2);
            used += 2;
        }
        memcpy(words + used, traits->text + found[i].at, found[i].len);
        used += found[i].len;
        words[used] = '\0';
    }
}

static int
compare_scores(const void *a, const void *b)
{
    const struct hw_role_score *x = a, *y = b;

    if (x->keywords < y->keywords || x->keywords > y->keywords)
        return x->keywords > y->keywords ? -1 : 1;
    if (x->learned != y->learned)
        return x->learned ? -1 : 1;
    if (x->score < y->score || x->score > y->score)
        return x->score > y->score ? -1 : 1;
    return x->role - y->role;
}

void
hw_classify_scores(const struct hw_classifier *classifier, const struct hw_traits *traits,
                   struct hw_role_score *scores)
{
    uint64_t hashes[WINDOW_BYTES];
    float learned[HW_MAX_ROLES];
    struct match match = {.count = 0};

    if (traits->text != NULL && classifier->phrase_count > 0)
        match_words(classifier, hashes, split_window(traits->text, traits->text_len, hashes),
                    &match);
    for (size_t i = 0; i < classifier->role_count; i++)
        scores[i] = (struct hw_role_score){.role = (int)i, .keywords = match.weights[i]};
    if (traits->text != NULL && classifier->learned != NULL) {
        hw_learned_scores(classifier->learned, traits->text, traits->text_len, learned);
        for (size_t c = 0; c < hw_learned_classes(classifier->learned); c++) {
            scores[classifier->learned_roles[c]].learned = true;
            scores[classifier->learned_roles[c]].score = learned[c];
        }
    }
    qsort(scores, classifier->role_count, sizeof(*scores), compare_scores);
}

uint32_t
hw_estimate_tokens(uint64_t bytes)
{
    uint64_t tokens =
        bytes / 4 + (bytes % 4 != 0); /* English text under BPE: about four bytes each */
    return tokens > UINT32_MAX ? UINT32_MAX : (uint32_t)tokens;
}

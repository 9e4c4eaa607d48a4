/* policies/learn_explain.c - which words of a text spoke for a class.
 *
 * Each word is blanked out in turn and the text scored again: what the score loses is what the word
 * was worth, with its pairs and all. Honest, simple, and slow enough for `hatchway route` only. */
#include <stdlib.h>
#include <string.h>

#include "policies/learn_private.h"
#include "policies/words.h"

/* Keeps words[0..count) sorted by weight, heaviest first, at most max of them. */
static size_t
insert(struct hw_learned_word *words, size_t count, size_t max, struct hw_learned_word word)
{
    size_t at = count;

    while (at > 0 && words[at - 1].weight < word.weight)
        at--;
    if (at == max)
        return count;
    if (count < max)
        count++;
    memmove(words + at + 1, words + at, (count - at - 1) * sizeof(words[0]));
    words[at] = word;
    return count;
}

/* The same word stands earlier in the text: it has been weighed. */
static bool
weighed(const char *text, size_t at, uint64_t hash)
{
    struct hw_words words;
    struct hw_word word;

    hw_words_init(&words, text, at);
    while (hw_words_next(&words, &word))
        if (word.hash == hash)
            return true;
    return false;
}

/* Blanks every occurrence of a word in copy, which has the text. */
static void
blank(const char *text, size_t len, uint64_t hash, char *copy)
{
    struct hw_words words;
    struct hw_word word;

    hw_words_init(&words, text, len);
    while (hw_words_next(&words, &word))
        if (word.hash == hash)
            memset(copy + (word.text - (const uint8_t *)text), ' ', word.len);
}

size_t
hw_learned_explain(const struct hw_learned *learned, const char *text, size_t len, int label,
                   struct hw_learned_word *found, size_t max)
{
    char window[HW_FEATURE_HEAD], copy[HW_FEATURE_HEAD];
    float scores[HW_LEARN_CLASSES_MAX];
    struct hw_words words;
    struct hw_word word;
    size_t count = 0;

    if (label < 0 || (size_t)label >= learned->class_count || max == 0)
        return 0;
    len = len < sizeof(window) ? len : sizeof(window);
    memcpy(window, text, len);
    hw_learned_scores(learned, window, len, scores);
    float whole = scores[label];
    hw_words_init(&words, window, len);
    while (hw_words_next(&words, &word)) {
        size_t at = (size_t)(word.text - (const uint8_t *)window);
        if (weighed(window, at, word.hash))
            continue;
        memcpy(copy, window, len);
        blank(window, len, word.hash, copy);
        hw_learned_scores(learned, copy, len, scores);
        float weight = whole - scores[label];
        if (weight > 0.0f)
            count = insert(found, count, max, (struct hw_learned_word){at, word.len, weight});
    }
    return count;
}

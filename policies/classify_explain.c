/* policies/classify_explain.c - why a query has its role: for people, not for the hot path. */
#include <stdlib.h>
#include <string.h>

#include "policies/classify_private.h"

#define EXPLAINED_WORDS 5

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
    float keywords[HW_MAX_ROLES] = {0}, learned[HW_MAX_ROLES];

    if (traits->text != NULL)
        hw_keywords_weigh(classifier->keywords, traits->text, traits->text_len, keywords);
    for (size_t i = 0; i < classifier->role_count; i++)
        scores[i] = (struct hw_role_score){.role = (int)i, .keywords = keywords[i]};
    if (traits->text != NULL && classifier->learned != NULL) {
        hw_learned_scores(classifier->learned, traits->text, traits->text_len, learned);
        for (size_t c = 0; c < hw_learned_classes(classifier->learned); c++) {
            scores[classifier->learned_roles[c]].learned = true;
            scores[classifier->learned_roles[c]].score = learned[c];
        }
    }
    qsort(scores, classifier->role_count, sizeof(*scores), compare_scores);
}

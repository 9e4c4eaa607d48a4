/* The changes are those that people make: they open a question otherwise ("Can you tell me what X
 * is?"), leave out small words, mistype, shout or whisper, and greet. Each draws its own dice, in a
 * fixed order, so that a seed gives the same text again. */
#include "engine/train_augment.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* "What is REST?" -> before + REST + after. */
struct opening {
    const char *from;
    const char *before[6];
    const char *after; /* where the verb goes when the question becomes a request; "" if nowhere */
};

static const struct opening openings[] = {
    {"What is ",
     {"Tell me what ", "Can you tell me what ", "Please say what ", "Do you know what ",
      "I want to know what ", "Explain what "},
     " is"},
    {"What is ", {"What's ", "Describe ", "Explain ", "Define ", "Tell me about ", "Name "}, ""},
    {"What are ",
     {"Tell me what ", "Can you tell me what ", "Please say what ", "Do you know what ",
      "I want to know what ", "Explain what "},
     " are"},
    {"What are ", {"List ", "Describe ", "Explain ", "Name ", "Tell me about ", "Show me "}, ""},
    {"How do I ",
     {"How can I ", "How to ", "How should I ", "Tell me how to ", "What is the way to ",
      "I want to "},
     ""},
    {"How can I ",
     {"How do I ", "How to ", "How would I ", "Explain how to ", "Show me how to ",
      "What must I do to "},
     ""},
    {"Does ",
     {"Can you tell me if ", "Tell me whether ", "Is it true that ", "I wonder if ",
      "Do you know if ", "Will "},
     ""},
    {"Can I ",
     {"May I ", "Could I ", "Is it possible to ", "Am I able to ", "Is there a way to ",
      "How can I "},
     ""},
    {"Which ",
     {"What ", "Tell me which ", "Say which ", "Name which ", "Of all, which ", "what "},
     ""},
    {"What does ",
     {"Explain what ", "Tell me what ", "Say what ", "Can you tell me what ", "Describe what ",
      "I ask what "},
     ""},
    {"Where ",
     {"In which place ", "Tell me where ", "Say where ", "where ", "Whereabouts ",
      "Do you know where "},
     ""},
    {"Why ",
     {"Tell me why ", "For what reason ", "Explain why ", "How come ", "why ", "Say why "},
     ""},
    {"When ",
     {"At what time ", "Tell me when ", "Explain when ", "In which case ", "when ", "Say when "},
     ""},
};

static const char *const greetings[] = {
    "Please ", "Hi, ",  "Hello, ",          "Question: ", "Hey, ",
    "So, ",    "Now, ", "Quick question: ", "OK, ",       "And ",
};
static const char *const farewells[] = {" please", ", please?", " Thanks!", " thanks",
                                        "?!",      "??",        " now?",    " here?"};
static const char *const small_words[] = {"the", "a",  "an",   "is",  "are",  "do",   "does", "in",
                                          "of",  "to", "for",  "can", "i",    "it",   "my",   "on",
                                          "by",  "at", "with", "be",  "that", "this", "you",  "me"};

static bool
one_in(struct hw_train_rng *rng, size_t n)
{
    return hw_train_rng_below(rng, n) == 0;
}

static void
put(char *out, const char *a, const char *b, const char *c)
{
    int n = snprintf(out, HW_TRAIN_QUESTION_MAX, "%s%s%s", a, b, c);

    if (n < 0 || n >= HW_TRAIN_QUESTION_MAX)
        out[0] = '\0'; /* the caller keeps what it had */
}

static void
set_if_fits(char *text, const char *changed)
{
    if (changed[0] != '\0')
        memcpy(text, changed, strlen(changed) + 1);
}

static void
cut_end(char *text)
{
    size_t len = strlen(text);

    while (len > 1 && strchr("?.! ", text[len - 1]) != NULL)
        text[--len] = '\0';
}

static void
reopen(char *text, struct hw_train_rng *rng)
{
    size_t start = hw_train_rng_below(rng, COUNT(openings));
    size_t which = hw_train_rng_below(rng, COUNT(openings[0].before));
    char changed[HW_TRAIN_QUESTION_MAX];

    for (size_t i = 0; i < COUNT(openings); i++) {
        const struct opening *opening = &openings[(start + i) % COUNT(openings)];
        size_t from = strlen(opening->from);
        if (strncmp(text, opening->from, from) != 0)
            continue;
        cut_end(text);
        put(changed, opening->before[which], text + from, opening->after);
        set_if_fits(text, changed);
        put(changed, text, one_in(rng, 2) ? "?" : ".", "");
        set_if_fits(text, changed);
        return;
    }
}

static bool
is_small(const char *word, size_t len)
{
    for (size_t i = 0; i < COUNT(small_words); i++)
        if (strlen(small_words[i]) == len && strncasecmp(small_words[i], word, len) == 0)
            return true;
    return false;
}

/* Small words go one time in three, others one in twelve. */
static void
drop_words(char *text, struct hw_train_rng *rng)
{
    char kept[HW_TRAIN_QUESTION_MAX];
    size_t used = 0, words = 0;

    for (const char *word = text; *word != '\0';) {
        size_t len = strcspn(word, " ");
        size_t gap = strspn(word + len, " ");
        if (!one_in(rng, is_small(word, len) ? 3 : 12)) {
            memcpy(kept + used, word, len + gap);
            used += len + gap;
            words++;
        }
        word += len + gap;
    }
    kept[used] = '\0';
    if (words >= 2)
        memcpy(text, kept, used + 1);
}

/* "does it cache errors" -> "cache errors does it": which words come matters more than where. */
static void
turn_words(char *text, struct hw_train_rng *rng)
{
    char turned[HW_TRAIN_QUESTION_MAX];
    size_t pivot = hw_train_rng_below(rng, strlen(text) + 1);
    const char *space = strchr(text + pivot, ' ');

    if (space == NULL)
        return;
    cut_end(text);
    if (space >= text + strlen(text))
        return;
    size_t head = (size_t)(space - text), tail = strlen(space + 1);
    memcpy(turned, space + 1, tail);
    turned[tail] = ' ';
    memcpy(turned + tail + 1, text, head);
    turned[tail + 1 + head] = '\0';
    memcpy(text, turned, tail + head + 2);
}

/* Swaps, drops or doubles one letter inside a word. */
static void
mistype(char *text, struct hw_train_rng *rng)
{
    size_t len = strlen(text);
    size_t at = hw_train_rng_below(rng, len + 1);
    size_t way = hw_train_rng_below(rng, 3);

    if (len < 8 || len + 2 > HW_TRAIN_QUESTION_MAX || at + 2 >= len ||
        !isalpha((unsigned char)text[at]) || !isalpha((unsigned char)text[at + 1]))
        return;
    if (way == 0) {
        char c = text[at];
        text[at] = text[at + 1];
        text[at + 1] = c;
    } else if (way == 1) {
        memmove(text + at, text + at + 1, len - at);
    } else {
        memmove(text + at + 1, text + at, len - at + 1);
    }
}

static void
lower(char *text)
{
    for (; *text != '\0'; text++)
        *text = (char)tolower((unsigned char)*text);
}

/* The first word keeps its capital when the second letter is one too (BDH, SIGHUP). */
static void
lower_first(char *text)
{
    if (!isupper((unsigned char)text[1]))
        text[0] = (char)tolower((unsigned char)text[0]);
}

void
hw_train_augment(const char *question, struct hw_train_rng *rng, char out[HW_TRAIN_QUESTION_MAX])
{
    char changed[HW_TRAIN_QUESTION_MAX];

    put(out, question, "", "");
    if (out[0] == '\0')
        return;
    if (one_in(rng, 3))
        reopen(out, rng);
    if (one_in(rng, 3))
        drop_words(out, rng);
    if (one_in(rng, 8))
        turn_words(out, rng);
    if (one_in(rng, 4))
        mistype(out, rng);
    if (one_in(rng, 4))
        cut_end(out);
    if (one_in(rng, 4)) {
        lower_first(out);
        if (one_in(rng, 2))
            lower(out);
    }
    if (one_in(rng, 6)) {
        lower_first(out);
        put(changed, greetings[hw_train_rng_below(rng, COUNT(greetings))], out, "");
        set_if_fits(out, changed);
    }
    if (one_in(rng, 10)) {
        cut_end(out);
        put(changed, out, farewells[hw_train_rng_below(rng, COUNT(farewells))], "");
        set_if_fits(out, changed);
    }
}

/* The first space at or behind a random place, or the end. */
static size_t
word_end(const char *text, struct hw_train_rng *rng)
{
    size_t from = hw_train_rng_below(rng, strlen(text) + 1);

    return from + strcspn(text + from, " ");
}

void
hw_train_splice(const char *one, const char *other, struct hw_train_rng *rng,
                char out[HW_TRAIN_QUESTION_MAX])
{
    size_t head = word_end(one, rng), tail = word_end(other, rng);

    if (head + strlen(other + tail) < HW_TRAIN_QUESTION_MAX) {
        memcpy(out, one, head);
        memcpy(out + head, other + tail, strlen(other + tail) + 1);
    } else {
        put(out, one, "", "");
    }
}

static const char *
skip_to_letter(const char *text)
{
    while (*text != '\0' && !isalnum((unsigned char)*text))
        text++;
    return text;
}

static bool
begins_with(const char *text, const char *part)
{
    for (;; text++, part++) {
        text = skip_to_letter(text);
        part = skip_to_letter(part);
        if (*part == '\0')
            return true;
        if (tolower((unsigned char)*text) != tolower((unsigned char)*part))
            return false;
    }
}

bool
hw_train_holds_question(const char *text, const char *part)
{
    if (*skip_to_letter(part) == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (begins_with(text, part))
            return true;
    return false;
}

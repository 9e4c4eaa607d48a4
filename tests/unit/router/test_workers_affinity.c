/* A conversation's next turn goes where the turns before went, and load spreads all the same. */
#include <limits.h>

#include "router/workers_affinity.h"
#include "workers_world.h"

#define PARTS 4

struct talk {
    struct hw_worker_turn turns[2 * PARTS];
    struct hw_worker_ask ask;
};

/* NULL ends the texts. roles: a letter a turn; where they end a user's, an assistant's, and so on.
 */
static struct talk *
talk_of(struct talk *talk, const char *roles, const char *const *texts)
{
    static const struct hw_frame_open open = {.max_tokens = 10, .top_p = 1};
    size_t count = 0;

    for (; texts[count] != NULL; count++) {
        char letter = "ua"[count % 2];
        if (*roles != '\0')
            letter = *roles++;
        talk->turns[count] = (struct hw_worker_turn){letter == 's'   ? HW_FRAME_ROLE_SYSTEM
                                                     : letter == 'a' ? HW_FRAME_ROLE_ASSISTANT
                                                                     : HW_FRAME_ROLE_USER,
                                                     texts[count], strlen(texts[count])};
    }
    talk->ask = (struct hw_worker_ask){BACKEND, &open, talk->turns, count, 0};
    return talk;
}

#define TALK_AS(roles, ...)                                                                        \
    talk_of(&(struct talk){0}, roles, (const char *const[]){__VA_ARGS__, NULL})
#define TALK(...) TALK_AS("", __VA_ARGS__)

static char *
filled(char *text, size_t len, char with)
{
    memset(text, with, len);
    text[len] = '\0';
    return text;
}

/* --- the table ------------------------------------------------------------------------------- */

static uint64_t
find(struct hw_affinity *affinity, const struct talk *talk)
{
    struct hw_affinity_key key = hw_affinity_key(affinity, &talk->ask);
    uint32_t margin;

    return hw_affinity_find(affinity, &key, &margin);
}

static uint32_t
margin_of(struct hw_affinity *affinity, const struct talk *talk)
{
    struct hw_affinity_key key = hw_affinity_key(affinity, &talk->ask);
    uint32_t margin;

    hw_affinity_find(affinity, &key, &margin);
    return margin;
}

static void
note(struct hw_affinity *affinity, const struct talk *talk, uint64_t slot)
{
    struct hw_affinity_key key = hw_affinity_key(affinity, &talk->ask);

    hw_affinity_note(affinity, &key, slot);
}

static void
test_a_conversation_is_known_by_what_was_asked_before(void **state)
{
    (void)state;
    struct hw_affinity *affinity = hw_affinity_create();
    char one[601], two[601], more[700];

    filled(one, 600, 'x');
    memcpy(two, one, sizeof(two));
    two[590] = 'y'; /* begins alike */
    snprintf(more, sizeof(more), "%s and more", one);
    assert_int_equal(find(affinity, TALK("hello")), 0);
    note(affinity, TALK("hello"), 7);
    note(affinity, TALK(one), 8);
    note(affinity, TALK(two), 9);
    assert_int_equal(find(affinity, TALK("hello")), 7);
    assert_int_equal(find(affinity, TALK("hello", "hi", "and now?")), 7);
    assert_int_equal(find(affinity, TALK("hello!")), 0);
    assert_int_equal(find(affinity, TALK(one, "a", "b")), 8);
    assert_int_equal(find(affinity, TALK(two, "a", "b")), 9);
    assert_int_equal(find(affinity, TALK(more)), 9); /* the last that began so */

    struct talk *other = TALK("hello");
    other->ask.backend = "another";
    assert_int_equal(find(affinity, other), 0);
    note(affinity, TALK_AS("su", "be kind", "hello"), 11);
    assert_int_equal(find(affinity, TALK_AS("suau", "be kind", "hello", "hi", "and now?")), 11);
    assert_int_equal(find(affinity, TALK_AS("su", "be rude", "hello")), 0);
    struct talk *nothing = TALK("");
    nothing->ask.turn_count = 0;
    note(affinity, nothing, 12);
    assert_int_equal(find(affinity, nothing), 12);
    hw_affinity_destroy(&affinity);
}

/* Two conversations may part at any turn; each goes on where it was read. */
static void
test_conversations_that_part_late(void **state)
{
    (void)state;
    struct hw_affinity *affinity = hw_affinity_create();

    note(affinity, TALK("hello", "hi", "left?"), 3);
    note(affinity, TALK("hello", "hi", "right?"), 4);
    assert_int_equal(find(affinity, TALK("hello", "hi", "left?", "yes", "go on")), 3);
    assert_int_equal(find(affinity, TALK("hello", "hi", "right?", "yes", "go on")), 4);
    /* Sent elsewhere, it is known there from now on; so is what it went on from. */
    note(affinity, TALK("hello", "hi", "left?", "yes", "go on"), 5);
    assert_int_equal(find(affinity, TALK("hello", "hi", "left?", "no", "really")), 5);
    assert_int_equal(find(affinity, TALK("hello", "hi", "right?", "yes", "go on")), 4);

    note(affinity, TALK("sing", "La"), 6); /* an answer that the agent has begun */
    assert_int_equal(find(affinity, TALK("sing", "Lalala", "more")), 6);
    note(affinity, TALK("sing", "Lalala", "more", "Lo"), 7);
    note(affinity, TALK("sing", "Lalala", "else"), 8);
    assert_int_equal(find(affinity, TALK("sing", "Lalala", "more", "Lolo", "so?")), 7);
    note(affinity, TALK_AS("au", "How can I help?", "sing"), 9); /* one that greets */
    assert_int_equal(find(affinity, TALK_AS("auau", "How can I help?", "sing", "No", "sing!")), 9);
    hw_affinity_destroy(&affinity);
}

static void
test_the_table_forgets_what_is_oldest(void **state)
{
    (void)state;
    struct hw_affinity *affinity = hw_affinity_create();
    char text[32];
    int known = 0;

    note(affinity, TALK("kept"), 5);
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "conversation %d", i);
        note(affinity, TALK(text), 6);
        assert_int_equal(find(affinity, TALK(text)), 6);
        note(affinity, TALK("kept"), 5);
    }
    assert_int_equal(find(affinity, TALK("kept")), 5);
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "conversation %d", i);
        known += find(affinity, TALK(text)) == 6;
    }
    assert_in_range(known, 500, 2000);
    hw_affinity_destroy(&affinity);
}

static void
test_what_a_worker_spares(void **state)
{
    (void)state;
    struct hw_affinity *affinity = hw_affinity_create();
    char text[2001], document[100001];

    filled(text, 2000, 'x');
    filled(document, 100000, 'y');
    note(affinity, TALK("hello"), 7);
    note(affinity, TALK(text), 8);
    assert_int_equal(margin_of(affinity, TALK("hello", "hi", "so?")), 0);
    assert_int_equal(margin_of(affinity, TALK("hello", text + 1400, "so?")), 1);
    assert_int_equal(margin_of(affinity, TALK("hello", text, "so?")), 2);
    assert_int_equal(margin_of(affinity, TALK(text, "", "so?")), 2);
    /* What is new was read nowhere, however long it is. */
    assert_int_equal(margin_of(affinity, TALK("hello", "hi", document)), 0);
    assert_int_equal(margin_of(affinity, TALK_AS("uauu", "hello", "hi", document, "so?")), 0);
    /* Known by its beginning alone: so much and no more was read, perhaps. */
    assert_int_equal(find(affinity, TALK(text, "", "and", "", "so?")), 8);
    assert_int_equal(margin_of(affinity, TALK(text, "", "and", "", "so?")), 0);
    assert_int_equal(margin_of(affinity, TALK(text)), 0);
    hw_affinity_destroy(&affinity);
}

/* They stand before many questions, and are no conversation: nobody asked the last of them. */
static void
test_examples_before_a_question(void **state)
{
    (void)state;
    struct hw_affinity *affinity = hw_affinity_create();
    char text[2001];

    filled(text, 2000, 'x');
    for (uint64_t i = 1; i < 10; i++) {
        char ask[16];
        snprintf(ask, sizeof(ask), "ask %d", (int)i);
        assert_int_equal(find(affinity, TALK_AS("suau", text, "eg", text, ask)), i - 1);
        assert_int_equal(margin_of(affinity, TALK_AS("suau", text, "eg", text, ask)), 0);
        note(affinity, TALK_AS("suau", text, "eg", text, ask), i);
    }
    assert_int_equal(find(affinity, TALK_AS("suauau", text, "eg", text, "ask 3", "", "so?")), 3);
    assert_int_equal(margin_of(affinity, TALK_AS("suauau", text, "eg", text, "ask 3", "", "so?")),
                     2);

    /* As do many instructions. */
    note(affinity, TALK_AS("ssssu", text, "b", "c", "d", "ask 1"), 21);
    note(affinity, TALK_AS("ssssu", text, "b", "c", "d", "ask 2"), 22);
    assert_int_equal(margin_of(affinity, TALK_AS("ssssu", text, "b", "c", "d", "ask 3")), 0);
    assert_int_equal(find(affinity, TALK_AS("ssssuau", text, "b", "c", "d", "ask 1", "", "so?")),
                     21);
    hw_affinity_destroy(&affinity);
}

/* --- with workers ---------------------------------------------------------------------------- */

static void
begin_asked(struct hw_workers *workers, const struct talk *talk, struct asked *asked)
{
    struct hw_err err = {""};

    *asked = (struct asked){0};
    if (hw_workers_ask(workers, &talk->ask, &events, asked, &asked->call, &err) != 0)
        fail_msg("ask: %s", err.msg);
}

/* The last turn says "pid": of the worker that is asked. */
static int
pid_of(struct world *w, struct hw_workers *workers, const struct talk *talk)
{
    struct asked asked;

    begin_asked(workers, talk, &asked);
    wait_end(w, &asked);
    assert_int_equal(asked.dones, 1);
    assert_in_range(atoi(asked.text), 2, INT_MAX);
    return atoi(asked.text);
}

static void
test_the_next_turn_goes_where_the_first_went(void **state)
{
    enum { TALKS = 24 };
    struct world w;
    int pids[TALKS], others = 0;
    char first[TALKS][16];
    (void)state;

    begin(&w, "any", 3);
    struct hw_workers *second = hw_workers_create(&w.loop, w.supervisor); /* another loop's */
    int closed = 0;
    wait_ready(&w, 3);
    for (int i = 0; i < 500 && hw_workers_ready(second, BACKEND) != 3; i++)
        run_for(&w, 10);
    for (int i = 0; i < TALKS; i++) {
        snprintf(first[i], sizeof(first[i]), "%d pid", i);
        pids[i] = pid_of(&w, w.workers, TALK(first[i]));
        others += pids[i] != pids[0];
    }
    assert_in_range(others, 1, TALKS - 1); /* though none was ever busy */
    for (int i = 0; i < TALKS; i++)
        assert_int_equal(pid_of(&w, i % 2 == 0 ? second : w.workers, TALK(first[i], "", "pid")),
                         pids[i]);
    hw_workers_close(second, on_closed, &closed);
    while (closed == 0)
        uv_run(&w.loop, UV_RUN_ONCE);
    end(&w);
}

/* Who waited goes to the first that is up, and so do the turns that follow. */
static void
test_those_that_waited_are_known_too(void **state)
{
    enum { TALKS = 8 };
    struct world w;
    struct asked asked[TALKS];
    char first[TALKS][16];
    (void)state;

    begin(&w, "any", 3);
    for (int i = 0; i < TALKS; i++) {
        snprintf(first[i], sizeof(first[i]), "%d pid", i);
        struct talk *talk = TALK(first[i]);
        talk->ask.wait_ms = 20000;
        begin_asked(w.workers, talk, &asked[i]);
    }
    for (int i = 0; i < TALKS; i++)
        wait_end(&w, &asked[i]);
    wait_ready(&w, 3);
    for (int i = 0; i < TALKS; i++)
        assert_int_equal(pid_of(&w, w.workers, TALK(first[i], "", "pid")), atoi(asked[i].text));
    end(&w);
}

static void
test_a_busy_worker_is_not_preferred(void **state)
{
    struct world w;
    struct asked hang[2];
    char text[601];
    (void)state;

    filled(text, 600, 'x');
    begin(&w, "any", 3);
    wait_ready(&w, 3);
    int known = pid_of(&w, w.workers, TALK("pid"));
    begin_asked(w.workers, TALK("pid", "", "hang"), &hang[0]);
    wait_start(&w, &hang[0]);
    /* It is in the way of a query that goes on from little, and less so of one from much. */
    assert_int_equal(pid_of(&w, w.workers, TALK("pid", text, "pid")), known);
    int idle = pid_of(&w, w.workers, TALK("pid", "", "pid"));
    assert_int_not_equal(idle, known);
    /* From now on that one knows it. */
    begin_asked(w.workers, TALK("pid", "", "hang"), &hang[1]);
    wait_start(&w, &hang[1]);
    assert_int_equal(pid_of(&w, w.workers, TALK("pid", text, "pid")), idle);
    hw_worker_call_cancel(hang[0].call);
    hw_worker_call_cancel(hang[1].call);
    assert_int_equal(pid_of(&w, w.workers, TALK("pid", "", "pid")), idle);
    end(&w);
}

/* Nine asks that stay, of which each of three workers has three: three more go one to each. */
static void
assert_even(struct world *w, const struct talk *talks, const struct talk *pids)
{
    struct asked hangs[9], asked[3];

    for (int i = 0; i < 9; i++)
        begin_asked(w->workers, &talks[i], &hangs[i]);
    for (int i = 0; i < 9; i++)
        wait_start(w, &hangs[i]);
    for (int i = 0; i < 3; i++)
        begin_asked(w->workers, &pids[i], &asked[i]);
    for (int i = 0; i < 3; i++)
        wait_end(w, &asked[i]);
    assert_string_not_equal(asked[0].text, asked[1].text);
    assert_string_not_equal(asked[1].text, asked[2].text);
    assert_string_not_equal(asked[2].text, asked[0].text);
    for (int i = 0; i < 9; i++)
        hw_worker_call_cancel(hangs[i].call);
}

/* Queries that have a beginning in common are spread, however long each of them is: what is shared
 * for certain is short. */
static void
test_one_beginning_does_not_fill_one_worker(void **state)
{
    struct world w;
    struct talk talks[12];
    char texts[12][2001], example[2001];
    (void)state;

    begin(&w, "any", 3);
    wait_ready(&w, 3);
    /* The same short query. */
    for (int i = 0; i < 12; i++)
        talk_of(&talks[i], "", (const char *const[]){i < 9 ? "hang" : "pid", NULL});
    assert_even(&w, talks, talks + 9);
    /* A template of 300 bytes, and more than 1 KiB of each query's own. */
    for (int i = 0; i < 12; i++) {
        filled(texts[i], 1500, 't');
        snprintf(texts[i] + 300, sizeof(texts[i]) - 300, "%01200d %s", i, i < 9 ? "hang" : "pid");
        talk_of(&talks[i], "", (const char *const[]){texts[i], NULL});
    }
    assert_even(&w, talks, talks + 9);
    /* Long examples before each question. */
    filled(example, 2000, 'e');
    for (int i = 0; i < 12; i++)
        talk_of(&talks[i], "suau",
                (const char *const[]){example, "e.g.", example, i < 9 ? "hang" : "pid", NULL});
    assert_even(&w, talks, talks + 9);
    /* A short conversation, and then a long document. */
    pid_of(&w, w.workers, TALK("pid"));
    for (int i = 0; i < 12; i++)
        talk_of(&talks[i], "", (const char *const[]){"pid", "", texts[i], NULL});
    assert_even(&w, talks, talks + 9);
    end(&w);
}

/* One long conversation that goes on at many places at once: the worker that knows it gets three
 * queries more than the other (the margin of 2, and one), then the other is the one that knows. */
static void
test_the_most_a_worker_may_be_ahead(void **state)
{
    enum { ASKS = 9 };
    struct world w;
    struct asked hangs[ASKS];
    char text[2001];
    int errors = 0;
    (void)state;

    snprintf(filled(text, 2000, 'x') + 1996, 5, " pid");
    begin(&w, "any", 2);
    wait_ready(&w, 2);
    int known = pid_of(&w, w.workers, TALK(text));
    for (int i = 0; i < ASKS; i++)
        begin_asked(w.workers, TALK(text, "", "hang"), &hangs[i]);
    for (int i = 0; i < ASKS; i++)
        wait_start(&w, &hangs[i]);
    kill(known, SIGKILL);
    wait_end(&w, &hangs[0]);
    run_for(&w, 50);
    for (int i = 0; i < ASKS; i++)
        errors += hangs[i].errors;
    assert_int_equal(errors, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(hangs[i].errors, 1); /* the first three, then six to the other */
    for (int i = 3; i < ASKS; i++)
        hw_worker_call_cancel(hangs[i].call);
    end(&w);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_conversation_is_known_by_what_was_asked_before),
        cmocka_unit_test(test_conversations_that_part_late),
        cmocka_unit_test(test_the_table_forgets_what_is_oldest),
        cmocka_unit_test(test_what_a_worker_spares),
        cmocka_unit_test(test_examples_before_a_question),
        cmocka_unit_test(test_the_next_turn_goes_where_the_first_went),
        cmocka_unit_test(test_those_that_waited_are_known_too),
        cmocka_unit_test(test_a_busy_worker_is_not_preferred),
        cmocka_unit_test(test_one_beginning_does_not_fill_one_worker),
        cmocka_unit_test(test_the_most_a_worker_may_be_ahead),
    };

    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return scripted_worker(argv);
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

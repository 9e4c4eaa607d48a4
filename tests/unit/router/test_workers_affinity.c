/* A conversation's next turn goes where the turns before went, and load spreads all the same. */
#include "router/workers_affinity.h"
#include "workers_world.h"

#define PARTS 3

struct talk {
    struct hw_worker_turn turns[2 * PARTS];
    struct hw_worker_ask ask;
};

/* NULL ends the texts: a user's, an assistant's, and so on. */
static struct talk *
talk_of(struct talk *talk, const char *const *texts)
{
    static const struct hw_frame_open open = {.max_tokens = 10, .top_p = 1};
    size_t count = 0;

    for (; texts[count] != NULL; count++)
        talk->turns[count] =
            (struct hw_worker_turn){count % 2 == 0 ? HW_FRAME_ROLE_USER : HW_FRAME_ROLE_ASSISTANT,
                                    texts[count], strlen(texts[count])};
    talk->ask = (struct hw_worker_ask){BACKEND, &open, talk->turns, count, 0};
    return talk;
}

#define TALK(...) talk_of(&(struct talk){0}, (const char *const[]){__VA_ARGS__, NULL})

/* --- the table ------------------------------------------------------------------------------- */

static uint64_t
find(struct hw_affinity *affinity, const struct talk *talk)
{
    struct hw_affinity_key key = hw_affinity_key(affinity, &talk->ask);

    return hw_affinity_find(affinity, &key);
}

static void
note(struct hw_affinity *affinity, const struct talk *talk, uint64_t slot)
{
    struct hw_affinity_key key = hw_affinity_key(affinity, &talk->ask);

    hw_affinity_note(affinity, &key, slot);
}

static void
test_a_conversation_is_known_by_its_beginning(void **state)
{
    (void)state;
    struct hw_affinity *affinity = hw_affinity_create();
    char one[600], two[600], more[700];

    memset(one, 'x', sizeof(one) - 1);
    one[sizeof(one) - 1] = '\0';
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
    struct talk *system = TALK("be kind", "", "hello", "hi", "and now?");
    system->turns[0].role = HW_FRAME_ROLE_SYSTEM;
    note(affinity, system, 11);
    system->ask.turn_count = 3;
    assert_int_equal(find(affinity, system), 11);
    system->turns[0].bytes = "be rude";
    assert_int_equal(find(affinity, system), 0);
    struct talk *nothing = TALK("");
    nothing->ask.turn_count = 0;
    note(affinity, nothing, 12);
    assert_int_equal(find(affinity, nothing), 12);
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
test_what_a_long_prompt_is_worth(void **state)
{
    (void)state;
    char text[2000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(hw_affinity_margin(&TALK("hello")->ask), 0);
    assert_int_equal(hw_affinity_margin(&TALK("hello", text + 1300, "so?")->ask), 1);
    assert_int_equal(hw_affinity_margin(&TALK(text, text, text)->ask), 2);
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
    char answer[600];
    (void)state;

    memset(answer, 'x', sizeof(answer) - 1);
    answer[sizeof(answer) - 1] = '\0';
    begin(&w, "any", 3);
    wait_ready(&w, 3);
    int known = pid_of(&w, w.workers, TALK("", "", "pid"));
    begin_asked(w.workers, TALK("", "", "hang"), &hang[0]);
    wait_start(&w, &hang[0]);
    /* It is in the way of a short query, and less so of a long one. */
    assert_int_equal(pid_of(&w, w.workers, TALK("", answer, "pid")), known);
    begin_asked(w.workers, TALK("", answer, "", "", "hang"), &hang[1]); /* "longhang": is echoed */
    wait_end(&w, &hang[1]);
    assert_string_equal(hang[1].text, "longhang");
    int idle = pid_of(&w, w.workers, TALK("", "", "pid"));
    assert_int_not_equal(idle, known);
    /* From now on that one knows it. */
    assert_int_equal(pid_of(&w, w.workers, TALK("", answer, "pid")), idle);
    hw_worker_call_cancel(hang[0].call);
    assert_int_equal(pid_of(&w, w.workers, TALK("", "", "pid")), idle);
    end(&w);
}

/* Whatever its prompt, a conversation that asks at many places at once is spread. */
static void
test_one_conversation_does_not_fill_one_worker(void **state)
{
    enum { ASKS = 9 };
    struct world w;
    struct asked hangs[ASKS];
    char pids[3][16] = {"", "", ""};
    (void)state;

    begin(&w, "any", 3);
    wait_ready(&w, 3);
    for (int i = 0; i < ASKS; i++)
        begin_asked(w.workers, TALK("", "", "hang"), &hangs[i]);
    for (int i = 0; i < ASKS; i++)
        wait_start(&w, &hangs[i]);
    /* Three each: so are three more, while those three are there. */
    struct asked asked[3];
    for (int i = 0; i < 3; i++)
        begin_asked(w.workers, TALK("", "", "pid"), &asked[i]);
    for (int i = 0; i < 3; i++) {
        wait_end(&w, &asked[i]);
        snprintf(pids[i], sizeof(pids[i]), "%.15s", asked[i].text);
    }
    assert_string_not_equal(pids[0], pids[1]);
    assert_string_not_equal(pids[1], pids[2]);
    assert_string_not_equal(pids[2], pids[0]);
    for (int i = 0; i < ASKS; i++)
        hw_worker_call_cancel(hangs[i].call);
    end(&w);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_conversation_is_known_by_its_beginning),
        cmocka_unit_test(test_the_table_forgets_what_is_oldest),
        cmocka_unit_test(test_what_a_long_prompt_is_worth),
        cmocka_unit_test(test_the_next_turn_goes_where_the_first_went),
        cmocka_unit_test(test_those_that_waited_are_known_too),
        cmocka_unit_test(test_a_busy_worker_is_not_preferred),
        cmocka_unit_test(test_one_conversation_does_not_fill_one_worker),
    };

    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return scripted_worker(argv);
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

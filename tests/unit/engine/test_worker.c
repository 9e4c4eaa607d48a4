/* A real worker process on the tiny random model, driven over its socket as the gateway would. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/frame.h"
#include "engine/textout.h"
#include "engine/turns.h"
#include "engine/worker.h"

#define VECTOR HW_SOURCE_DIR "/tests/vectors/bdh/tiny_s002/"
#define PATIENCE_MS 20000

static char folder[] = "/tmp/hatchway-test-worker-XXXXXX";
static char socket_path[100];

struct peer {
    int fd;
    struct hw_buf in, out;
    struct hw_frame frame; /* the last one read; its payload is good until the next */
    size_t used;
    uint64_t prompt_tokens; /* as the last REPORT has it */
};

/* --- the worker process --- */

/* Such a cache has room for one of the model's states, or two in fast. */
#define SMALL_CACHE ((size_t)5 << 16)

static pid_t
start_worker_with(uint32_t max_sessions, bool fast, size_t cache_bytes)
{
    const struct hw_worker_conf conf = {.model_path = VECTOR "model.safetensors",
                                        .socket_path = socket_path,
                                        .fast = fast,
                                        .max_sessions = max_sessions,
                                        .memory_bytes = 1u << 30,
                                        .cache_bytes = cache_bytes};
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct hw_err err = {{0}};
        int rc = hw_worker_run(&conf, &err);
        if (rc != 0)
            fprintf(stderr, "worker: %s\n", err.msg);
        exit(rc == 0 ? 0 : 1);
    }
    return pid;
}

static pid_t
start_worker(uint32_t max_sessions)
{
    return start_worker_with(max_sessions, false, 0);
}

static void
expect_exit(pid_t pid)
{
    int status = -1;
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        pid_t gone = waitpid(pid, &status, WNOHANG);
        if (gone == pid) {
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
            assert_int_equal(access(socket_path, F_OK), -1); /* it took its socket away */
            return;
        }
        usleep(10000);
    }
    kill(pid, SIGKILL);
    fail_msg("the worker did not leave");
}

/* --- a connection to it --- */

static void
peer_connect(struct peer *peer)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    *peer = (struct peer){.fd = -1};
    hw_buf_init(&peer->in, 4u << 20);
    hw_buf_init(&peer->out, 32u << 20);
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        peer->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(peer->fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            return;
        close(peer->fd);
        usleep(10000);
    }
    fail_msg("cannot connect to the worker");
}

static void
peer_close(struct peer *peer)
{
    close(peer->fd);
    hw_buf_free(&peer->in);
    hw_buf_free(&peer->out);
}

/* Sends all of out, reading meanwhile: the worker stops reading from a peer that does not. */
static void
peer_send(struct peer *peer)
{
    assert_false(peer->out.failed);
    while (peer->out.len > 0) {
        struct pollfd fd = {.fd = peer->fd, .events = POLLOUT};
        assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
        ssize_t n = send(peer->fd, peer->out.data, peer->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            continue;
        if (n < 0)
            break; /* closed on us: the reads will tell */
        hw_buf_consume(&peer->out, (size_t)n);
    }
    hw_buf_clear(&peer->out);
}

/* The next frame but REPORTs, within ms: 1; 0 when none comes, -1 at the connection's end. */
static int
peer_read(struct peer *peer, int ms)
{
    for (;;) {
        hw_buf_consume(&peer->in, peer->used);
        peer->used = 0;
        int rc = hw_frame_parse((const uint8_t *)peer->in.data, peer->in.len, &peer->frame,
                                &peer->used, NULL);
        assert_true(rc >= 0);
        if (rc == 1 && peer->frame.type == HW_FRAME_REPORT) {
            struct hw_frame_report report;
            assert_int_equal(hw_frame_get_report(&peer->frame, &report, NULL), 0);
            peer->prompt_tokens = report.prompt_tokens;
            continue;
        }
        if (rc == 1)
            return 1;
        struct pollfd fd = {.fd = peer->fd, .events = POLLIN};
        if (poll(&fd, 1, ms) == 0)
            return 0;
        assert_int_equal(hw_buf_reserve(&peer->in, 65536), 0);
        ssize_t n = recv(peer->fd, peer->in.data + peer->in.len, 65536, 0);
        if (n <= 0)
            return -1;
        peer->in.len += (size_t)n;
    }
}

static void
expect_frame(struct peer *peer, enum hw_frame_type type, uint32_t stream)
{
    assert_int_equal(peer_read(peer, PATIENCE_MS), 1);
    assert_int_equal(peer->frame.type, type);
    assert_int_equal(peer->frame.stream, stream);
}

static void
expect_closed(struct peer *peer)
{
    int rc;
    while ((rc = peer_read(peer, PATIENCE_MS)) == 1)
        ;
    assert_int_equal(rc, -1);
    peer_close(peer);
}

static void
ask(struct peer *peer, uint32_t stream, const struct hw_frame_open *open, const char *prompt)
{
    hw_frame_put_open(&peer->out, stream, open);
    hw_frame_put_turn(&peer->out, stream, HW_FRAME_ROLE_RAW, false, prompt, strlen(prompt));
    hw_frame_write(&peer->out, HW_FRAME_ASK, stream, NULL, 0);
    peer_send(peer);
}

static void
cancel(struct peer *peer, uint32_t stream)
{
    hw_frame_write(&peer->out, HW_FRAME_CANCEL, stream, NULL, 0);
    peer_send(peer);
}

/* Reads the stream's TEXT up to its DONE, granting credit; the answer is appended to text. */
static struct hw_frame_done
read_answer(struct peer *peer, uint32_t stream, struct hw_buf *text)
{
    struct hw_frame_done done = {0};
    for (;;) {
        assert_int_equal(peer_read(peer, PATIENCE_MS), 1);
        if (peer->frame.stream != stream)
            continue;
        if (peer->frame.type == HW_FRAME_DONE) {
            assert_int_equal(hw_frame_get_done(&peer->frame, &done, NULL), 0);
            return done;
        }
        if (peer->frame.type != HW_FRAME_TEXT)
            continue;
        hw_buf_append(text, peer->frame.payload, peer->frame.length);
        hw_frame_put_credit(&peer->out, stream, peer->frame.length);
        peer_send(peer);
    }
}

static struct hw_frame_hello
expect_hello(struct peer *peer)
{
    struct hw_frame_hello hello = {0};
    expect_frame(peer, HW_FRAME_HELLO, 0);
    assert_int_equal(hw_frame_get_hello(&peer->frame, &hello, NULL), 0);
    return hello;
}

static const struct hw_frame_open endless = {.max_tokens = UINT32_MAX};
static const struct hw_frame_open brief = {.max_tokens = 5};

/* --- stories --- */

static void
test_hello_and_answer(void **state)
{
    (void)state;
    pid_t pid = start_worker(16);
    struct peer peer;
    struct stat st;
    uint16_t tokens[48], greedy[32];
    struct hw_buf text, expected;
    struct hw_textout out;
    struct hw_frame_open open = {.max_tokens = 32};
    FILE *file = fopen(VECTOR "tokens.u16", "rb");
    assert_true(file != NULL && fread(tokens, 2, 48, file) == 48);
    fclose(file);
    file = fopen(VECTOR "greedy.u16", "rb");
    assert_true(file != NULL && fread(greedy, 2, 32, file) == 32);
    fclose(file);

    peer_connect(&peer);
    struct hw_frame_hello hello = expect_hello(&peer);
    assert_int_equal(hello.max_sessions, 16);
    assert_int_equal(hello.vocab, 256);
    assert_int_equal(hello.param_count, 40960);
    assert_string_equal(hello.model, "model");
    assert_string_equal(hello.device, "cpu");
    assert_true(hello.decode_bytes_s > 0.0f && hello.prefill_bytes_s > 0.0f);
    assert_int_equal(stat(socket_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    hw_frame_put_open(&peer.out, 9, &open);
    for (int i = 0; i < 48; i++) /* a prompt in pieces of a byte */
        hw_frame_put_turn(&peer.out, 9, HW_FRAME_ROLE_RAW, i > 0, &(uint8_t){(uint8_t)tokens[i]},
                          1);
    hw_frame_write(&peer.out, HW_FRAME_ASK, 9, NULL, 0);
    peer_send(&peer);
    hw_buf_init(&text, 1000);
    hw_buf_init(&expected, 1000);
    hw_textout_init(&out);
    for (int i = 0; i < 32; i++)
        hw_textout_byte(&out, (uint8_t)greedy[i], &expected);
    hw_textout_finish(&out, &expected);
    expect_frame(&peer, HW_FRAME_START, 9);
    struct hw_frame_done done = read_answer(&peer, 9, &text);
    assert_string_equal(text.data, expected.data);
    assert_int_equal(done.finish, HW_FRAME_FINISH_LENGTH);
    assert_int_equal(done.prompt_tokens, 48);
    assert_int_equal(done.output_tokens, 32);
    hw_buf_free(&text);
    hw_buf_free(&expected);
    peer_close(&peer);
    expect_exit(pid);
}

static void
test_seed_and_stop(void **state)
{
    (void)state;
    pid_t pid = start_worker(4);
    struct peer peer;
    struct hw_buf texts[3];
    struct hw_frame_open open = {
        .max_tokens = 60, .temperature = 1.0f, .top_p = 1.0f, .seed = 5, .has_seed = true};
    struct hw_frame_open stopping = {.max_tokens = 60, .stop_count = 1};
    struct hw_buf first, cut;
    peer_connect(&peer);
    expect_hello(&peer);
    for (uint32_t i = 0; i < 3; i++) {
        hw_buf_init(&texts[i], 1000);
        open.seed = i == 2 ? 6 : 5;
        ask(&peer, i + 1, &open, "seeded");
        read_answer(&peer, i + 1, &texts[i]);
    }
    assert_string_equal(texts[0].data, texts[1].data);
    assert_string_not_equal(texts[0].data, texts[2].data);
    for (int i = 0; i < 3; i++)
        hw_buf_free(&texts[i]);

    /* An answer asked again with three of its own bytes as the stop string ends before them. */
    hw_buf_init(&first, 1000);
    hw_buf_init(&cut, 1000);
    ask(&peer, 10, &(struct hw_frame_open){.max_tokens = 20}, "The quick brown fox");
    read_answer(&peer, 10, &first);
    assert_true(first.len > 6);
    memcpy(stopping.stops[0], first.data + first.len - 3, 3);
    char *where = strstr(first.data, stopping.stops[0]);
    ask(&peer, 11, &stopping, "The quick brown fox");
    struct hw_frame_done done = read_answer(&peer, 11, &cut);
    assert_int_equal(done.finish, HW_FRAME_FINISH_STOP);
    assert_int_equal(cut.len, where - first.data);
    assert_memory_equal(cut.data == NULL ? "" : cut.data, first.data, cut.len);
    hw_buf_free(&first);
    hw_buf_free(&cut);
    peer_close(&peer);
    expect_exit(pid);
}

/* Same seed, same text, whatever else is in the batch: twenty sampled answers of many lengths,
 * asked one by one, then all at once beside a prompt that is long in the reading. They join and
 * leave the step as they come and end. */
static void
check_batch_texts(bool fast, size_t cache_bytes)
{
    enum { ASKED = 20 };
    pid_t pid = start_worker_with(ASKED + 1, fast, cache_bytes);
    struct peer peer;
    struct hw_buf alone[ASKED], together[ASKED];
    struct hw_frame_open open = {.temperature = 1.0f, .top_p = 1.0f, .has_seed = true};
    char prompt[ASKED + 8], *filler = calloc(1, 65537);
    assert_non_null(filler);
    memset(filler, 'z', 65536);
    peer_connect(&peer);
    expect_hello(&peer);
    for (uint32_t round = 0; round < 2; round++) {
        if (round == 1)
            ask(&peer, 500, &brief, filler);
        for (uint32_t i = 0; i < ASKED; i++) {
            struct hw_buf *text = round == 0 ? &alone[i] : &together[i];
            hw_buf_init(text, 4000);
            open.seed = i;
            open.max_tokens = 3 + i * 7 % 50;
            memset(prompt, 'a' + (int)i, sizeof(prompt));
            prompt[1 + i] = '\0';
            ask(&peer, round * 100 + i + 1, &open, prompt);
            if (round == 0)
                read_answer(&peer, i + 1, text);
        }
    }
    for (uint32_t left = ASKED; left > 0;) {
        assert_int_equal(peer_read(&peer, PATIENCE_MS), 1);
        if (peer.frame.stream == 500)
            continue;
        if (peer.frame.type == HW_FRAME_TEXT)
            hw_buf_append(&together[peer.frame.stream - 101], peer.frame.payload,
                          peer.frame.length);
        left -= peer.frame.type == HW_FRAME_DONE;
    }
    for (uint32_t i = 0; i < ASKED; i++) {
        assert_int_equal(alone[i].len, together[i].len);
        assert_memory_equal(alone[i].data, together[i].data, alone[i].len);
        hw_buf_free(&alone[i]);
        hw_buf_free(&together[i]);
    }
    free(filler);
    peer_close(&peer);
    expect_exit(pid);
}

static void
test_batches_change_no_text(void **state)
{
    (void)state;
    check_batch_texts(false, 0);
    check_batch_texts(true, 0);
    check_batch_texts(false, SMALL_CACHE);
    check_batch_texts(true, SMALL_CACHE);
}

/* As many in a step as the cache holds states of; where it holds none, it cannot be lost. */
static void
test_who_steps_together(void **state)
{
    (void)state;
    const size_t mib = (size_t)1 << 20;
    assert_int_equal(hw_turn_sessions(16, 1 * mib, 32 * mib), 12);
    assert_int_equal(hw_turn_sessions(5, 1 * mib, 32 * mib), 5);
    assert_int_equal(hw_turn_sessions(16, 5 * mib, 32 * mib), 2);
    assert_int_equal(hw_turn_sessions(16, 8 * mib, 32 * mib), 1);
    assert_int_equal(hw_turn_sessions(16, 32 * mib, 32 * mib), 1);
    assert_int_equal(hw_turn_sessions(16, 33 * mib, 32 * mib), 16);
    assert_int_equal(hw_turn_sessions(16, 33 * mib, 0), 16);
    assert_int_equal(hw_turn_sessions(0, mib, 32 * mib), 0);
}

/* With one session in a step: turns are short enough that all get along alike, and one that came
 * late has its answer before theirs end. */
static void
test_turns_are_fair(void **state)
{
    (void)state;
    enum { LONG = 4, TOKENS = 600 };
    pid_t pid = start_worker_with(LONG + 1, false, SMALL_CACHE);
    const struct hw_frame_open much = {.max_tokens = TOKENS, .temperature = 1.0f, .top_p = 1.0f};
    struct peer peer;
    size_t frames[LONG + 2] = {0};
    bool late = false, late_done = false;

    peer_connect(&peer);
    expect_hello(&peer);
    for (uint32_t i = 1; i <= LONG; i++)
        ask(&peer, i, &much, "begin");
    for (uint32_t done = 0; done < LONG;) {
        assert_int_equal(peer_read(&peer, PATIENCE_MS), 1);
        uint32_t stream = peer.frame.stream;
        if (peer.frame.type == HW_FRAME_TEXT && ++frames[stream] == 50 && !late) {
            late = true;
            ask(&peer, LONG + 1, &brief, "late");
        }
        if (peer.frame.type != HW_FRAME_DONE)
            continue;
        late_done |= stream == LONG + 1;
        if (stream <= LONG && done++ == 0) {
            assert_true(late_done);
            for (uint32_t i = 1; i <= LONG; i++)
                assert_in_range(frames[i], frames[stream] * 3 / 4, SIZE_MAX);
        }
    }
    peer_close(&peer);
    expect_exit(pid);
}

/* A prompt that goes on where a session was left costs its new bytes, and is answered as if read
 * from its start. */
static void
test_the_next_turn(void **state)
{
    (void)state;
    static const char first[] = "A conversation begins with some words.";
    static const char second[] = "A conversation begins with some words. It goes on.";
    static const char other[] = "B conversation begins with some words. It goes on.";
    const struct hw_frame_open one = {.max_tokens = 1}, more = {.max_tokens = 24};
    const size_t read_by_then = strlen(first) + (strlen(second) - strlen(first)) + strlen(second);
    pid_t pid = start_worker(2);
    struct peer peer;
    struct hw_buf texts[4];
    peer_connect(&peer);
    expect_hello(&peer);
    for (int i = 0; i < 4; i++)
        hw_buf_init(&texts[i], 1000);
    ask(&peer, 1, &one, first); /* its one token is never fed back: the session holds the prompt */
    read_answer(&peer, 1, &texts[0]);
    ask(&peer, 2, &more, second);
    struct hw_frame_done done = read_answer(&peer, 2, &texts[1]);
    assert_int_equal(done.prompt_tokens, strlen(second)); /* of the query, however read */
    ask(&peer, 3, &more, second);                         /* nobody holds a part of it any more */
    read_answer(&peer, 3, &texts[2]);
    assert_string_equal(texts[1].data, texts[2].data);
    for (int wait = 0; wait < 40 && peer.prompt_tokens < read_by_then; wait++)
        peer_read(&peer, 100);
    assert_int_equal(peer.prompt_tokens, read_by_then);
    ask(&peer, 4, &more, other);
    read_answer(&peer, 4, &texts[3]);
    for (int wait = 0; wait < 40 && peer.prompt_tokens < read_by_then + strlen(other); wait++)
        peer_read(&peer, 100);
    assert_int_equal(peer.prompt_tokens, read_by_then + strlen(other));
    for (int i = 0; i < 4; i++)
        hw_buf_free(&texts[i]);
    peer_close(&peer);
    expect_exit(pid);
}

/* Fast answers are others than those of f32: so is the digest. */
static void
test_fast(void **state)
{
    (void)state;
    struct hw_frame_hello hellos[2];
    for (int i = 0; i < 2; i++) {
        pid_t pid = start_worker_with(2, i == 1, 0);
        struct peer peer;
        struct hw_buf text;
        hw_buf_init(&text, 1000);
        peer_connect(&peer);
        hellos[i] = expect_hello(&peer);
        ask(&peer, 1, &brief, "quickly");
        assert_int_equal(read_answer(&peer, 1, &text).output_tokens, 5);
        hw_buf_free(&text);
        peer_close(&peer);
        expect_exit(pid);
    }
    assert_memory_not_equal(hellos[0].digest, hellos[1].digest, sizeof(hellos[0].digest));
}

static void
test_side_by_side_and_cancel(void **state)
{
    (void)state;
    pid_t pid = start_worker(16);
    struct peer a, b;
    struct hw_buf text;
    hw_buf_init(&text, 1000);
    peer_connect(&a);
    peer_connect(&b);
    expect_hello(&a);
    expect_hello(&b);
    ask(&a, 1, &endless, "on and on");
    expect_frame(&a, HW_FRAME_START, 1);
    expect_frame(&a, HW_FRAME_TEXT, 1);
    ask(&b, 1, &brief, "a word"); /* the same id on another connection is another stream */
    struct hw_frame_done done = read_answer(&b, 1, &text);
    assert_int_equal(done.output_tokens, 5);

    cancel(&a, 1);
    ask(&a, 2, &brief, "after it");
    do {
        assert_int_equal(peer_read(&a, PATIENCE_MS), 1);
        assert_int_not_equal(a.frame.type, HW_FRAME_DONE);
    } while (a.frame.type != HW_FRAME_START);
    do { /* stream 2 began behind the CANCEL: stream 1 is silent from there on */
        assert_int_equal(peer_read(&a, PATIENCE_MS), 1);
        assert_int_equal(a.frame.stream, 2);
    } while (a.frame.type != HW_FRAME_DONE);
    cancel(&a, 1); /* and again, crossing nothing: no harm */
    hw_frame_put_credit(&a.out, 2, 10);
    ask(&a, 1, &brief, "the id is free again");
    read_answer(&a, 1, &text);
    hw_buf_free(&text);

    ask(&b, 2, &endless, "left alone");
    expect_frame(&b, HW_FRAME_START, 2);
    peer_close(&b); /* its stream goes with it */
    peer_close(&a);
    expect_exit(pid);
}

/* Text bytes of a stream until none has come for a while. */
static size_t
drain(struct peer *peer, uint32_t stream)
{
    size_t total = 0;
    while (peer_read(peer, 400) == 1) {
        assert_int_equal(peer->frame.stream, stream);
        if (peer->frame.type == HW_FRAME_TEXT)
            total += peer->frame.length;
    }
    return total;
}

static void
test_credit_pauses_one_session(void **state)
{
    (void)state;
    pid_t pid = start_worker(16);
    struct peer peer;
    struct hw_buf text;
    hw_buf_init(&text, 1000);
    peer_connect(&peer);
    expect_hello(&peer);
    ask(&peer, 1, &endless, "slow reader");
    size_t got = drain(&peer, 1);
    assert_true(got <= HW_FRAME_FIRST_CREDIT && got > HW_FRAME_FIRST_CREDIT - 4);
    ask(&peer, 2, &brief, "somebody else");
    read_answer(&peer, 2, &text);
    hw_frame_put_credit(&peer.out, 1, 100);
    peer_send(&peer);
    got += drain(&peer, 1);
    assert_true(got <= HW_FRAME_FIRST_CREDIT + 100 && got > HW_FRAME_FIRST_CREDIT + 96);
    cancel(&peer, 1);
    ask(&peer, 3, &brief, "still there");
    read_answer(&peer, 3, &text);
    hw_buf_free(&text);
    peer_close(&peer);
    expect_exit(pid);
}

static void
test_queue(void **state)
{
    (void)state;
    pid_t pid = start_worker(1);
    struct peer peer;
    peer_connect(&peer);
    assert_int_equal(expect_hello(&peer).max_sessions, 1);
    ask(&peer, 1, &(struct hw_frame_open){.max_tokens = 300}, "first");
    ask(&peer, 2, &brief, "second");
    ask(&peer, 3, &brief, "third");
    cancel(&peer, 2); /* it leaves the queue unstarted */
    expect_frame(&peer, HW_FRAME_START, 1);
    do {
        assert_int_equal(peer_read(&peer, PATIENCE_MS), 1);
        assert_int_equal(peer.frame.stream, 1);
    } while (peer.frame.type != HW_FRAME_DONE);
    expect_frame(&peer, HW_FRAME_START, 3);
    do {
        assert_int_equal(peer_read(&peer, PATIENCE_MS), 1);
        assert_int_equal(peer.frame.stream, 3);
    } while (peer.frame.type != HW_FRAME_DONE);
    peer_close(&peer);
    expect_exit(pid);
}

/* Who waits for a session gets it when it is left, not when the next report is due. */
static void
test_the_queue_moves_at_once(void **state)
{
    (void)state;
    enum { ASKED = 12 };
    pid_t pid = start_worker(1);
    struct peer peer;
    struct timespec from, to;

    peer_connect(&peer);
    expect_hello(&peer);
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (uint32_t i = 1; i <= ASKED; i++)
        ask(&peer, i, &brief, "begin");
    for (uint32_t done = 0; done < ASKED;) {
        assert_int_equal(peer_read(&peer, PATIENCE_MS), 1);
        done += peer.frame.type == HW_FRAME_DONE;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_true(to.tv_sec - from.tv_sec < ASKED / 2);
    peer_close(&peer);
    expect_exit(pid);
}

/* While a prompt of half a megabyte is taken, others come and go. */
static void
test_long_prompt_starves_nobody(void **state)
{
    (void)state;
    pid_t pid = start_worker(4);
    struct peer peer;
    struct hw_buf text;
    char *prompt = malloc((512u << 10) + 1);
    assert_non_null(prompt);
    memset(prompt, 'x', 512u << 10);
    prompt[512u << 10] = '\0';
    hw_buf_init(&text, 1000);
    peer_connect(&peer);
    expect_hello(&peer);
    ask(&peer, 1, &brief, prompt);
    expect_frame(&peer, HW_FRAME_START, 1);
    ask(&peer, 2, &brief, "quick");
    expect_frame(&peer, HW_FRAME_START, 2);
    do {
        assert_int_equal(peer_read(&peer, PATIENCE_MS), 1);
        assert_int_equal(peer.frame.stream, 2);
    } while (peer.frame.type != HW_FRAME_DONE);
    cancel(&peer, 1);
    ask(&peer, 3, &brief, "after");
    read_answer(&peer, 3, &text);
    hw_buf_free(&text);
    free(prompt);
    peer_close(&peer);
    expect_exit(pid);
}

/* Resident bytes of a process. */
static long
resident_bytes(pid_t pid)
{
    char path[64];
    long all = 0, resident = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &all, &resident), 2);
    fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

/* A prompt of 100 KB and an answer of 20,000 tokens take under 1 MiB beyond what one of 1 KB took.
 * Sanitizers keep what is freed: then only that it works is told. */
static void
check_memory(bool fast)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const long allowed = 256L << 20;
#else
    const long allowed = 1L << 20;
#endif
    const struct hw_frame_open open = {.max_tokens = 20000};
    pid_t pid = start_worker_with(4, fast, 0);
    struct peer peer;
    struct hw_buf text;
    char *prompt = calloc(1, 100001);
    assert_non_null(prompt);
    for (size_t i = 0; i < 100000; i++)
        prompt[i] = (char)('a' + i * i % 23);
    hw_buf_init(&text, 1u << 20);
    peer_connect(&peer);
    expect_hello(&peer);
    ask(&peer, 1, &brief, prompt + 99000);
    read_answer(&peer, 1, &text);
    long before = resident_bytes(pid);
    ask(&peer, 2, &open, prompt);
    struct hw_frame_done done = read_answer(&peer, 2, &text);
    assert_int_equal(done.prompt_tokens, 100000);
    assert_int_equal(done.output_tokens, 20000);
    long grown = resident_bytes(pid) - before;
    if (grown >= allowed)
        fail_msg("grown by %ld bytes", grown);
    hw_buf_free(&text);
    free(prompt);
    peer_close(&peer);
    expect_exit(pid);
}

static void
test_memory_stays(void **state)
{
    (void)state;
    check_memory(false);
    check_memory(true);
}

static void
expect_error(struct peer *peer, uint32_t stream, int code, const char *why)
{
    struct hw_frame_error error;
    expect_frame(peer, HW_FRAME_ERROR, stream);
    assert_int_equal(hw_frame_get_error(&peer->frame, &error, NULL), 0);
    assert_int_equal(error.code, code);
    assert_non_null(strstr(error.msg, why));
}

static void
test_refusals(void **state)
{
    (void)state;
    pid_t pid = start_worker(2);
    struct peer peer;
    struct hw_buf text;
    char *piece = calloc(1, 1000000);
    assert_non_null(piece);
    hw_buf_init(&text, 1000);
    peer_connect(&peer);
    expect_hello(&peer);
    ask(&peer, 1, &brief, "");
    expect_error(&peer, 1, HW_EINVAL, "empty");

    hw_frame_put_open(&peer.out, 2, &brief); /* 9 MB: refused on the way, the rest is swallowed */
    for (int i = 0; i < 9; i++)
        hw_frame_put_turn(&peer.out, 2, HW_FRAME_ROLE_RAW, true, piece, 1000000);
    hw_frame_write(&peer.out, HW_FRAME_ASK, 2, NULL, 0);
    peer_send(&peer);
    expect_error(&peer, 2, HW_EINVAL, "8 MiB");
    ask(&peer, 2, &brief, "the id is free again");
    read_answer(&peer, 2, &text);

    for (uint32_t id = 100; id < 1200; id++) /* more streams than a worker keeps */
        hw_frame_put_open(&peer.out, id, &brief);
    peer_send(&peer);
    expect_error(&peer, 100 + 1024, HW_ELIMIT, "too many");
    hw_buf_free(&text);
    free(piece);
    peer_close(&peer);
    expect_exit(pid);
}

/* Each of these ends its own connection and nothing else. */
static void
test_hostile_peers(void **state)
{
    (void)state;
    pid_t pid = start_worker(2);
    struct peer good, bad;
    struct hw_buf text;
    static const uint8_t heads[][HW_FRAME_HEAD_BYTES] = {
        {2, HW_FRAME_ASK, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0},              /* version */
        {1, 99, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0},                        /* type */
        {1, HW_FRAME_TURN, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, /* length */
        {1, HW_FRAME_ASK, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0},              /* unknown stream */
        {1, HW_FRAME_OPEN, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0},             /* empty OPEN */
        {1, HW_FRAME_CREDIT, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0},           /* empty CREDIT */
        {1, HW_FRAME_START, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0}, /* not the gateway's to send */
    };
    hw_buf_init(&text, 1000);
    peer_connect(&good);
    expect_hello(&good);
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        peer_connect(&bad);
        expect_hello(&bad);
        hw_buf_append(&bad.out, heads[i], HW_FRAME_HEAD_BYTES);
        peer_send(&bad);
        expect_closed(&bad);
    }
    peer_connect(&bad); /* the same stream twice */
    expect_hello(&bad);
    ask(&bad, 1, &endless, "x");
    hw_frame_put_open(&bad.out, 1, &endless);
    peer_send(&bad);
    expect_closed(&bad);
    peer_connect(&bad); /* an unknown role */
    expect_hello(&bad);
    hw_frame_put_open(&bad.out, 1, &endless);
    hw_frame_put_turn(&bad.out, 1, (enum hw_frame_role)4, false, "x", 1);
    peer_send(&bad);
    expect_closed(&bad);
    peer_connect(&bad); /* half a frame, then gone */
    hw_buf_append(&bad.out, heads[2], 7);
    peer_send(&bad);
    peer_close(&bad);

    ask(&good, 1, &brief, "unharmed");
    read_answer(&good, 1, &text);
    hw_buf_free(&text);
    peer_close(&good);
    expect_exit(pid);
}

static void
test_report_and_terminate(void **state)
{
    (void)state;
    pid_t pid = start_worker(2);
    struct peer peer;
    struct hw_frame_report report = {0};
    uint8_t bytes[4096];
    peer_connect(&peer);
    expect_hello(&peer);
    ask(&peer, 1, &endless, "x");
    expect_frame(&peer, HW_FRAME_START, 1);
    for (size_t len = 0, tries = 0; report.active == 0; tries++) { /* below peer_read's filter */
        struct hw_frame frame;
        size_t used = 0;
        ssize_t n = recv(peer.fd, bytes + len, sizeof(bytes) - len, 0);
        assert_true(n > 0 && tries < 1000000);
        len += (size_t)n;
        while (hw_frame_parse(bytes, len, &frame, &used, NULL) == 1) {
            if (frame.type == HW_FRAME_REPORT)
                assert_int_equal(hw_frame_get_report(&frame, &report, NULL), 0);
            memmove(bytes, bytes + used, len -= used);
        }
    }
    assert_int_equal(report.active, 1);
    assert_int_equal(report.prompt_tokens, 1);
    assert_true(report.output_tokens > 0);
    assert_in_range(report.state_bytes, 2 * 2 * 128 * 32 * 4, 2 * 2 * 2 * 128 * 32 * 4);
    kill(pid, SIGTERM);
    expect_exit(pid);
    peer_close(&peer);
}

static int
make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(socket_path, sizeof(socket_path), "%s/worker.sock", folder);
    return 0;
}

static int
remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_and_answer),
        cmocka_unit_test(test_seed_and_stop),
        cmocka_unit_test(test_batches_change_no_text),
        cmocka_unit_test(test_who_steps_together),
        cmocka_unit_test(test_turns_are_fair),
        cmocka_unit_test(test_the_next_turn),
        cmocka_unit_test(test_fast),
        cmocka_unit_test(test_side_by_side_and_cancel),
        cmocka_unit_test(test_credit_pauses_one_session),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_the_queue_moves_at_once),
        cmocka_unit_test(test_long_prompt_starves_nobody),
        cmocka_unit_test(test_memory_stays),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_hostile_peers),
        cmocka_unit_test(test_report_and_terminate),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

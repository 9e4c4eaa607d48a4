/* The answer reader on bytes alone: every split of every transcript gives the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "router/http/client_answer.h"

struct seen {
    struct hw_client_answer *answer;
    int heads, status, stops;
    bool stop_always;
    char fields[512], body[512];
};

static void
on_head(void *ctx, int status, const struct hw_http_head *head)
{
    struct seen *seen = ctx;
    size_t at = 0;

    seen->heads++;
    seen->status = status;
    for (size_t i = 0; i < head->count; i++)
        at += (size_t)snprintf(seen->fields + at, sizeof(seen->fields) - at, "%.*s=%.*s;",
                               (int)head->fields[i].name.len, head->fields[i].name.p,
                               (int)head->fields[i].value.len, head->fields[i].value.p);
    if (seen->stop_always)
        hw_client_answer_stop(seen->answer);
}

static void
on_body(void *ctx, const char *bytes, size_t len)
{
    struct seen *seen = ctx;

    strncat(seen->body, bytes, len);
    if (seen->stop_always)
        hw_client_answer_stop(seen->answer);
}

static const struct hw_client_answer_events events = {on_head, on_body};

/* Feeds text in two pieces, going on after each stop, and says how it ended. */
static enum hw_client_answer_result
read_split(struct seen *seen, const char *text, size_t split, bool head_request, size_t *rest)
{
    size_t len = strlen(text), at = 0, until = split;
    enum hw_client_answer_result result;

    hw_client_answer_begin(seen->answer, head_request, 100);
    do {
        size_t used;
        result = hw_client_answer_feed(seen->answer, text + at, until - at, &used);
        at += used;
        if (result == HW_CLIENT_ANSWER_STOPPED)
            seen->stops++;
        else if (result == HW_CLIENT_ANSWER_MORE)
            until = len;
    } while (result == HW_CLIENT_ANSWER_STOPPED || (result == HW_CLIENT_ANSWER_MORE && at < len));
    if (result == HW_CLIENT_ANSWER_MORE)
        result = hw_client_answer_end(seen->answer);
    *rest = len - at;
    return result;
}

static const struct {
    const char *text;
    bool head_request;
    enum hw_client_answer_result result;
    int status;
    const char *fields, *body;
    size_t rest;
    bool keep_alive;
} cases[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX:  a b \r\n\r\nhello", false,
     HW_CLIENT_ANSWER_COMPLETE, 200, "Content-Length=5;X=a b;", "hello", 0, true},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1", false, HW_CLIENT_ANSWER_COMPLETE,
     200, "Content-Length=2;", "ok", 8, true},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nT: v\r\n"
     "\r\n",
     false, HW_CLIENT_ANSWER_COMPLETE, 200, "Transfer-Encoding=chunked;", "abcde", 0, true},
    {"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\nA:\r\n\r\n", false,
     HW_CLIENT_ANSWER_COMPLETE, 204, "A=;", "", 0, true},
    {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", true, HW_CLIENT_ANSWER_COMPLETE, 200,
     "Content-Length=50;", "", 0, true},
    {"HTTP/1.0 200 OK\r\n\r\nuntil the end", false, HW_CLIENT_ANSWER_COMPLETE, 200, "",
     "until the end", 0, false},
    {"HTTP/1.1 500 Bad\r\nConnection: close\r\nContent-Length: 1\r\n\r\n!", false,
     HW_CLIENT_ANSWER_COMPLETE, 500, "Connection=close;Content-Length=1;", "!", 0, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", false, HW_CLIENT_ANSWER_BAD, 200,
     "Content-Length=9;", "half", 0, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", false, HW_CLIENT_ANSWER_BAD, 0, "", "", 0,
     false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", false,
     HW_CLIENT_ANSWER_BAD, 0, "", "", 0, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false,
     HW_CLIENT_ANSWER_BAD, 0, "", "", 0, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", false, HW_CLIENT_ANSWER_BAD, 0, "", "",
     0, false},
    {"HTTP/2.0 200 OK\r\n\r\n", false, HW_CLIENT_ANSWER_BAD, 0, "", "", 0, false},
    {"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", false, HW_CLIENT_ANSWER_BAD, 0, "", "", 0, false},
    {"HTTP/1.1 200 OK\r\nA: b\r\n", false, HW_CLIENT_ANSWER_BAD, 0, "", "", 0, false},
    {"<html>", false, HW_CLIENT_ANSWER_BAD, 0, "", "", 0, false},
};

static void
test_every_split(void **state)
{
    struct hw_client_answer *answer = calloc(1, sizeof(*answer));
    struct seen seen;

    (void)state;
    hw_client_answer_init(answer, &events, &seen);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t split = 0; split <= strlen(cases[i].text); split++) {
            for (int stop = 0; stop < 2; stop++) {
                size_t rest;
                seen = (struct seen){.answer = answer, .stop_always = stop == 1};
                assert_int_equal(
                    read_split(&seen, cases[i].text, split, cases[i].head_request, &rest),
                    cases[i].result);
                assert_int_equal(seen.status, cases[i].status);
                assert_string_equal(seen.fields, cases[i].fields);
                assert_string_equal(seen.body, cases[i].body);
                assert_int_equal(seen.heads, cases[i].status != 0);
                if (cases[i].result == HW_CLIENT_ANSWER_BAD) {
                    assert_true(answer->error[0] != '\0');
                    continue;
                }
                /* A split within what follows the answer leaves that to the second feed. */
                assert_true(rest >= cases[i].rest);
                assert_int_equal(answer->keep_alive, cases[i].keep_alive);
            }
        }
    }
    hw_client_answer_free(answer);
    free(answer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_split)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Bytes of a backend as an HTTP answer. The first byte says where the rest is cut in two and
 * whether every event stops the reader; cut or whole, stopped or not, the events are the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/http/client_answer.h"

#define MAX_BODY 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct hw_client_answer answer;
    bool stop;
    int heads, status;
    size_t field_bytes, body_bytes;
    uint32_t body_sum;
};

static void
on_head(void *ctx, int status, const struct hw_http_head *head)
{
    struct seen *seen = ctx;

    seen->heads++;
    seen->status = status;
    for (size_t i = 0; i < head->count; i++) {
        seen->field_bytes += head->fields[i].name.len + head->fields[i].value.len;
        HW_ASSERT(memchr(head->fields[i].value.p, '\n', head->fields[i].value.len) == NULL);
        HW_ASSERT(memchr(head->fields[i].value.p, '\0', head->fields[i].value.len) == NULL);
    }
    if (seen->stop)
        hw_client_answer_stop(&seen->answer);
}

static void
on_body(void *ctx, const char *bytes, size_t len)
{
    struct seen *seen = ctx;

    HW_ASSERT(seen->heads == 1 && len > 0);
    seen->body_bytes += len;
    for (size_t i = 0; i < len; i++)
        seen->body_sum = seen->body_sum * 31 + (uint8_t)bytes[i];
    if (seen->stop)
        hw_client_answer_stop(&seen->answer);
}

static const struct hw_client_answer_events events = {on_head, on_body};

static enum hw_client_answer_result
read_all(struct seen *seen, const char *bytes, size_t len, size_t cut)
{
    size_t at = 0, until = cut;
    enum hw_client_answer_result result;

    hw_client_answer_init(&seen->answer, &events, seen);
    hw_client_answer_begin(&seen->answer, false, MAX_BODY);
    do {
        size_t used = 0;
        result = hw_client_answer_feed(&seen->answer, bytes + at, until - at, &used);
        HW_ASSERT(used <= until - at);
        at += used;
        if (result == HW_CLIENT_ANSWER_MORE)
            until = len;
    } while (result == HW_CLIENT_ANSWER_STOPPED || (result == HW_CLIENT_ANSWER_MORE && at < len));
    if (result == HW_CLIENT_ANSWER_MORE)
        result = hw_client_answer_end(&seen->answer);
    HW_ASSERT(seen->heads <= 1 && seen->body_bytes <= MAX_BODY);
    hw_client_answer_free(&seen->answer);
    return result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const char *bytes = (const char *)data + 1;
    size_t len = size - 1;
    struct seen *whole = hw_xcalloc(2, sizeof(*whole)), *cut = whole + 1;
    cut->stop = (data[0] & 1) != 0;
    enum hw_client_answer_result a = read_all(whole, bytes, len, len);
    enum hw_client_answer_result b = read_all(cut, bytes, len, len * (data[0] >> 1) / 128);
    HW_ASSERT(a == b && whole->heads == cut->heads && whole->status == cut->status);
    HW_ASSERT(whole->field_bytes == cut->field_bytes);
    /* A broken answer's last bytes may come or not, by where it was cut; a good one's all come. */
    if (a == HW_CLIENT_ANSWER_COMPLETE)
        HW_ASSERT(whole->body_bytes == cut->body_bytes && whole->body_sum == cut->body_sum);
    free(whole);
    return 0;
}

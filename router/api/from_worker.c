/* router/api/from_worker.c - what a local worker tells of its tokens, as the dialects tell it. */
#include "router/api/to_worker.h"

#include "router/api/write.h"

static void
put_token(struct hw_buf *out, const struct hw_frame_logprob *logprob)
{
    char byte = (char)logprob->token;

    hw_write(out, "{\"token\":");
    if (logprob->token < 0x80)
        hw_json_write_string(out, &byte, 1);
    else if (logprob->token < 0x100)
        hw_buf_printf(out, "\"\\\\x%02x\"", (unsigned)logprob->token);
    else
        hw_write(out, "\"\\ufffd\""); /* of a vocabulary that has more than bytes */
    hw_buf_printf(out, ",\"logprob\":%.7g,\"bytes\":", (double)logprob->logprob);
    if (logprob->token < 0x100)
        hw_buf_printf(out, "[%u]", (unsigned)logprob->token);
    else
        hw_write(out, "null");
}

void
hw_from_worker_logprobs(const uint8_t *payload, size_t len, struct hw_buf *entries)
{
    struct hw_frame_logprob logprobs[1 + HW_FRAME_MAX_TOP_LOGPROBS];
    uint32_t count;

    while (len > 0 && (count = hw_frame_next_logprobs(&payload, &len, logprobs)) > 0) {
        if (entries->len > 0)
            hw_write(entries, ",");
        put_token(entries, &logprobs[0]);
        hw_write(entries, ",\"top_logprobs\":[");
        for (uint32_t i = 1; i < count; i++) {
            if (i > 1)
                hw_write(entries, ",");
            put_token(entries, &logprobs[i]);
            hw_write(entries, "}");
        }
        hw_write(entries, "]}");
    }
}

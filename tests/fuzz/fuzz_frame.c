/* Bytes of a peer as frames: whatever comes, an error or a payload within its limits; what was
 * understood must read the same when written again. */
#include "engine/frame.h"
#include "engine/prompt.h"
#include "hatchway/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
read_payload(const struct hw_frame *frame, struct hw_buf *again)
{
    struct hw_frame_hello hello;
    struct hw_frame_open open;
    struct hw_frame_done done;
    struct hw_frame_error error;
    struct hw_frame_report report;
    struct hw_err err;
    uint32_t credit;

    if (hw_frame_get_hello(frame, &hello, &err) == 0)
        hw_frame_put_hello(again, &hello);
    else if (hw_frame_get_open(frame, &open, &err) == 0)
        hw_frame_put_open(again, frame->stream, &open);
    else if (hw_frame_get_done(frame, &done, &err) == 0)
        hw_frame_put_done(again, frame->stream, &done);
    else if (hw_frame_get_error(frame, &error, &err) == 0)
        hw_frame_put_error(again, frame->stream, &error);
    else if (hw_frame_get_report(frame, &report, &err) == 0)
        hw_frame_put_report(again, &report);
    else if (hw_frame_get_credit(frame, &credit, &err) == 0)
        hw_frame_put_credit(again, frame->stream, credit);
}

static void
take_turn(struct hw_prompt *prompt, const struct hw_frame *frame)
{
    if (frame->type != HW_FRAME_TURN || frame->length == 0)
        return;
    unsigned role = frame->payload[0] & ~HW_FRAME_TURN_MORE;
    bool more = (frame->payload[0] & HW_FRAME_TURN_MORE) != 0;
    if (role <= HW_FRAME_ROLE_ASSISTANT)
        hw_prompt_turn(prompt, (enum hw_prompt_role)role, more, frame->payload + 1,
                       frame->length - 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct hw_bdh_template tmpl = {"Q: ", "\nA: ", "\n"};
    struct hw_prompt prompt;
    struct hw_buf again;
    struct hw_frame frame;
    size_t used;

    hw_prompt_init(&prompt, &tmpl, 4096);
    hw_buf_init(&again, 1024);
    while (hw_frame_parse(data, size, &frame, &used, NULL) == 1) {
        HW_ASSERT(used <= size && used == HW_FRAME_HEAD_BYTES + frame.length);
        read_payload(&frame, &again);
        HW_ASSERT(!again.failed);
        if (again.len > 0)
            HW_ASSERT(again.len == used && memcmp(again.data, data, used) == 0);
        hw_buf_clear(&again);
        take_turn(&prompt, &frame);
        data += used;
        size -= used;
    }
    hw_prompt_ask(&prompt);
    HW_ASSERT(prompt.text.len <= prompt.text.max);
    hw_buf_free(&again);
    hw_prompt_free(&prompt);
    return 0;
}

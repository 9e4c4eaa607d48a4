/* Frames: what is put comes back, whole or in pieces; whatever is cut or bent gets an error. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "engine/frame.h"

/* Parses the only frame in buf; every shorter prefix must ask for more. */
static struct hw_frame
parse_only(const struct hw_buf *buf)
{
    struct hw_frame frame;
    size_t used = 0;
    const uint8_t *bytes = (const uint8_t *)buf->data;
    for (size_t cut = 0; cut < buf->len; cut++)
        assert_int_equal(hw_frame_parse(bytes, cut, &frame, &used, NULL), 0);
    assert_int_equal(hw_frame_parse(bytes, buf->len, &frame, &used, NULL), 1);
    assert_int_equal(used, buf->len);
    return frame;
}

/* A payload cut anywhere, one byte longer, or of another type, must be refused and leave the output
 * as it was. */
#define EXPECT_STRICT(frame, get, out)                                                             \
    do {                                                                                           \
        __typeof__(*(out)) before_ = *(out);                                                       \
        struct hw_frame bent_ = (frame);                                                           \
        for (uint32_t cut_ = 0; cut_ < (frame).length; cut_++) {                                   \
            bent_.length = cut_;                                                                   \
            assert_int_equal(get(&bent_, out, NULL), HW_EINVAL);                                   \
        }                                                                                          \
        uint8_t longer_[600] = {0};                                                                \
        memcpy(longer_, (frame).payload, (frame).length);                                          \
        bent_.payload = longer_;                                                                   \
        bent_.length = (frame).length + 1;                                                         \
        assert_int_equal(get(&bent_, out, NULL), HW_EINVAL);                                       \
        bent_ = (frame);                                                                           \
        bent_.type = HW_FRAME_ASK;                                                                 \
        assert_int_equal(get(&bent_, out, NULL), HW_EINVAL);                                       \
        assert_memory_equal(&before_, out, sizeof(before_));                                       \
    } while (0)

static void
test_hello(void **state)
{
    (void)state;
    struct hw_frame_hello in = {16, 256, 3211264, 1500.5f, 800.25f, {1, 2, 3}, "hatchling", "cpu"};
    struct hw_frame_hello out = {0};
    struct hw_buf buf;
    hw_buf_init(&buf, 4096);
    assert_int_equal(hw_frame_put_hello(&buf, &in), 0);
    struct hw_frame frame = parse_only(&buf);
    EXPECT_STRICT(frame, hw_frame_get_hello, &out);
    assert_int_equal(hw_frame_get_hello(&frame, &out, NULL), 0);
    assert_memory_equal(&in, &out, sizeof(in));
    frame.stream = 1;
    assert_int_equal(hw_frame_get_hello(&frame, &out, NULL), HW_EINVAL);
    hw_buf_free(&buf);
}

static void
test_open(void **state)
{
    (void)state;
    struct hw_frame_open in = {.max_tokens = 100,
                               .temperature = 0.7f,
                               .top_k = 10,
                               .top_p = 0.9f,
                               .min_p = 0.05f,
                               .repetition_penalty = 1.1f,
                               .repeat_last = 33,
                               .seed = UINT64_MAX - 1,
                               .has_seed = true,
                               .logprobs = 1 + HW_FRAME_MAX_TOP_LOGPROBS,
                               .stop_count = 2,
                               .stops = {"\n", "END"}};
    struct hw_frame_open out;
    struct hw_buf buf;
    memset(&out, 0, sizeof(out));
    hw_buf_init(&buf, 4096);
    assert_int_equal(hw_frame_put_open(&buf, 7, &in), 0);
    struct hw_frame frame = parse_only(&buf);
    assert_int_equal(frame.stream, 7);
    EXPECT_STRICT(frame, hw_frame_get_open, &out);
    assert_int_equal(hw_frame_get_open(&frame, &out, NULL), 0);
    assert_int_equal(out.max_tokens, 100);
    assert_true(out.temperature == 0.7f && out.top_p == 0.9f && out.has_seed);
    assert_true(out.min_p == 0.05f && out.repetition_penalty == 1.1f && out.repeat_last == 33);
    assert_int_equal(out.seed, UINT64_MAX - 1);
    assert_int_equal(out.logprobs, 1 + HW_FRAME_MAX_TOP_LOGPROBS);
    assert_int_equal(out.stop_count, 2);
    assert_string_equal(out.stops[1], "END");

    hw_buf_clear(&buf); /* the longest of each field fits */
    in.stop_count = HW_FRAME_MAX_STOPS;
    for (size_t i = 0; i < HW_FRAME_MAX_STOPS; i++)
        memset(in.stops[i], 'x', HW_FRAME_MAX_STOP_BYTES);
    assert_int_equal(hw_frame_put_open(&buf, 7, &in), 0);
    frame = parse_only(&buf);
    assert_int_equal(hw_frame_get_open(&frame, &out, NULL), 0);
    assert_int_equal(strlen(out.stops[3]), HW_FRAME_MAX_STOP_BYTES);
    hw_buf_free(&buf);
}

static void
test_open_refuses(void **state)
{
    (void)state;
    struct hw_frame_open bad[] = {
        {.temperature = NAN},
        {.temperature = INFINITY},
        {.temperature = -1.0f},
        {.top_p = NAN},
        {.min_p = NAN},
        {.repetition_penalty = -1.0f},
        {.logprobs = 2 + HW_FRAME_MAX_TOP_LOGPROBS},
        {.stop_count = 1, .stops = {""}},
    };
    struct hw_frame_open out;
    struct hw_buf buf;
    hw_buf_init(&buf, 4096);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        hw_buf_clear(&buf);
        assert_int_equal(hw_frame_put_open(&buf, 1, &bad[i]), 0);
        struct hw_frame frame = parse_only(&buf);
        assert_int_equal(hw_frame_get_open(&frame, &out, NULL), HW_EINVAL);
    }
    hw_buf_free(&buf);
}

static void
test_small_frames(void **state)
{
    (void)state;
    struct hw_frame_done done = {HW_FRAME_FINISH_LENGTH, 1, 2, 3, UINT32_MAX}, done_out = {0};
    struct hw_frame_error error = {HW_ELIMIT, "too many"}, error_out = {0};
    struct hw_frame_report report = {1, 2, UINT64_C(1) << 40, 4, 5, 6, 7, 8}, report_out = {0};
    uint32_t credit = 0;
    struct hw_buf buf;
    hw_buf_init(&buf, 4096);

    hw_frame_put_done(&buf, 9, &done);
    struct hw_frame frame = parse_only(&buf);
    EXPECT_STRICT(frame, hw_frame_get_done, &done_out);
    assert_int_equal(hw_frame_get_done(&frame, &done_out, NULL), 0);
    assert_int_equal(done_out.finish, HW_FRAME_FINISH_LENGTH);
    assert_int_equal(done_out.decode_us, UINT32_MAX);

    hw_buf_clear(&buf);
    hw_frame_put_error(&buf, 9, &error);
    frame = parse_only(&buf);
    EXPECT_STRICT(frame, hw_frame_get_error, &error_out);
    assert_int_equal(hw_frame_get_error(&frame, &error_out, NULL), 0);
    assert_int_equal(error_out.code, HW_ELIMIT);
    assert_string_equal(error_out.msg, "too many");

    hw_buf_clear(&buf);
    hw_frame_put_report(&buf, &report);
    frame = parse_only(&buf);
    EXPECT_STRICT(frame, hw_frame_get_report, &report_out);
    assert_int_equal(hw_frame_get_report(&frame, &report_out, NULL), 0);
    assert_memory_equal(&report, &report_out, sizeof(report));

    hw_buf_clear(&buf);
    hw_frame_put_credit(&buf, 9, 65536);
    frame = parse_only(&buf);
    EXPECT_STRICT(frame, hw_frame_get_credit, &credit);
    assert_int_equal(hw_frame_get_credit(&frame, &credit, NULL), 0);
    assert_int_equal(credit, 65536);
    hw_buf_free(&buf);
}

static void
test_logprobs(void **state)
{
    (void)state;
    struct hw_frame_logprob in[1 + HW_FRAME_MAX_TOP_LOGPROBS], out[1 + HW_FRAME_MAX_TOP_LOGPROBS];
    struct hw_buf payload;
    hw_buf_init(&payload, 4096);
    for (uint32_t i = 0; i <= HW_FRAME_MAX_TOP_LOGPROBS; i++)
        in[i] = (struct hw_frame_logprob){i * 1000, -0.5f * (float)i};
    hw_frame_add_logprobs(&payload, in, 1);
    hw_frame_add_logprobs(&payload, in, 1 + HW_FRAME_MAX_TOP_LOGPROBS);
    const uint8_t *at = (const uint8_t *)payload.data;
    size_t left = payload.len;
    assert_int_equal(hw_frame_next_logprobs(&at, &left, out), 1);
    assert_int_equal(hw_frame_next_logprobs(&at, &left, out), 1 + HW_FRAME_MAX_TOP_LOGPROBS);
    assert_int_equal(left, 0);
    assert_memory_equal(in, out, sizeof(in));
    assert_int_equal(hw_frame_next_logprobs(&at, &left, out), 0);

    for (size_t cut = 1; cut < 9; cut++) { /* the first has nine bytes */
        at = (const uint8_t *)payload.data;
        left = cut;
        assert_int_equal(hw_frame_next_logprobs(&at, &left, out), 0);
    }
    const uint8_t none[] = {0}, many[200] = {2 + HW_FRAME_MAX_TOP_LOGPROBS};
    at = none;
    left = sizeof(none);
    assert_int_equal(hw_frame_next_logprobs(&at, &left, out), 0);
    at = many;
    left = sizeof(many);
    assert_int_equal(hw_frame_next_logprobs(&at, &left, out), 0);
    const uint8_t nan[] = {1, 7, 0, 0, 0, 0, 0, 0xc0, 0x7f};
    at = nan;
    left = sizeof(nan);
    assert_int_equal(hw_frame_next_logprobs(&at, &left, out), 0);
    hw_buf_free(&payload);
}

static void
test_turn(void **state)
{
    (void)state;
    struct hw_buf buf;
    hw_buf_init(&buf, 2u << 20);
    assert_int_equal(hw_frame_put_turn(&buf, 3, HW_FRAME_ROLE_USER, true, "hi\0there", 8), 0);
    struct hw_frame frame = parse_only(&buf);
    assert_int_equal(frame.type, HW_FRAME_TURN);
    assert_int_equal(frame.length, 9);
    assert_int_equal(frame.payload[0], HW_FRAME_ROLE_USER | HW_FRAME_TURN_MORE);
    assert_memory_equal(frame.payload + 1, "hi\0there", 8);
    size_t before = buf.len;
    assert_int_equal(hw_frame_put_turn(&buf, 3, HW_FRAME_ROLE_RAW, false, "", 0), 0);
    assert_int_equal(buf.len, before + HW_FRAME_HEAD_BYTES + 1);
    hw_buf_free(&buf);
}

static void
test_limits_of_writing(void **state)
{
    (void)state;
    static uint8_t big[HW_FRAME_MAX_PAYLOAD + 1];
    struct hw_buf buf;
    hw_buf_init(&buf, 4u << 20);
    assert_int_equal(hw_frame_write(&buf, HW_FRAME_TEXT, 1, big, sizeof(big)), HW_ELIMIT);
    assert_int_equal(buf.len, 0);
    assert_int_equal(hw_frame_write(&buf, HW_FRAME_TEXT, 1, big, sizeof(big) - 1), 0);
    hw_buf_free(&buf);

    hw_buf_init(&buf, 20); /* no half frames when the buffer is full */
    assert_int_equal(hw_frame_write(&buf, HW_FRAME_TEXT, 1, big, 9), HW_ELIMIT);
    assert_int_equal(buf.len, 0);
    assert_true(buf.failed);
    hw_buf_free(&buf);
}

static void
test_broken_heads(void **state)
{
    (void)state;
    const uint8_t good[HW_FRAME_HEAD_BYTES] = {1, HW_FRAME_ASK, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0};
    struct hw_frame frame;
    size_t used;
    uint8_t bad[HW_FRAME_HEAD_BYTES];
    assert_int_equal(hw_frame_parse(good, sizeof(good), &frame, &used, NULL), 1);
    const struct {
        size_t at;
        uint8_t value;
    } bends[] = {{0, 0}, {0, 2},     {1, 0},    {1, HW_FRAME_LOGPROBS + 1}, {1, 255}, {2, 1},
                 {3, 1}, {10, 0x11}, {11, 0xff}};
    for (size_t i = 0; i < sizeof(bends) / sizeof(bends[0]); i++) {
        memcpy(bad, good, sizeof(bad));
        bad[bends[i].at] = bends[i].value;
        assert_int_equal(hw_frame_parse(bad, sizeof(bad), &frame, &used, NULL), HW_EINVAL);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_open_refuses),
        cmocka_unit_test(test_small_frames),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_turn),
        cmocka_unit_test(test_limits_of_writing),
        cmocka_unit_test(test_broken_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Who may run on a device that several share. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "policies/share.h"

enum { LIVE, DREAM, TRADING };

static struct hw_conf_share shares[] = {
    {.name = "live", .lane_mask = 3, .role = -1, .slots = 2},
    {.name = "background", .lane_mask = 4, .role = -1, .slots = 1},
    {.name = "trading", .role = 7, .slots = 1},
};

/* 2 for live, 1 for background, 1 for trading, 1 for whoever comes. */
static const struct hw_conf_device device = {
    .max_inflight = 5, .shares = shares, .share_count = 3, .open_slots = 1};

static void
pick_table(void **state)
{
    static const struct {
        uint32_t live, dream, trading, others;
        enum hw_lane lane;
        int role;
        int expected;
    } table[] = {
        {0, 0, 0, 0, HW_LANE_REALTIME, -1, LIVE},
        {2, 0, 0, 0, HW_LANE_REALTIME, -1, LIVE}, /* beyond its share, in the open part */
        {3, 0, 0, 0, HW_LANE_INTERACTIVE, -1, HW_SHARE_NONE},
        {3, 0, 0, 0, HW_LANE_BACKGROUND, -1, DREAM}, /* its share is its own */
        {3, 1, 0, 0, HW_LANE_BACKGROUND, -1, HW_SHARE_NONE},
        {0, 1, 0, 0, HW_LANE_BACKGROUND, -1, DREAM},
        {0, 2, 0, 0, HW_LANE_BACKGROUND, -1, HW_SHARE_NONE}, /* live's is not background's */
        {0, 2, 0, 0, HW_LANE_REALTIME, -1, LIVE},
        {2, 2, 0, 0, HW_LANE_REALTIME, -1, HW_SHARE_NONE},
        {3, 1, 0, 0, HW_LANE_REALTIME, 7, TRADING}, /* a role's, beside its lane's */
        {3, 1, 1, 0, HW_LANE_REALTIME, 7, HW_SHARE_NONE},
        {0, 0, 0, 1, HW_LANE_BACKGROUND, 7, DREAM},
        {0, 1, 0, 1, HW_LANE_BACKGROUND, 7, TRADING},
        {1, 0, 0, 9, HW_LANE_REALTIME, -1, LIVE}, /* too many from before a reload */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct hw_device_view view = {.inflight = table[i].live + table[i].dream +
                                                  table[i].trading + table[i].others,
                                      .taken = {table[i].live, table[i].dream, table[i].trading}};
        int got = hw_share_pick(&device, &view, table[i].lane, table[i].role, false);
        if (got != table[i].expected)
            fail_msg("row %zu: wanted %d, got %d", i, table[i].expected, got);
    }
}

static void
without_shares_and_without_limit(void **state)
{
    struct hw_conf_device plain = {.max_inflight = 2, .open_slots = 2};
    struct hw_device_view view = {.inflight = 1};

    (void)state;
    assert_int_equal(hw_share_pick(&plain, &view, HW_LANE_BACKGROUND, -1, false), HW_SHARE_OPEN);
    view.inflight = 2;
    assert_int_equal(hw_share_pick(&plain, &view, HW_LANE_REALTIME, -1, false), HW_SHARE_NONE);
    plain.max_inflight = 0;
    assert_int_equal(hw_share_pick(&plain, &view, HW_LANE_REALTIME, -1, false), HW_SHARE_OPEN);
    assert_int_equal(hw_share_pick(&plain, &view, HW_LANE_REALTIME, -1, true), HW_SHARE_NONE);
    view.inflight = 0;
    assert_int_equal(hw_share_pick(&plain, &view, HW_LANE_REALTIME, -1, true), HW_SHARE_OPEN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pick_table),
        cmocka_unit_test(without_shares_and_without_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* engine/bench_chat.h - what a conversation's tenth turn costs until its first token: read from the
 * start, from a snapshot, and in the session that had the turns before. */
#ifndef HW_ENGINE_BENCH_CHAT_H
#define HW_ENGINE_BENCH_CHAT_H

#include "engine/bench.h"

enum {
    HW_BENCH_CHAT_TURNS = 10,
    HW_BENCH_CHAT_ASKED = 64,     /* bytes of a question */
    HW_BENCH_CHAT_ANSWERED = 192, /* and of an answer */
    HW_BENCH_CHAT_KEPT = (HW_BENCH_CHAT_TURNS - 1) * (HW_BENCH_CHAT_ASKED + HW_BENCH_CHAT_ANSWERED),
    HW_BENCH_CHAT_PROMPT = HW_BENCH_CHAT_KEPT + HW_BENCH_CHAT_ASKED,
};

struct hw_bench_chat {
    double cold_ms;     /* the whole prompt */
    double snapshot_ms; /* restoring, and the new bytes */
    double session_ms;  /* the new bytes */
    double take_ms;     /* making the snapshot */
    size_t snapshot_bytes;
};

/* CPU time, the best of several rounds. HW_EINVAL when the three do not come to the same logits. */
int hw_bench_chat(const struct hw_bdh_engine *engine, const struct hw_bench_text *text, int rounds,
                  struct hw_bench_chat *out, struct hw_err *err);

#endif

/* engine/worker_sched.c - continuous batching.
 *
 * Those that can decode step together, as many as the cache has room for, a turn of HW_TURN tokens
 * each, then the next ones (turns.h says why). For every token that each of them gets on average,
 * WORKER_ROUND_PREFILL prompt tokens go to those still reading their prompts, the longest unserved
 * first: a long prompt slows the others' tokens by a bounded share and a short prompt behind it
 * waits for no end. Who has read its prompt gets the next turn but one at the latest, so that its
 * first token is soon there and nobody is overtaken for ever; who is done leaves with the token
 * that ended it. A session without credit, or whose connection does not drain, is passed over: it
 * holds its state and costs nothing else. Nobody's bits depend on who else is in the step. */
#include <sodium.h>

#include "engine/turns.h"
#include "engine/worker_parts.h"

void
line_append(struct line *line, struct stream *s)
{
    s->line_prev = line->last;
    s->line_next = NULL;
    if (line->last != NULL)
        line->last->line_next = s;
    else
        line->first = s;
    line->last = s;
    line->count++;
}

void
line_remove(struct line *line, struct stream *s)
{
    if (s->line_prev != NULL)
        s->line_prev->line_next = s->line_next;
    else
        line->first = s->line_next;
    if (s->line_next != NULL)
        s->line_next->line_prev = s->line_prev;
    else
        line->last = s->line_prev;
    s->line_prev = s->line_next = NULL;
    line->count--;
}

static int
start_generation(struct worker *w, struct stream *s, struct hw_err *err)
{
    struct hw_generation_conf conf = {
        .max_tokens = s->open.max_tokens,
        .taken = (size_t)hw_bdh_session_position(s->session),
        .logprobs = s->open.logprobs,
        .sampler = {.temperature = s->open.temperature,
                    .top_k = s->open.top_k,
                    .top_p = s->open.top_p,
                    .min_p = s->open.min_p,
                    .repetition_penalty = s->open.repetition_penalty,
                    .repeat_last = s->open.repeat_last,
                    .seed = s->open.seed},
    };
    const char *end = hw_prompt_end(&s->prompt);

    if (!s->open.has_seed)
        randombytes_buf(&conf.sampler.seed, sizeof(conf.sampler.seed));
    for (size_t i = 0; i < s->open.stop_count; i++)
        conf.stops[conf.stop_count++] = s->open.stops[i];
    if (end[0] != '\0')
        conf.stops[conf.stop_count++] = end;
    return hw_generation_create(s->session, &w->model->conf, &conf, s->prompt.text.data,
                                s->prompt.text.len, &s->generation, err);
}

static void
drop_prompt(struct worker *w, struct stream *s)
{
    w->prompts_bytes -= s->prompt.text.len;
    hw_prompt_free(&s->prompt);
}

void
sched_admit(struct worker *w)
{
    while (w->queue.first != NULL && w->active.count < w->hello.max_sessions) {
        struct stream *s = w->queue.first;
        struct hw_err err = {{0}};
        s->session = states_take(w, s, &err);
        if (s->session == NULL && w->active.count > 0)
            return; /* memory is short: one of the active will hand its session on */
        int rc = s->session == NULL ? HW_EUNAVAILABLE : start_generation(w, s, &err);
        if (rc != 0) {
            stream_fail(w, s, rc, err.msg);
            continue;
        }
        line_remove(&w->queue, s);
        line_append(&w->active, s);
        s->state = STREAM_PREFILL;
        w->kept_prompts += hw_generation_prompt_tokens(s->generation) > 0 ? 1 : 0;
        w->kept_tokens += hw_generation_prompt_tokens(s->generation);
        s->started_us = worker_now_us();
        drop_prompt(w, s);
        hw_frame_write(&s->conn->out, HW_FRAME_START, s->id, NULL, 0);
    }
}

void
sched_release(struct worker *w, struct stream *s)
{
    if (w->turn_first == s)
        w->turn_first = NULL;
    if (w->next_first == s)
        w->next_first = s->line_next;
    if (s->state == STREAM_QUEUED)
        line_remove(&w->queue, s);
    else if (s->state == STREAM_PREFILL || s->state == STREAM_DECODE)
        line_remove(&w->active, s);
    hw_generation_destroy(&s->generation);
    if (s->session != NULL)
        states_add_spare(w, s->session, s->cached_at);
    s->session = NULL;
    drop_prompt(w, s);
}

static bool
can_decode(const struct stream *s)
{
    return s->state == STREAM_DECODE && s->text.len + s->logprobs.len == 0 && s->credit_bytes > 0 &&
           hw_generation_state(s->generation) == HW_GENERATION_DECODE && !conn_is_full(s->conn);
}

bool
sched_has_work(const struct worker *w)
{
    for (const struct stream *s = w->active.first; s != NULL; s = s->line_next)
        if (s->state == STREAM_PREFILL || can_decode(s))
            return true;
    return false;
}

static uint32_t
clamp_us(uint64_t us)
{
    return us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static void
send_done(struct worker *w, struct stream *s)
{
    enum hw_generation_state state = hw_generation_state(s->generation);
    const struct hw_frame_done done = {
        .finish = state == HW_GENERATION_STOPPED ? HW_FRAME_FINISH_STOP : HW_FRAME_FINISH_LENGTH,
        .prompt_tokens = hw_generation_prompt_tokens(s->generation),
        .output_tokens = hw_generation_output_tokens(s->generation),
        .prefill_us = clamp_us(s->decode_us - s->started_us),
        .decode_us = clamp_us(worker_now_us() - s->decode_us),
    };

    hw_frame_put_done(&s->conn->out, s->id, &done);
    stream_destroy(w, s);
}

/* How much of text fits into credit without splitting a character. */
static size_t
sendable(const struct hw_buf *text, uint64_t credit_bytes)
{
    if (text->len <= credit_bytes)
        return text->len;
    size_t n = (size_t)credit_bytes;
    while (n > 0 && ((uint8_t)text->data[n] & 0xc0) == 0x80)
        n--;
    return n;
}

void
sched_deliver(struct worker *w, struct stream *s)
{
    uint64_t told = s->logprobs.len;
    size_t n = told <= s->credit_bytes ? sendable(&s->text, s->credit_bytes - told) : 0;

    if (told > 0 && (n > 0 || (s->text.len == 0 && told <= s->credit_bytes))) {
        hw_frame_write(&s->conn->out, HW_FRAME_LOGPROBS, s->id, s->logprobs.data, s->logprobs.len);
        s->credit_bytes -= told;
        hw_buf_clear(&s->logprobs);
    }
    if (n > 0) {
        hw_frame_write(&s->conn->out, HW_FRAME_TEXT, s->id, s->text.data, n);
        s->credit_bytes -= n;
        hw_buf_consume(&s->text, n);
    }
    enum hw_generation_state state = hw_generation_state(s->generation);
    if (s->text.len + s->logprobs.len == 0 &&
        (state == HW_GENERATION_STOPPED || state == HW_GENERATION_LENGTH))
        send_done(w, s);
}

static struct stream *
next_to_prefill(const struct worker *w)
{
    struct stream *found = NULL;

    for (struct stream *s = w->active.first; s != NULL; s = s->line_next)
        if (s->state == STREAM_PREFILL && (found == NULL || s->served < found->served))
            found = s;
    return found;
}

static void
prefill_unit(struct worker *w, struct stream *s)
{
    uint32_t before = hw_generation_prompt_tokens(s->generation);

    hw_generation_prefill(s->generation, states_next(w, s));
    states_keep(w, s);
    w->prompt_tokens += hw_generation_prompt_tokens(s->generation) - before;
    s->served = ++w->ticks;
    if (hw_generation_state(s->generation) != HW_GENERATION_PREFILL) {
        s->state = STREAM_DECODE;
        s->decode_us = worker_now_us();
    }
}

static size_t
count_decoders(const struct worker *w)
{
    size_t count = 0;

    for (const struct stream *s = w->active.first; s != NULL; s = s->line_next)
        count += can_decode(s);
    return count;
}

static struct stream *
find_fresh(const struct worker *w)
{
    struct stream *s = w->active.first;

    while (s != NULL && !(can_decode(s) && hw_generation_output_tokens(s->generation) == 0))
        s = s->line_next;
    return s;
}

static void
begin_turn(struct worker *w)
{
    struct stream *fresh = w->turn_fresh ? NULL : find_fresh(w);

    w->turn_fresh = fresh != NULL;
    w->turn_first = fresh != NULL ? fresh : w->next_first;
    if (w->turn_first == NULL)
        w->turn_first = w->active.first;
    w->turn_left = HW_TURN;
}

/* What the decoding left to tell of tokens, beside their text. */
static void
take_logprobs(struct stream *s)
{
    struct hw_frame_logprob told[1 + HW_TOLD_MAX_TOP];
    const struct hw_logprob *logprobs;
    uint32_t count;

    while ((count = hw_generation_logprobs(s->generation, &logprobs)) > 0) {
        for (uint32_t i = 0; i < count; i++)
            told[i] = (struct hw_frame_logprob){logprobs[i].token, logprobs[i].logprob};
        hw_frame_add_logprobs(&s->logprobs, told, count);
    }
}

/* One token for each whose turn it is. */
static void
decode_unit(struct worker *w, size_t decoders)
{
    struct stream *batch[WORKER_BATCH];
    struct hw_generation *generations[WORKER_BATCH];
    struct hw_buf *texts[WORKER_BATCH];
    size_t together =
        hw_turn_sessions(decoders, hw_bdh_engine_state_bytes(w->engine), w->cache_bytes);
    size_t count = 0;

    if (w->turn_first == NULL || w->turn_left == 0)
        begin_turn(w);
    w->turn_left--;
    for (struct stream *s = w->turn_first; count < together && count < WORKER_BATCH;
         s = s->line_next != NULL ? s->line_next : w->active.first) {
        if (!can_decode(s))
            continue;
        batch[count] = s;
        generations[count] = s->generation;
        texts[count++] = &s->text;
    }
    if (!w->turn_fresh)
        w->next_first = batch[count - 1]->line_next;
    for (size_t i = 0; i < count && count < decoders && w->turn_left == HW_TURN - 1; i++)
        hw_bdh_session_fetch(batch[i]->session);
    hw_generations_decode(generations, texts, count);
    w->output_tokens += count;
    w->steps++;
    w->prefill_due += WORKER_ROUND_PREFILL * count;
    for (size_t i = 0; i < count; i++) {
        if (batch[i]->open.logprobs > 0)
            take_logprobs(batch[i]);
        sched_deliver(w, batch[i]);
    }
}

void
sched_unit(struct worker *w)
{
    struct stream *reader = next_to_prefill(w);
    size_t decoders = count_decoders(w);
    uint64_t price = WORKER_UNIT_PREFILL * decoders;

    if (reader != NULL && w->prefill_due >= price) {
        w->prefill_due -= price;
        prefill_unit(w, reader);
        return;
    }
    if (reader == NULL)
        w->prefill_due = 0;
    if (decoders > 0)
        decode_unit(w, decoders);
}

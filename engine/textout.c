/* engine/textout.c - UTF-8 by the table of well-formed sequences (Unicode 15, table 3-7). */
#include "engine/textout.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

void
hw_textout_init(struct hw_textout *out)
{
    *out = (struct hw_textout){0};
}

bool
hw_textout_add_stop(struct hw_textout *out, const char *stop)
{
    size_t len = strlen(stop);

    if (len == 0 || len > HW_TEXTOUT_MAX_STOP_BYTES || out->stop_count == HW_TEXTOUT_MAX_STOPS)
        return false;
    memcpy(out->stops[out->stop_count++], stop, len + 1);
    return true;
}

/* How much of held's end is the beginning of some stop string (all of one: *complete). */
static size_t
stop_begun(const struct hw_textout *out, bool *complete)
{
    size_t longest = 0;

    *complete = false;
    for (size_t i = 0; i < out->stop_count; i++) {
        size_t len = strlen(out->stops[i]);
        size_t n = len < out->held_len ? len : out->held_len;
        for (; n > 0; n--)
            if (memcmp(out->held + out->held_len - n, out->stops[i], n) == 0)
                break;
        if (n == len) {
            *complete = true;
            return n;
        }
        longest = n > longest ? n : longest;
    }
    return longest;
}

static void
release(struct hw_textout *out, size_t keep, struct hw_buf *ready)
{
    size_t n = out->held_len - keep;

    hw_buf_append(ready, out->held, n);
    memmove(out->held, out->held + n, keep);
    memmove(out->held_tokens, out->held_tokens + n, keep);
    out->held_len = keep;
}

static size_t
held_tokens(const struct hw_textout *out)
{
    size_t tokens = 0;

    for (size_t i = 0; i < out->held_len; i++)
        tokens += out->held_tokens[i];
    return tokens;
}

/* One whole character. held never overflows: what is kept is shorter than a stop string. */
static bool
take_character(struct hw_textout *out, const void *bytes, size_t len, uint8_t tokens,
               struct hw_buf *ready)
{
    bool complete;

    memcpy(out->held + out->held_len, bytes, len);
    memset(out->held_tokens + out->held_len, 0, len);
    out->held_len += len;
    out->held_tokens[out->held_len - 1] = tokens;
    size_t begun = stop_begun(out, &complete);
    release(out, begun, ready);
    if (complete) {
        out->stopped_tokens = held_tokens(out);
        out->held_len = 0;
    }
    return complete;
}

/* What may follow a lead byte; false when it leads nothing. */
static bool
begin_character(struct hw_textout *out, uint8_t lead)
{
    if (lead < 0xc2 || lead > 0xf4)
        return false;
    out->need = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    out->low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;  /* overlong forms */
    out->high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf; /* surrogates, past U+10FFFF */
    out->bytes[0] = lead;
    out->have = 1;
    return true;
}

static bool
drop_character(struct hw_textout *out, struct hw_buf *ready)
{
    uint8_t tokens = out->have;

    if (tokens == 0)
        return false;
    out->have = 0;
    return take_character(out, replacement, 3, tokens, ready);
}

/* The same, where another token tells that it is none. */
static bool
drop_before(struct hw_textout *out, struct hw_buf *ready)
{
    bool stopped = drop_character(out, ready);

    out->stopped_tokens += stopped;
    return stopped;
}

bool
hw_textout_byte(struct hw_textout *out, uint8_t byte, struct hw_buf *ready)
{
    if (out->have > 0 && byte >= out->low && byte <= out->high) {
        out->bytes[out->have++] = byte;
        out->low = 0x80;
        out->high = 0xbf;
        if (out->have < out->need)
            return false;
        out->have = 0;
        return take_character(out, out->bytes, out->need, out->need, ready);
    }
    if (drop_before(out, ready))
        return true;
    if (byte < 0x80)
        return take_character(out, &byte, 1, 1, ready);
    if (begin_character(out, byte))
        return false;
    return take_character(out, replacement, 3, 1, ready);
}

bool
hw_textout_no_byte(struct hw_textout *out, struct hw_buf *ready)
{
    return drop_before(out, ready) || take_character(out, replacement, 3, 1, ready);
}

void
hw_textout_finish(struct hw_textout *out, struct hw_buf *ready)
{
    if (!drop_character(out, ready))
        release(out, 0, ready);
}

size_t
hw_textout_waiting_tokens(const struct hw_textout *out)
{
    return held_tokens(out) + out->have;
}

void
hw_textout_set_aside(const struct hw_textout *out, struct hw_textout_waiting *waiting)
{
    waiting->len = (uint32_t)(out->held_len + out->have);
    memcpy(waiting->bytes, out->held, out->held_len);
    memcpy(waiting->bytes + out->held_len, out->bytes, out->have);
}

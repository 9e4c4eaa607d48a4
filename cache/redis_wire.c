/* cache/redis_wire.c - GETRANGE instead of GET: a value that somebody else put there, of whatever
 * size, costs at most max_entry_bytes + 10 bytes of reading; an absent key answers "". */
#include "cache/redis_wire.h"

#include <inttypes.h>
#include <string.h>

/* An expiry further away than this was not written by us. */
#define MAX_TTL_MS (UINT64_C(10) * 365 * 24 * 3600 * 1000)
#define KEY_TEXT_LEN 69 /* "hw:1:" and 64 digits */

static void
key_text(const struct hw_cache_key *key, char out[KEY_TEXT_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    int at = snprintf(out, KEY_TEXT_LEN + 1, "hw:%d:", HW_CACHE_FORMAT);

    for (size_t i = 0; i < sizeof(key->bytes); i++) {
        out[at++] = digits[key->bytes[i] >> 4];
        out[at++] = digits[key->bytes[i] & 15];
    }
    out[at] = '\0';
}

static size_t
decimal(uint64_t value, char out[24])
{
    return (size_t)snprintf(out, 24, "%" PRIu64, value);
}

unsigned
hw_redis_write_hello(struct hw_buf *out, const char *password, uint32_t db)
{
    char number[24];
    size_t digits = decimal(db, number);

    if (password != NULL)
        hw_buf_printf(out, "*2\r\n$4\r\nAUTH\r\n$%zu\r\n%s\r\n", strlen(password), password);
    hw_buf_printf(out, "*2\r\n$6\r\nSELECT\r\n$%zu\r\n%s\r\n", digits, number);
    return password != NULL ? 2 : 1;
}

int
hw_redis_write_ping(struct hw_buf *out)
{
    return hw_buf_puts(out, "*1\r\n$4\r\nPING\r\n");
}

int
hw_redis_write_get(struct hw_buf *out, const struct hw_cache_key *key, uint64_t max_entry_bytes)
{
    char text[KEY_TEXT_LEN + 1], last[24];
    size_t digits = decimal(max_entry_bytes + HW_REDIS_VALUE_HEAD, last);

    key_text(key, text);
    return hw_buf_printf(out, "*4\r\n$8\r\nGETRANGE\r\n$%d\r\n%s\r\n$1\r\n0\r\n$%zu\r\n%s\r\n",
                         KEY_TEXT_LEN, text, digits, last);
}

int
hw_redis_write_set(struct hw_buf *out, const struct hw_cache_key *key,
                   const struct hw_cache_entry *entry, uint64_t ttl_ms)
{
    char text[KEY_TEXT_LEN + 1], ttl[24];
    size_t digits = decimal(ttl_ms, ttl);
    uint8_t head[HW_REDIS_VALUE_HEAD] = {HW_CACHE_FORMAT};
    /* Room for all of it first: half a command would spoil the connection. */
    int rc = hw_buf_reserve(out, entry->len + 256);

    if (rc != 0)
        return rc;
    key_text(key, text);
    for (int i = 0; i < 8; i++)
        head[1 + i] = (uint8_t)(entry->expires_ms >> (8 * i));
    hw_buf_printf(out, "*5\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%zu\r\n", KEY_TEXT_LEN, text,
                  sizeof(head) + entry->len);
    hw_buf_append(out, head, sizeof(head));
    hw_buf_append(out, entry->bytes, entry->len);
    return hw_buf_printf(out, "\r\n$2\r\nPX\r\n$%zu\r\n%s\r\n", digits, ttl);
}

struct hw_cache_entry *
hw_redis_read_value(const void *bytes, size_t len, uint64_t max_entry_bytes, uint64_t now_ms)
{
    const uint8_t *at = bytes;
    uint64_t expires_ms = 0;

    if (len < HW_REDIS_VALUE_HEAD || len - HW_REDIS_VALUE_HEAD > max_entry_bytes)
        return NULL;
    if (at[0] != HW_CACHE_FORMAT)
        return NULL;
    for (int i = 0; i < 8; i++)
        expires_ms |= (uint64_t)at[1 + i] << (8 * i);
    if (expires_ms <= now_ms || expires_ms - now_ms > MAX_TTL_MS)
        return NULL;
    return hw_cache_entry_create(at + HW_REDIS_VALUE_HEAD, len - HW_REDIS_VALUE_HEAD, expires_ms);
}

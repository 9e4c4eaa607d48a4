/* cache/redis_link.c - libuv carries the bytes, hiredis's reader takes the replies apart.
 *
 * Of hiredis only the reader is used, with object functions of our own. Its asynchronous layer on
 * uv_poll loses a refused connect, frees its context under the feet of callbacks, and asserts on a
 * reply that nobody asked for: a peer must not be able to stop the gateway. Our functions copy a
 * value straight into an entry, and refuse arrays, which none of our commands is answered with. */
#include "cache/redis_link.h"

#include <hiredis/read.h>
#include <stdlib.h>

#include "cache/redis_wire.h"
#include "hatchway/assert.h"

#define READ_BYTES 65536u
#define OUT_MAX_BYTES (16u << 20) /* backstop; the owner stops far below */
#define OUT_KEEP_BYTES (256u << 10)
#define REPLY_SLACK_BYTES 1024u /* head of a bulk string, or an error's sentence */

struct hw_redis_link {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    const struct hw_redis_link_events *events;
    void *ctx;
    redisReader *reader;
    uint64_t max_entry_bytes;
    enum hw_redis_reply reply;    /* being read */
    struct hw_cache_entry *entry; /* its value */
    struct hw_buf out;            /* not yet given to libuv */
    struct hw_buf sending;        /* libuv writes from it; empty: none under way */
    bool connected, closing;
    bool refused; /* at once, by our own kernel: the owner hears of it in on_handle_closed */
    char input[READ_BYTES];
};

static uint64_t
wall_clock_ms(void)
{
    uv_timeval64_t now;

    if (uv_gettimeofday(&now) != 0)
        return 0;
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_usec / 1000;
}

/* hiredis asks for an object for each reply; ours is the link itself, which reads one at a time. */
static void *
reply_string(const redisReadTask *task, char *text, size_t len)
{
    struct hw_redis_link *link = task->privdata;

    if (task->type == REDIS_REPLY_STRING) {
        link->reply = HW_REDIS_REPLY_VALUE;
        link->entry = hw_redis_read_value(text, len, link->max_entry_bytes, wall_clock_ms());
    } else {
        link->reply = task->type == REDIS_REPLY_ERROR ? HW_REDIS_REPLY_ERROR : HW_REDIS_REPLY_DONE;
    }
    return link;
}

static void *
reply_array(const redisReadTask *task, int elements)
{
    (void)task;
    (void)elements;
    return NULL; /* the reader fails, the connection goes */
}

static void *
reply_integer(const redisReadTask *task, long long value)
{
    struct hw_redis_link *link = task->privdata;

    (void)value;
    link->reply = HW_REDIS_REPLY_DONE;
    return link;
}

static void *
reply_nil(const redisReadTask *task)
{
    return reply_integer(task, 0);
}

static void
reply_free(void *object)
{
    struct hw_redis_link *link = object;

    hw_cache_entry_unref(link->entry);
    link->entry = NULL;
}

static redisReplyObjectFunctions reply_functions = {
    .createString = reply_string,
    .createArray = reply_array,
    .createInteger = reply_integer,
    .createNil = reply_nil,
    .freeObject = reply_free,
};

static void
on_handle_closed(uv_handle_t *handle)
{
    struct hw_redis_link *link = handle->data;
    const struct hw_redis_link_events *events = link->events;
    void *ctx = link->ctx;
    bool refused = link->refused;

    hw_cache_entry_unref(link->entry);
    redisReaderFree(link->reader);
    hw_buf_free(&link->out);
    hw_buf_free(&link->sending);
    free(link);
    if (refused)
        events->on_lost(ctx);
    events->on_closed(ctx);
}

void
hw_redis_link_close(struct hw_redis_link *link)
{
    if (link->refused) { /* closing already, now without telling */
        link->refused = false;
        return;
    }
    HW_ASSERT(!link->closing);
    link->closing = true;
    uv_close((uv_handle_t *)&link->tcp, on_handle_closed);
}

static void
lose(struct hw_redis_link *link)
{
    hw_redis_link_close(link);
    link->events->on_lost(link->ctx);
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct hw_redis_link *link = handle->data;

    (void)suggested;
    *buf = uv_buf_init(link->input, sizeof(link->input));
}

static void
on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct hw_redis_link *link = stream->data;
    void *object = NULL;

    if (nread == 0)
        return;
    if (nread < 0 || redisReaderFeed(link->reader, buf->base, (size_t)nread) != REDIS_OK) {
        lose(link);
        return;
    }
    while (!link->closing) {
        if (redisReaderGetReply(link->reader, &object) != REDIS_OK) {
            lose(link);
            return;
        }
        if (object == NULL)
            break; /* the rest of it is still to come */
        struct hw_cache_entry *entry = link->entry;
        link->entry = NULL;
        link->events->on_reply(link->ctx, link->reply, entry);
    }
    uint64_t max_reply_bytes = link->max_entry_bytes + HW_REDIS_VALUE_HEAD + REPLY_SLACK_BYTES;
    if (!link->closing && link->reader->len - link->reader->pos > max_reply_bytes)
        lose(link); /* we asked for less */
}

static void
on_connect(uv_connect_t *connect, int status)
{
    struct hw_redis_link *link = connect->data;

    if (link->closing)
        return;
    if (status < 0 || uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read) != 0) {
        lose(link);
        return;
    }
    link->connected = true;
    link->events->on_connected(link->ctx);
}

struct hw_redis_link *
hw_redis_link_open(uv_loop_t *loop, const struct sockaddr *address, uint64_t max_entry_bytes,
                   const struct hw_redis_link_events *events, void *ctx)
{
    struct hw_redis_link *link = hw_xcalloc(1, sizeof(*link));

    link->reader = redisReaderCreateWithFunctions(&reply_functions);
    if (link->reader == NULL || uv_tcp_init(loop, &link->tcp) != 0) {
        if (link->reader != NULL)
            redisReaderFree(link->reader);
        free(link);
        return NULL;
    }
    link->reader->privdata = link;
    link->events = events;
    link->ctx = ctx;
    link->max_entry_bytes = max_entry_bytes;
    link->tcp.data = link;
    link->connect.data = link;
    link->write.data = link;
    hw_buf_init(&link->out, OUT_MAX_BYTES);
    hw_buf_init(&link->sending, OUT_MAX_BYTES);
    uv_tcp_nodelay(&link->tcp, 1);
    if (uv_tcp_connect(&link->connect, &link->tcp, address, on_connect) != 0) {
        hw_redis_link_close(link); /* no route, no such family: told later, as from the network */
        link->refused = true;
    }
    return link;
}

struct hw_buf *
hw_redis_link_out(struct hw_redis_link *link)
{
    return &link->out;
}

size_t
hw_redis_link_unsent(const struct hw_redis_link *link)
{
    return link->out.len + link->sending.len;
}

static void
on_written(uv_write_t *write, int status)
{
    struct hw_redis_link *link = write->data;

    if (link->closing)
        return;
    hw_buf_free(&link->sending);
    if (status < 0)
        lose(link);
    else
        hw_redis_link_flush(link);
}

static void
out_sent(struct hw_redis_link *link)
{
    if (link->out.cap > OUT_KEEP_BYTES)
        hw_buf_free(&link->out);
    else
        hw_buf_clear(&link->out);
}

void
hw_redis_link_flush(struct hw_redis_link *link)
{
    uv_stream_t *stream = (uv_stream_t *)&link->tcp;

    if (!link->connected || link->closing || link->out.len == 0 || link->sending.len > 0)
        return;
    uv_buf_t buf = uv_buf_init(link->out.data, (unsigned)link->out.len);
    int sent = uv_try_write(stream, &buf, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        lose(link);
        return;
    }
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (done == link->out.len) {
        out_sent(link);
        return;
    }
    link->sending = link->out;
    hw_buf_init(&link->out, OUT_MAX_BYTES);
    buf = uv_buf_init(link->sending.data + done, (unsigned)(link->sending.len - done));
    if (uv_write(&link->write, stream, &buf, 1, on_written) != 0)
        lose(link);
}

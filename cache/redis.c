/* cache/redis.c - the shared store: keeps a link up, and never lets a query wait for it.
 *
 *     DOWN --resolve, connect, AUTH, SELECT answered--> UP
 *      ^    (refused, or 1 s without all that: a pause)   |
 *      |                                                  |
 *      +-- lost, nonsense, 3 gets in a row late, 2 s of silence
 *
 * A stopped server (SIGSTOP, a stalled disk) still completes connects in its kernel, so only an
 * answer to SELECT counts as up; and while it is stopped or slow it would cost every query its
 * timeout, so three of them close the link. Each failure doubles the pause before the next try; a
 * get that is answered in time forgets them.
 *
 * At rest it is asked once a second, so that one that is stopped counts as down before a query has
 * to find out.
 *
 * Commands are answered in their order, so the ones in flight are one list. A get that timed out or
 * was cancelled stays in it without its callback until its reply has passed or the link is gone. */
#include "cache/redis.h"

#include <stdlib.h>
#include <string.h>

#include "cache/redis_link.h"
#include "cache/redis_wire.h"
#include "hatchway/assert.h"

#define CONNECT_MS 1000u
#define PAUSE_FIRST_MS 100u
#define PAUSE_MAX_MS 5000u
#define TIMEOUTS_IN_ROW 3u
#define SILENCE_MS 2000u /* a command unanswered for so long: the peer is gone without a word */
#define PROBE_MS 1000u   /* at rest it is asked whether it is still there */
#define MAX_IN_FLIGHT 4096u
#define MAX_UNSENT_BYTES (8u << 20)
#define MAX_ADDRESSES 8u

enum command_kind { COMMAND_HELLO, COMMAND_GET, COMMAND_SET, COMMAND_PING };

/* A command in flight; only gets are handed out, so the type carries their name. */
struct hw_cache_redis_get {
    struct hw_cache_redis_get *next;
    enum command_kind kind;
    hw_cache_redis_cb cb; /* NULL: nobody waits (any more) */
    void *ctx;
    uint64_t asked_ms; /* loop time; rises along the list */
};

struct command_list {
    struct hw_cache_redis_get *oldest, *newest;
    size_t count;
};

struct hw_cache_redis {
    uv_loop_t *loop;
    char *host, *password;
    uint16_t port;
    uint32_t db, timeout_ms;
    uint64_t max_entry_bytes;

    uv_timer_t link_timer; /* down: the pause, or the end of an attempt to connect; up: the probe */
    uv_timer_t late_timer; /* the next get to time out, or the oldest command's silence */
    uv_prepare_t flush;    /* what one turn of the loop asked for goes out in one write */
    uv_getaddrinfo_t resolve;
    unsigned open_handles; /* of the four above that are alive, and links */
    struct sockaddr_storage addresses[MAX_ADDRESSES];
    unsigned address_count, address_next;

    struct hw_redis_link *link;
    struct command_list in_flight;
    unsigned hellos; /* replies missing before it is up */
    bool up, closing, resolving;
    bool grace; /* something is late, but the socket is to be looked at once more */
    uint64_t late_due_ms;
    uint32_t pause_ms, timeouts_in_row;
    struct hw_cache_redis_stats stats;
    void (*closed_cb)(void *ctx);
    void *closed_ctx;
};

static void try_next_address(struct hw_cache_redis *redis);
static void resolve(struct hw_cache_redis *redis);

static void on_late(uv_timer_t *timer);

static void
late_timer_start(struct hw_cache_redis *redis, uint64_t due_ms)
{
    uint64_t now_ms = uv_now(redis->loop);

    if (uv_is_active((uv_handle_t *)&redis->late_timer) && redis->late_due_ms <= due_ms)
        return;
    redis->late_due_ms = due_ms;
    uv_timer_start(&redis->late_timer, on_late, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

static struct hw_cache_redis_get *
command_push(struct hw_cache_redis *redis, enum command_kind kind)
{
    struct command_list *list = &redis->in_flight;
    struct hw_cache_redis_get *command = hw_xcalloc(1, sizeof(*command));

    command->kind = kind;
    command->asked_ms = uv_now(redis->loop);
    if (list->newest != NULL)
        list->newest->next = command;
    else
        list->oldest = command;
    list->newest = command;
    list->count++;
    late_timer_start(redis,
                     command->asked_ms + (kind == COMMAND_GET ? redis->timeout_ms : SILENCE_MS));
    return command;
}

static void
commands_free(struct command_list *list)
{
    while (list->oldest != NULL) {
        struct hw_cache_redis_get *next = list->oldest->next;
        free(list->oldest);
        list->oldest = next;
    }
    *list = (struct command_list){0};
}

static void
handle_gone(struct hw_cache_redis *redis)
{
    HW_ASSERT(redis->open_handles > 0);
    if (--redis->open_handles > 0)
        return;
    void (*closed_cb)(void *) = redis->closed_cb;
    void *ctx = redis->closed_ctx;
    commands_free(&redis->in_flight);
    free(redis->host);
    free(redis->password);
    free(redis);
    if (closed_cb != NULL)
        closed_cb(ctx);
}

static void
on_link_closed(void *ctx)
{
    handle_gone(ctx);
}

static void
on_handle_closed(uv_handle_t *handle)
{
    handle_gone(handle->data);
}

static void
on_pause_over(uv_timer_t *timer)
{
    resolve(timer->data);
}

static void
pause_then_retry(struct hw_cache_redis *redis)
{
    uv_timer_start(&redis->link_timer, on_pause_over, redis->pause_ms, 0);
    redis->pause_ms = redis->pause_ms > PAUSE_MAX_MS / 2 ? PAUSE_MAX_MS : redis->pause_ms * 2;
}

/* The link is gone or given up: tries on, then tells all who wait. Their callbacks may do anything,
 * closing the store included. */
static void
link_down(struct hw_cache_redis *redis)
{
    struct command_list orphans = redis->in_flight;
    bool was_up = redis->up;

    redis->link = NULL;
    redis->up = false;
    redis->in_flight = (struct command_list){0};
    redis->timeouts_in_row = 0;
    redis->grace = false;
    uv_timer_stop(&redis->late_timer);
    redis->stats.connections_lost += was_up;
    if (was_up)
        pause_then_retry(redis);
    else
        try_next_address(redis);
    for (struct hw_cache_redis_get *get = orphans.oldest; get != NULL; get = get->next) {
        hw_cache_redis_cb cb = get->cb;
        get->cb = NULL;
        if (cb != NULL && !redis->closing)
            cb(get->ctx, HW_REDIS_DOWN, NULL);
    }
    commands_free(&orphans);
}

static void
link_drop(struct hw_cache_redis *redis)
{
    hw_redis_link_close(redis->link);
    link_down(redis);
}

static void
on_link_lost(void *ctx)
{
    link_down(ctx);
}

static void
on_link_late(uv_timer_t *timer)
{
    link_drop(timer->data);
}

static void
on_link_connected(void *ctx)
{
    struct hw_cache_redis *redis = ctx;

    redis->hellos =
        hw_redis_write_hello(hw_redis_link_out(redis->link), redis->password, redis->db);
    for (unsigned i = 0; i < redis->hellos; i++)
        command_push(redis, COMMAND_HELLO);
}

static void
on_probe(uv_timer_t *timer)
{
    struct hw_cache_redis *redis = timer->data;

    if (redis->in_flight.count == 0 && hw_redis_write_ping(hw_redis_link_out(redis->link)) == 0)
        command_push(redis, COMMAND_PING);
}

static void
hello_answered(struct hw_cache_redis *redis, bool ok)
{
    if (!ok) { /* a wrong password or database; mended there, it works without a reload here */
        link_drop(redis);
        return;
    }
    if (--redis->hellos == 0) {
        redis->up = true;
        uv_timer_start(&redis->link_timer, on_probe, PROBE_MS, PROBE_MS);
    }
}

static void
on_link_reply(void *ctx, enum hw_redis_reply reply, struct hw_cache_entry *entry)
{
    struct hw_cache_redis *redis = ctx;
    struct command_list *list = &redis->in_flight;
    struct hw_cache_redis_get *command = list->oldest;

    if (command == NULL) { /* it speaks without being asked: not a Redis */
        hw_cache_entry_unref(entry);
        link_drop(redis);
        return;
    }
    struct hw_cache_redis_get was = *command;
    list->oldest = command->next;
    if (list->oldest == NULL)
        list->newest = NULL;
    list->count--;
    free(command);

    redis->stats.errors += reply == HW_REDIS_REPLY_ERROR;
    if (was.kind == COMMAND_HELLO) {
        hw_cache_entry_unref(entry);
        hello_answered(redis, reply == HW_REDIS_REPLY_DONE);
        return;
    }
    if (was.cb == NULL) { /* a set, a ping, or a get that came too late */
        hw_cache_entry_unref(entry);
        return;
    }
    redis->timeouts_in_row = 0;
    redis->pause_ms = PAUSE_FIRST_MS;
    was.cb(was.ctx, entry != NULL ? HW_REDIS_HIT : HW_REDIS_MISS, entry);
}

static const struct hw_redis_link_events link_events = {
    .on_connected = on_link_connected,
    .on_reply = on_link_reply,
    .on_lost = on_link_lost,
    .on_closed = on_link_closed,
};

static void
try_next_address(struct hw_cache_redis *redis)
{
    while (redis->address_next < redis->address_count) {
        const struct sockaddr_storage *address = &redis->addresses[redis->address_next++];
        redis->link = hw_redis_link_open(redis->loop, (const struct sockaddr *)address,
                                         redis->max_entry_bytes, &link_events, redis);
        if (redis->link != NULL) {
            redis->open_handles++;
            uv_timer_start(&redis->link_timer, on_link_late, CONNECT_MS, 0);
            return;
        }
    }
    pause_then_retry(redis);
}

static void
address_add(struct hw_cache_redis *redis, const struct sockaddr *address)
{
    size_t size =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

    if (redis->address_count < MAX_ADDRESSES &&
        (address->sa_family == AF_INET || address->sa_family == AF_INET6))
        memcpy(&redis->addresses[redis->address_count++], address, size);
}

static void
on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct hw_cache_redis *redis = request->data;

    redis->resolving = false;
    for (struct addrinfo *at = found; status == 0 && at != NULL; at = at->ai_next)
        address_add(redis, at->ai_addr);
    uv_freeaddrinfo(found);
    if (!redis->closing)
        try_next_address(redis);
    handle_gone(redis);
}

/* Names are looked up anew for each round of tries (a server may move), addresses are taken as they
 * are, without the thread pool. */
static void
resolve(struct hw_cache_redis *redis)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    char port[8];

    redis->address_count = 0;
    redis->address_next = 0;
    if (uv_ip4_addr(redis->host, redis->port, &v4) == 0) {
        address_add(redis, (const struct sockaddr *)&v4);
        try_next_address(redis);
        return;
    }
    if (uv_ip6_addr(redis->host, redis->port, &v6) == 0) {
        address_add(redis, (const struct sockaddr *)&v6);
        try_next_address(redis);
        return;
    }
    snprintf(port, sizeof(port), "%u", redis->port);
    redis->resolve.data = redis;
    if (uv_getaddrinfo(redis->loop, &redis->resolve, on_resolved, redis->host, port, &hints) != 0) {
        pause_then_retry(redis);
        return;
    }
    redis->resolving = true;
    redis->open_handles++;
}

static void
on_flush(uv_prepare_t *prepare)
{
    struct hw_cache_redis *redis = prepare->data;

    if (redis->link != NULL)
        hw_redis_link_flush(redis->link);
}

static struct hw_cache_redis_get *
oldest_waiting(const struct hw_cache_redis *redis)
{
    struct hw_cache_redis_get *get = redis->in_flight.oldest;

    while (get != NULL && get->cb == NULL)
        get = get->next;
    return get;
}

/* When the next command will be late; UINT64_MAX: none is in flight. */
static uint64_t
next_late_ms(const struct hw_cache_redis *redis)
{
    const struct hw_cache_redis_get *get = oldest_waiting(redis);
    uint64_t late_ms = UINT64_MAX;

    if (redis->in_flight.oldest != NULL)
        late_ms = redis->in_flight.oldest->asked_ms + SILENCE_MS;
    if (get != NULL && get->asked_ms + redis->timeout_ms < late_ms)
        late_ms = get->asked_ms + redis->timeout_ms;
    return late_ms;
}

static void
time_out_gets(struct hw_cache_redis *redis, uint64_t now_ms)
{
    struct hw_cache_redis_get *get = oldest_waiting(redis);

    for (; get != NULL && get->asked_ms + redis->timeout_ms <= now_ms; get = get->next) {
        hw_cache_redis_cb cb = get->cb;
        if (cb == NULL)
            continue;
        get->cb = NULL;
        redis->stats.timeouts++;
        redis->timeouts_in_row++;
        cb(get->ctx, HW_REDIS_TIMEOUT, NULL);
        if (redis->closing)
            return; /* the list lives until the last handle has closed */
    }
}

static void
on_late(uv_timer_t *timer)
{
    struct hw_cache_redis *redis = timer->data;
    uint64_t now_ms = uv_now(redis->loop);

    if (next_late_ms(redis) <= now_ms && !redis->grace) {
        /* If it was the loop that was late, the answer lies in the socket: look there first. */
        redis->grace = true;
        late_timer_start(redis, now_ms + 1);
        return;
    }
    redis->grace = false;
    time_out_gets(redis, now_ms);
    if (redis->closing)
        return;
    const struct hw_cache_redis_get *oldest = redis->in_flight.oldest;
    bool silent = oldest != NULL && oldest->asked_ms + SILENCE_MS <= now_ms;
    if (redis->timeouts_in_row >= TIMEOUTS_IN_ROW || silent)
        link_drop(redis);
    else if (oldest != NULL)
        late_timer_start(redis, next_late_ms(redis));
}

static char *
copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = hw_xcalloc(size, 1);

    return memcpy(copy, text, size);
}

struct hw_cache_redis *
hw_cache_redis_create(uv_loop_t *loop, const struct hw_cache_redis_conf *conf)
{
    struct hw_cache_redis *redis = hw_xcalloc(1, sizeof(*redis));

    redis->loop = loop;
    redis->host = copy_text(conf->host);
    redis->password = conf->password != NULL ? copy_text(conf->password) : NULL;
    redis->port = conf->port;
    redis->db = conf->db;
    redis->timeout_ms = conf->timeout_ms;
    redis->max_entry_bytes = conf->max_entry_bytes;
    redis->pause_ms = PAUSE_FIRST_MS;
    uv_timer_init(loop, &redis->link_timer);
    uv_timer_init(loop, &redis->late_timer);
    uv_prepare_init(loop, &redis->flush);
    redis->link_timer.data = redis;
    redis->late_timer.data = redis;
    redis->flush.data = redis;
    redis->open_handles = 3;
    uv_prepare_start(&redis->flush, on_flush);
    resolve(redis);
    return redis;
}

void
hw_cache_redis_close(struct hw_cache_redis *redis, void (*closed_cb)(void *ctx), void *ctx)
{
    HW_ASSERT(!redis->closing);
    redis->closing = true;
    redis->up = false;
    redis->closed_cb = closed_cb;
    redis->closed_ctx = ctx;
    for (struct hw_cache_redis_get *get = redis->in_flight.oldest; get != NULL; get = get->next)
        get->cb = NULL;
    if (redis->link != NULL)
        hw_redis_link_close(redis->link);
    redis->link = NULL;
    if (redis->resolving)
        uv_cancel((uv_req_t *)&redis->resolve);
    uv_close((uv_handle_t *)&redis->link_timer, on_handle_closed);
    uv_close((uv_handle_t *)&redis->late_timer, on_handle_closed);
    uv_close((uv_handle_t *)&redis->flush, on_handle_closed);
}

bool
hw_cache_redis_is_up(const struct hw_cache_redis *redis)
{
    return redis->up;
}

void
hw_cache_redis_stats(const struct hw_cache_redis *redis, struct hw_cache_redis_stats *stats)
{
    *stats = redis->stats;
}

struct hw_cache_redis_get *
hw_cache_redis_get(struct hw_cache_redis *redis, const struct hw_cache_key *key,
                   hw_cache_redis_cb cb, void *ctx)
{
    if (!redis->up || redis->in_flight.count >= MAX_IN_FLIGHT)
        return NULL;
    if (hw_redis_write_get(hw_redis_link_out(redis->link), key, redis->max_entry_bytes) != 0)
        return NULL;
    struct hw_cache_redis_get *get = command_push(redis, COMMAND_GET);
    get->cb = cb;
    get->ctx = ctx;
    return get;
}

void
hw_cache_redis_cancel(struct hw_cache_redis_get *get)
{
    get->cb = NULL;
}

void
hw_cache_redis_put(struct hw_cache_redis *redis, const struct hw_cache_key *key,
                   struct hw_cache_entry *entry, uint64_t now_ms)
{
    if (!redis->up || entry->expires_ms <= now_ms)
        return;
    size_t unsent = hw_redis_link_unsent(redis->link);
    bool full = redis->in_flight.count >= MAX_IN_FLIGHT || entry->len > MAX_UNSENT_BYTES ||
                unsent > MAX_UNSENT_BYTES - entry->len;
    if (full || hw_redis_write_set(hw_redis_link_out(redis->link), key, entry,
                                   entry->expires_ms - now_ms) != 0) {
        redis->stats.puts_dropped++;
        return;
    }
    command_push(redis, COMMAND_SET);
}

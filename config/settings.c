/* config/settings.c - the top level, cache, limits and timeouts. */
#include <string.h>
#include <strings.h>

#include "config/address.h"
#include "config/scalar.h"
#include "config/sections.h"

#define SECOND_MS 1000
#define HOUR_MS (3600 * SECOND_MS)
#define DAY_MS (24 * HOUR_MS)
#define KIB 1024u
#define MIB (1024u * KIB)

/* A Unix socket's address has 108 bytes; below worker_dir comes a folder and a socket's name. */
#define WORKER_DIR_MAX 60

char *
hw_resolve_path(struct hw_load *load, const char *text)
{
    if (*text == '/')
        return hw_conf_arena_strdup(load->arena, text);
    size_t folder_len = strlen(load->folder), len = strlen(text);
    char *path = hw_conf_arena_alloc(load->arena, folder_len + len + 2);
    memcpy(path, load->folder, folder_len);
    path[folder_len] = '/';
    memcpy(path + folder_len + 1, text, len);
    return path;
}

static void
set_listen(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_snapshot *snapshot = field;
    struct hw_conf_address address;
    struct hw_err err;
    (void)key;
    if (!hw_want_scalar(load, node, "address:port, as in 127.0.0.1:8080"))
        return;
    if (hw_conf_address_parse(load->arena, node->text, strlen(node->text), -1, &address, &err) !=
        0) {
        hw_conf_report(load, node, "%s; got '%s'", err.msg, hw_conf_shown(node->raw));
        return;
    }
    if (strcasecmp(address.host, "localhost") == 0)
        address.host = hw_conf_arena_strdup(load->arena, "127.0.0.1");
    if (!hw_conf_host_is_address(address.host)) {
        hw_conf_report(load, node,
                       "'%s' is a name: write the address to listen on, as in 127.0.0.1:8080 or "
                       "0.0.0.0:8080",
                       hw_conf_shown(address.host));
        return;
    }
    snapshot->listen_host = address.host;
    snapshot->listen_port = address.port;
    snapshot->listen_loopback = hw_conf_host_is_loopback(address.host);
}

static void
set_access_log(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
               void *field)
{
    static const char *const words[] = {"stdout", "stderr", "off", NULL};
    char *text = NULL;
    hw_set_text(load, node, key, &text);
    if (text != NULL)
        *(char **)field = hw_scalar_word(text, words) < 0 ? hw_resolve_path(load, text) : text;
}

static void
set_worker_dir(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
               void *field)
{
    char *text = NULL;
    hw_set_text(load, node, key, &text);
    if (text == NULL)
        return;
    if (*text != '/')
        hw_conf_report(load, node, "expected an absolute path such as /run/hatchway, got '%s'",
                       hw_conf_shown(node->raw));
    else if (strlen(text) > WORKER_DIR_MAX)
        hw_conf_report(load, node, "at most %d bytes (socket names are short), got %zu",
                       WORKER_DIR_MAX, strlen(text));
    else
        *(char **)field = text;
}

void
hw_set_key_hash(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
                void *field)
{
    (void)key;
    if (!hw_want_scalar(load, node, "sha256:<64 hex digits>"))
        return;
    /* What stands there may be the key itself: it is not shown. */
    if (!hw_scalar_sha256(node->text, field))
        hw_conf_report(load, node,
                       "expected sha256:<64 hex digits>, the hash of the key; "
                       "this makes one: printf %%s KEY | sha256sum");
}

static void
set_admin_key(struct hw_load *load, const struct hw_node *node, const struct hw_key *key,
              void *field)
{
    struct hw_snapshot *snapshot = field;
    snapshot->has_admin_key = true;
    hw_set_key_hash(load, node, key, snapshot->admin_key_sha256);
}

static void
add_egress(struct hw_load *load, const struct hw_node *entry, const struct hw_key *key, void *field)
{
    struct hw_snapshot *snapshot = field;
    (void)key;
    struct hw_conf_address address;
    struct hw_err err;
    const char *text = entry->text;
    if (strcmp(text, "local") == 0) /* always allowed */
        return;
    if (strcmp(text, "any") == 0) {
        hw_conf_report(load, entry, "'any' stands alone: write egress: any");
        return;
    }
    if (hw_conf_host_is_address(text)) {
        snapshot->egress.items[snapshot->egress.count++] = hw_conf_arena_strdup(load->arena, text);
        return;
    }
    if (strpbrk(text, ":/") != NULL ||
        hw_conf_address_parse(load->arena, text, strlen(text), 0, &address, &err) != 0) {
        hw_conf_report(load, entry,
                       "expected a host such as gpu1.lan, without scheme or port, got '%s'",
                       hw_conf_shown(entry->raw));
        return;
    }
    snapshot->egress.items[snapshot->egress.count++] = address.host;
}

static void
set_egress(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_snapshot *snapshot = field;
    if (node->kind == HW_NODE_SCALAR && strcmp(node->text, "any") == 0) {
        snapshot->egress_any = true;
        return;
    }
    hw_start_list(load, node, key, &snapshot->egress);
    hw_each_entry(load, node, key, field, add_egress);
}

void
hw_check_egress(struct hw_load *load, const struct hw_node *node, const char *host)
{
    const struct hw_snapshot *snapshot = load->snapshot;
    if (snapshot->egress_any)
        return;
    for (size_t i = 0; i < snapshot->egress.count; i++)
        if (strcasecmp(snapshot->egress.items[i], host) == 0)
            return;
    const char *shown = hw_conf_shown(host);
    switch (hw_conf_host_reach(host)) {
    case HW_CONF_REACH_LOCAL:
        return;
    case HW_CONF_REACH_NAME:
        hw_conf_report(load, node,
                       "'%s' is a name that may lead anywhere: list it (egress: [%s]) or write its "
                       "private address",
                       shown, shown);
        return;
    case HW_CONF_REACH_SHARED:
        hw_conf_report(
            load, node,
            "%s is in 100.64.0.0/10, which carriers and VPNs share and which does not count "
            "as local: list it if it is yours (egress: [%s])",
            shown, shown);
        return;
    case HW_CONF_REACH_PUBLIC:
        hw_conf_report(
            load, node,
            "%s is outside this fleet and egress is local: list it (egress: [%s]) or write "
            "egress: any",
            shown, shown);
        return;
    }
}

static void
set_redis(struct hw_load *load, const struct hw_node *node, const struct hw_key *key, void *field)
{
    struct hw_conf_cache *cache = field;
    struct hw_conf_redis_url url;
    struct hw_err err;
    (void)key;
    if (node->kind == HW_NODE_NULL) /* `redis:` with nothing behind it: embedded only */
        return;
    if (!hw_want_scalar(load, node, "redis://[:password@]host:port/db"))
        return;
    if (hw_conf_redis_url_parse(load->arena, node->text, &url, &err) != 0) {
        hw_conf_report(load, node, "%s", err.msg);
        return;
    }
    cache->redis_host = url.address.host;
    cache->redis_port = url.address.port;
    cache->redis_db = url.db;
    cache->redis_password = url.password;
    hw_check_egress(load, node, url.address.host);
    if (url.password != NULL && !node->from_env)
        hw_conf_warn(load, node,
                     "a password in clear: put it into the environment and write "
                     "redis://:${REDIS_PASSWORD}@...");
}

static const struct hw_key keys_cache[] = {
    {"memory", hw_set_size, HW_FIELD(hw_conf_cache, memory), .fallback = "64MiB"},
    {"redis", set_redis, .offset = 0, .shape = HW_SHAPE_SCALAR, .pattern = "^redis://"},
    {"redis_timeout", hw_set_duration, HW_FIELD(hw_conf_cache, redis_timeout), .fallback = "20ms",
     .min = 1, .max = 10 * SECOND_MS},
    {"ttl", hw_set_duration, HW_FIELD(hw_conf_cache, ttl), .fallback = "1h", .min = SECOND_MS,
     .max = 365ull * DAY_MS},
    {"max_entry", hw_set_size, HW_FIELD(hw_conf_cache, max_entry), .fallback = "256KiB", .min = KIB,
     .max = 64 * MIB},
    {"keep", hw_set_word, HW_FIELD(hw_conf_cache, keep), .words = hw_keep_names},
    {"join", hw_set_word, HW_FIELD(hw_conf_cache, join), .fallback = "whole",
     .words = hw_conf_join_names},
    {.name = NULL},
};

static const struct hw_key keys_limits[] = {
    {"body", hw_set_size, HW_FIELD(hw_conf_limits, body), .fallback = "8MiB", .min = KIB,
     .max = 1024ull * MIB},
    {"header_bytes", hw_set_size, HW_FIELD(hw_conf_limits, header_bytes), .fallback = "32KiB",
     .min = KIB, .max = MIB},
    {"headers", hw_set_count, HW_FIELD(hw_conf_limits, headers), .fallback = "100", .min = 8,
     .max = 1000},
    {"connections", hw_set_count, HW_FIELD(hw_conf_limits, connections), .fallback = "10000",
     .min = 1, .max = 1000000},
    {"header_timeout", hw_set_duration, HW_FIELD(hw_conf_limits, header_timeout), .fallback = "10s",
     .min = 10, .max = HOUR_MS},
    {"body_timeout", hw_set_duration, HW_FIELD(hw_conf_limits, body_timeout), .fallback = "60s",
     .min = 10, .max = HOUR_MS},
    {"keepalive", hw_set_duration, HW_FIELD(hw_conf_limits, keepalive), .fallback = "75s",
     .min = 10, .max = DAY_MS},
    {"json_depth", hw_set_count, HW_FIELD(hw_conf_limits, json_depth), .fallback = "64", .min = 8,
     .max = 512},
    {"json_nodes", hw_set_count, HW_FIELD(hw_conf_limits, json_nodes), .fallback = "200000",
     .min = 100, .max = 10000000},
    {"retry_percent", hw_set_count, HW_FIELD(hw_conf_limits, retry_percent), .fallback = "20",
     .max = 100},
    {"queued", hw_set_count, HW_FIELD(hw_conf_limits, queued), .fallback = "1024", .max = 1000000},
    {.name = NULL},
};

static const struct hw_key keys_classifier[] = {
    {"learned", hw_set_bool, HW_FIELD(hw_conf_classifier, learned), .fallback = "true"},
    {"abstain", hw_set_percent, HW_FIELD(hw_conf_classifier, abstain), .fallback = "2%", .max = 50,
     .shape = HW_SHAPE_SCALAR, .pattern = HW_PERCENT_PATTERN},
    {"confidence", hw_set_percent, HW_FIELD(hw_conf_classifier, confidence), .fallback = "50%",
     .max = 100, .shape = HW_SHAPE_SCALAR, .pattern = HW_PERCENT_PATTERN},
    {.name = NULL},
};

static const struct hw_key keys_probes[] = {
    {"interval", hw_set_duration, HW_FIELD(hw_conf_probes, interval), .fallback = "10s",
     .max = HOUR_MS},
    {"timeout", hw_set_duration, HW_FIELD(hw_conf_probes, timeout), .fallback = "2s", .min = 10,
     .max = 60 * SECOND_MS},
    {"failures", hw_set_count, HW_FIELD(hw_conf_probes, failures), .fallback = "2", .min = 1,
     .max = 100},
    {.name = NULL},
};

static const struct hw_key keys_breaker[] = {
    {"slow_start", hw_set_duration, HW_FIELD(hw_conf_breaker, slow_start), .fallback = "30s",
     .max = HOUR_MS},
    {"late", hw_set_count, HW_FIELD(hw_conf_breaker, late), .fallback = "10", .max = 1000},
    {.name = NULL},
};

static const struct hw_key keys_discover[] = {
    {"interval", hw_set_duration, HW_FIELD(hw_conf_discover, interval), .fallback = "30s",
     .max = DAY_MS},
    {"timeout", hw_set_duration, HW_FIELD(hw_conf_discover, timeout), .fallback = "5s", .min = 10,
     .max = 60 * SECOND_MS},
    {.name = NULL},
};

/* What the fleet's device classes draw at work, as their makers tell. */
#define WATTS(device) .offset = (device) * sizeof(uint32_t), .size = sizeof(uint32_t), .max = 100000
static const struct hw_key keys_watts[] = {
    {"cpu", hw_set_count, WATTS(HW_DEVICE_CPU), .fallback = "65"},
    {"mps", hw_set_count, WATTS(HW_DEVICE_MPS), .fallback = "40"},
    {"cuda", hw_set_count, WATTS(HW_DEVICE_CUDA), .fallback = "250"},
    {.name = NULL},
};

const struct hw_key hw_keys_timeouts[] = {
    {"connect", hw_set_duration, HW_FIELD(hw_conf_timeouts, connect), .fallback = "2s", .min = 1,
     .max = HOUR_MS},
    {"first_byte", hw_set_duration, HW_FIELD(hw_conf_timeouts, first_byte), .fallback = "60s",
     .min = 1, .max = DAY_MS},
    {"idle", hw_set_duration, HW_FIELD(hw_conf_timeouts, idle), .fallback = "30s", .min = 1,
     .max = DAY_MS},
    {"total", hw_set_duration, HW_FIELD(hw_conf_timeouts, total), .fallback = "10m", .min = 1,
     .max = DAY_MS},
    {"keepalive_comment", hw_set_duration, HW_FIELD(hw_conf_timeouts, keepalive_comment),
     .fallback = "15s", .max = DAY_MS},
    {.name = NULL},
};

/* Read in this order, whatever the file's: what is named comes before what names it. */
const struct hw_key hw_keys_top[] = {
    {"listen", set_listen, .offset = 0, .fallback = "127.0.0.1:8080", .shape = HW_SHAPE_SCALAR,
     .pattern = ":[0-9]+$"},
    {"loops", hw_set_count, HW_FIELD(hw_snapshot, loops), .max = 256},
    {"drain", hw_set_duration, HW_FIELD(hw_snapshot, drain), .fallback = "30s", .max = DAY_MS},
    {"watch", hw_set_bool, HW_FIELD(hw_snapshot, watch), .fallback = "true"},
    {"access_log", set_access_log, HW_FIELD(hw_snapshot, access_log), .fallback = "stdout",
     .max = 1024, .shape = HW_SHAPE_SCALAR},
    {"admin_key", set_admin_key, .offset = 0, .shape = HW_SHAPE_SCALAR,
     .pattern = HW_KEY_HASH_PATTERN},
    {"worker_dir", set_worker_dir, HW_FIELD(hw_snapshot, worker_dir), .max = 1024,
     .shape = HW_SHAPE_SCALAR, .pattern = "^/"},
    {"probes", hw_set_section, HW_FIELD(hw_snapshot, probes), .keys = keys_probes},
    {"breaker", hw_set_section, HW_FIELD(hw_snapshot, breaker), .keys = keys_breaker},
    {"discover", hw_set_section, HW_FIELD(hw_snapshot, discover), .keys = keys_discover},
    {"watts", hw_set_section, HW_FIELD(hw_snapshot, watts), .keys = keys_watts},
    {"timezone", hw_set_zone, HW_FIELD(hw_snapshot, zone), .max = 64, .shape = HW_SHAPE_SCALAR},
    {"schedule", hw_set_section, HW_FIELD(hw_snapshot, schedule), .keys = hw_keys_schedule},
    {"egress", set_egress, .offset = 0, .max = 256},
    {"cache", hw_set_section, HW_FIELD(hw_snapshot, cache), .keys = keys_cache},
    {"limits", hw_set_section, HW_FIELD(hw_snapshot, limits), .keys = keys_limits},
    {"timeouts", hw_set_section, HW_FIELD(hw_snapshot, timeouts), .keys = hw_keys_timeouts},
    {"decisions", hw_set_section, HW_FIELD(hw_snapshot, decisions), .keys = hw_keys_decisions},
    {"classifier", hw_set_section, HW_FIELD(hw_snapshot, classifier), .keys = keys_classifier},
    {"difficulty", hw_set_section, HW_FIELD(hw_snapshot, difficulty), .keys = hw_keys_difficulty},
    {"roles", hw_set_roles, .offset = 0, .max = HW_MAX_ROLES, .keys = hw_keys_role,
     .shape = HW_SHAPE_NAMED_SECTIONS},
    {"devices", hw_set_devices, .offset = 0, .max = HW_MAX_DEVICES, .keys = hw_keys_device,
     .shape = HW_SHAPE_NAMED_SECTIONS},
    {"agents", hw_set_records, HW_FIELD(hw_snapshot, agents), .max = HW_MAX_AGENTS,
     .records = &hw_records_agents},
    {"backends", hw_set_records, HW_FIELD(hw_snapshot, backends), .max = HW_MAX_BACKENDS,
     .records = &hw_records_backends},
    {"routes", hw_set_records, HW_FIELD(hw_snapshot, routes), .max = HW_MAX_ROUTES,
     .records = &hw_records_routes},
    {"aliases", hw_set_aliases, .offset = 0, .max = HW_MAX_ALIASES, .shape = HW_SHAPE_NAMED_LISTS},
    {.name = NULL},
};

/* config/snapshot.h - one immutable loaded configuration.
 *
 * Everything in here is as the YAML said it, validated, with defaults filled in and names resolved
 * to indices. Immutable after hw_config_load and shared by all loops under an atomic reference
 * count: an exchange keeps the snapshot it began with. Durations are milliseconds, sizes bytes.
 * Struct fields carry the words of the YAML keys (docs/configuration.md is the reference). */
#ifndef HW_CONFIG_SNAPSHOT_H
#define HW_CONFIG_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum hw_kind { HW_KIND_BDH, HW_KIND_OLLAMA, HW_KIND_OPENAI, HW_KIND_COUNT };
enum hw_device { HW_DEVICE_CPU, HW_DEVICE_MPS, HW_DEVICE_CUDA, HW_DEVICE_COUNT };
enum hw_precision { HW_PRECISION_F32, HW_PRECISION_FAST, HW_PRECISION_COUNT };
enum hw_lane { HW_LANE_REALTIME, HW_LANE_INTERACTIVE, HW_LANE_BACKGROUND, HW_LANE_COUNT };
enum hw_by {
    HW_BY_LATENCY,
    HW_BY_PRIORITY,
    HW_BY_LEAST_INFLIGHT,
    HW_BY_WEIGHTED,
    HW_BY_AFFINITY,
    HW_BY_COST,
    HW_BY_ENERGY,
    HW_BY_COUNT
};
/* How much of a query's text the decision log tells, and of whom. */
enum hw_decision_text {
    HW_DECISION_TEXT_NONE,
    HW_DECISION_TEXT_FEATURES, /* hashes of its n-grams: enough to classify it again */
    HW_DECISION_TEXT_FULL,
    HW_DECISION_TEXT_COUNT
};
enum hw_decision_agents {
    HW_DECISION_AGENTS_ALL,
    HW_DECISION_AGENTS_LABELLED, /* those with `label: true` */
    HW_DECISION_AGENTS_NONE,
    HW_DECISION_AGENTS_COUNT
};
enum hw_keep { HW_KEEP_DETERMINISTIC, HW_KEEP_ALL, HW_KEEP_NONE, HW_KEEP_COUNT };

/* Which identical queries in flight are answered by one. */
enum hw_conf_join { HW_CONF_JOIN_OFF, HW_CONF_JOIN_WHOLE, HW_CONF_JOIN_ALL, HW_CONF_JOIN_COUNT };

enum hw_manage {
    HW_MANAGE_PULL,
    HW_MANAGE_PUSH,
    HW_MANAGE_CREATE,
    HW_MANAGE_COPY,
    HW_MANAGE_DELETE,
    HW_MANAGE_COUNT
};

/* The words of the YAML for each; NULL behind the last. */
extern const char *const hw_kind_names[HW_KIND_COUNT + 1];
extern const char *const hw_device_names[HW_DEVICE_COUNT + 1];
extern const char *const hw_precision_names[HW_PRECISION_COUNT + 1];
extern const char *const hw_lane_names[HW_LANE_COUNT + 1];
extern const char *const hw_by_names[HW_BY_COUNT + 1];
extern const char *const hw_manage_names[HW_MANAGE_COUNT + 1];
extern const char *const hw_keep_names[HW_KEEP_COUNT + 1];
extern const char *const hw_conf_join_names[HW_CONF_JOIN_COUNT + 1];
extern const char *const hw_decision_text_names[HW_DECISION_TEXT_COUNT + 1];
extern const char *const hw_decision_agents_names[HW_DECISION_AGENTS_COUNT + 1];
extern const char *const hw_day_names[8]; /* sun mon ... */

struct hw_conf_list {
    char **items;
    size_t count;
};

struct hw_conf_timeouts {
    uint32_t connect;           /* 2s */
    uint32_t first_byte;        /* 60s: request sent -> first content event */
    uint32_t idle;              /* 30s between two events of an answer */
    uint32_t total;             /* 10m a query */
    uint32_t keepalive_comment; /* 15s without a word to an agent that waits; 0: none */
};

/* Minutes of the local day, begin inclusive, end exclusive; begin > end: across midnight. */
struct hw_conf_hours {
    uint16_t begin, end;
    char *text; /* as written */
};

struct hw_conf_windows {
    struct hw_conf_hours *items;
    size_t count;
};

/* The fleet's day. */
struct hw_conf_schedule {
    struct hw_conf_windows awake; /* 06-22 */
    struct hw_conf_windows dream; /* 02-06 */
};

/* Whether and when a backend takes the queries of a lane. */
struct hw_conf_lane {
    bool refused;
    bool timed; /* only within hours */
    struct hw_conf_windows hours;
};

/* A part of a device that is kept free for some queries: those of these lanes, or of a role. */
#define HW_MAX_SHARES 16
#define HW_MAX_DEVICES 256
struct hw_conf_share {
    char *name;         /* a lane, `live` for realtime and interactive, or a role */
    uint32_t lane_mask; /* 0: it is a role's */
    int role;           /* index; -1: it is a lane's */
    double share;
    uint32_t slots; /* of the device's max_inflight */
};

/* One piece of hardware that several backends may share. */
struct hw_conf_device {
    char *name;
    enum hw_device class;
    uint64_t memory;       /* bytes; 0: not told */
    uint32_t max_inflight; /* queries at a time, of all its backends together; 0: no limit */
    struct hw_conf_share *shares;
    size_t share_count;
    uint32_t open_slots; /* of max_inflight, in nobody's share */
    uint64_t digest;     /* of max_inflight and shares */
    uint32_t line;
};

/* What a worker is asked before it serves a checkpoint. */
struct hw_conf_trial {
    char *ask;    /* NULL: nothing */
    char *expect; /* must occur in the answer; NULL: any answer will do */
};

struct hw_conf_backend {
    char *name;
    enum hw_kind kind;
    char *model; /* bdh: checkpoint of a local worker, path resolved against the YAML's folder */
    char *url;   /* as written; NULL for a local worker */
    bool https;
    char *host; /* from url, without brackets */
    uint16_t port;
    char *path;                      /* from url, "" or "/prefix" without a slash at its end */
    enum hw_device device;           /* the class */
    const struct hw_conf_device *on; /* among snapshot->devices; NULL: none was named */
    uint32_t workers;                /* bdh by model: processes, 1 */
    struct hw_conf_trial trial;      /* the same */
    enum hw_precision precision;     /* the same */
    size_t state_cache;              /* the same: bytes of each worker; 0: none; 64 MiB */
    struct hw_conf_list models;
    struct hw_conf_list roles; /* names; role_mask has the same by index */
    uint64_t role_mask;
    bool general;
    int quality;
    uint32_t priority;     /* by: priority; lower first; 0 */
    uint32_t weight;       /* by: weighted and affinity; 1; 0: only when nobody else can */
    uint32_t manage;       /* ollama: bit per enum hw_manage that operators may ask; 0: none */
    bool discover;         /* true: its models are asked for; not for bdh */
    bool probe;            /* true: its health is asked for; not for local workers */
    double cost;           /* by: cost; price of a million tokens, in whatever unit; 0 */
    uint32_t max_inflight; /* 0: no limit of ours */
    uint32_t context;      /* tokens that fit; 0: unknown, or no bound (bdh) */
    double parameters;     /* of its models, where their names do not tell; 0: they do */
    uint32_t bits;         /* of a parameter, likewise */
    uint32_t split;        /* a model lies on so many devices like its own; 1 */
    uint32_t line, column; /* of `model`, for messages */
    char *api_key;         /* after ${ENV} expansion; NULL: none. A secret: never logged */
    struct hw_conf_lane lanes[HW_LANE_COUNT]; /* all zero: each at any hour */
    struct hw_conf_timeouts timeouts;
    uint64_t digest; /* of everything above that can change an answer (kind, model, url, models) */
};

#define HW_MAX_ROLES 64
struct hw_conf_role {
    char *name;
    char *description; /* may be NULL */
    struct hw_conf_list keywords;
    struct hw_conf_list examples; /* the YAML's, then those of examples_file */
    uint32_t line, column;        /* of the YAML, for messages */
};

/* Which backends a route names. An empty condition does not restrict. */
struct hw_conf_selector {
    bool present;
    bool has_kind;
    enum hw_kind kind;
    uint32_t device_mask; /* bit per enum hw_device; 0: any */
    bool role_same;       /* role: same */
    uint64_t role_mask;   /* named roles; 0: none named */
    uint64_t
        *backend_mask; /* named backends, a bit each, backend_mask_words long; NULL: none named */
    struct hw_conf_list backends;
    char *model; /* ask the backend for this model; NULL: whichever it has */
    enum hw_by by;
    bool idle;          /* only onto backends that have nothing else to do; else the query waits */
    uint32_t last_mask; /* last_resort: device classes behind all others, a bit each */
};

/* Copies of a route's queries, for a backend that is being tried out. */
struct hw_conf_shadow {
    struct hw_conf_selector to; /* present: the route has copies made */
    double share;               /* of its queries; 1 */
    uint32_t max_inflight;      /* copies at a time, of all loops; 8 */
};

struct hw_conf_range { /* ">8192", "<=100", "10..20": inclusive bounds */
    bool present;
    uint64_t min;
    uint64_t max;
};

/* What a yes-or-no condition wants. */
enum hw_wanted { HW_WANTED_ANY, HW_WANTED_FALSE, HW_WANTED_TRUE };

/* A header by its name in lower case: one of these values, or (the list has "*") any at all. */
struct hw_conf_header {
    char *name;
    struct hw_conf_list values;
};

struct hw_pattern; /* config/pattern.h */
struct hw_zone;    /* config/zone.h */

struct hw_conf_regex {
    char *text;
    struct hw_pattern *pattern; /* compiled; the snapshot owns it */
};

/* Every condition in here that is present must hold; lists hold alternatives. `any` and `all` nest,
 * at most HW_WHEN_DEPTH_MAX deep. */
#define HW_WHEN_DEPTH_MAX 4
struct hw_conf_when {
    bool present;
    uint64_t role_mask; /* 0: any */
    uint32_t lane_mask;
    uint32_t days_mask; /* bit 0: Sunday. Beside `hours`: of the day on which the window begins */
    enum hw_wanted tools, images, json, stream, difficult;
    struct hw_conf_range prompt_tokens;
    struct hw_conf_list agent;
    struct hw_conf_list model; /* as the agent asked for it */
    struct hw_conf_list dialect;
    struct hw_conf_list path;    /* of the request; one that ends in '*' is a prefix */
    struct hw_conf_list keyword; /* any of these words in the last user message */
    struct hw_conf_hours *hours;
    size_t hours_count;
    struct hw_conf_header *header; /* all of them must fit */
    size_t header_count;
    struct hw_conf_regex *regex; /* any of them in the last user message */
    size_t regex_count;
    struct hw_conf_when *all, *any;
    size_t all_count, any_count;
    struct hw_conf_when *none; /* `not`: none of these holds */
    size_t none_count;
};

struct hw_conf_route {
    char *name;
    struct hw_conf_when when;
    struct hw_conf_selector to;
    struct hw_conf_selector overflow; /* when all of `to` are saturated; may be absent */
    struct hw_conf_selector fallback;
    struct hw_conf_shadow shadow;
    bool overflow_waits; /* overflow: wait. Rather waits for `to` than goes to the fallback */
    uint32_t max_wait;   /* a longer expected queue is saturation; 0: only max_inflight is */
    bool has_lane;       /* the route puts its queries into this lane */
    enum hw_lane lane;
    bool strict;    /* rather 400 than an answer to a query that lost something on its way */
    bool on_demand; /* the hours of backends' lanes do not hold for its queries */
    enum hw_keep cache;
    uint64_t digest;       /* of to, fallback, cache: what may change the answer */
    uint32_t line, column; /* for messages */
};

struct hw_conf_agent {
    char *name;
    uint8_t key_sha256[32];
    enum hw_lane lane;
    bool label; /* the decision log tells its name under `agents: labelled` */
};

struct hw_conf_alias {
    char *name;
    char *target; /* role, model or backend name */
};

struct hw_conf_cache {
    uint64_t memory;  /* bytes; 0: off; 64MiB */
    char *redis_host; /* NULL: embedded only */
    uint16_t redis_port;
    uint32_t redis_db;
    char *redis_password;   /* NULL: none. A secret */
    uint32_t redis_timeout; /* 20ms without an answer is a miss */
    uint64_t ttl;
    uint64_t max_entry;     /* 256KiB: larger answers are not kept */
    enum hw_keep keep;      /* default for routes */
    enum hw_conf_join join; /* whole: those that want a whole answer */
};

struct hw_conf_probes {
    uint32_t interval; /* 10s between two probes of a backend; 0: none are sent */
    uint32_t timeout;  /* 2s */
    uint32_t failures; /* 2 in a row, and the backend is out until one succeeds */
};

struct hw_conf_breaker {
    uint32_t slow_start; /* 30s from recovery to its full share of the queries; 0: at once */
    uint32_t late;       /* 10 times later than usual, a first token is a failure; 0: never */
};

struct hw_conf_discover {
    uint32_t interval; /* 30s between two looks at a backend's models; 0: none is taken */
    uint32_t timeout;  /* 5s */
};

struct hw_conf_limits {
    uint64_t body;           /* 8MiB */
    uint32_t header_bytes;   /* 32KiB */
    uint32_t headers;        /* 100 */
    uint32_t connections;    /* 10000 a process */
    uint32_t header_timeout; /* 10s */
    uint32_t body_timeout;   /* 60s */
    uint32_t keepalive;      /* 75s */
    uint32_t json_depth;     /* 64 */
    uint32_t json_nodes;     /* 200000 values in a body */
    uint32_t retry_percent;  /* 20: retries for 100 queries */
    uint32_t queued;         /* 1024 queries waiting for room */
};

/* How well a weak and a strong model answered a text, 0..1. */
struct hw_conf_outcome {
    char *text;
    float weak, strong;
};

struct hw_conf_difficulty {
    struct hw_conf_outcome *outcomes; /* none: no query is difficult */
    size_t outcome_count;
    double strong_share; /* of queries that count as difficult; 0.2 */
};

struct hw_conf_classifier {
    bool learned;      /* from the roles' examples, for queries without a keyword; true */
    double abstain;    /* share of a role's own queries that may be called none; 0.02 */
    double confidence; /* a learned role less likely right than this is none; 0.5 */
};

struct hw_conf_decisions {
    char *file;                     /* NULL: no decision log */
    enum hw_decision_text text;     /* none */
    enum hw_decision_agents agents; /* all */
    uint64_t max_size;              /* 64MiB, then the file is set aside */
    uint32_t keep;                  /* 4 that were set aside */
    struct hw_conf_list headers;    /* logged: those asked for, and those that routes look at */
};

struct hw_snapshot {
    char *file;
    char *listen_host;
    uint16_t listen_port;
    bool listen_loopback;
    uint32_t loops;       /* 0: one a core */
    uint32_t drain;       /* SIGTERM: streams may go on for this long; 30s */
    bool watch;           /* read the file again when it has changed; true */
    char *access_log;     /* "stdout", "stderr", "off" or a path; stdout */
    struct hw_zone *zone; /* whose clock `hours` and `days` mean (config/zone.h) */
    struct hw_conf_schedule schedule;
    bool timed;                      /* a backend takes a lane only within hours */
    uint32_t watts[HW_DEVICE_COUNT]; /* by: energy; drawn while a device class answers */
    bool egress_any;
    struct hw_conf_list egress; /* names allowed beside local addresses */
    bool has_admin_key;
    uint8_t admin_key_sha256[32];
    char *worker_dir; /* parent of the private socket directory; /tmp or $XDG_RUNTIME_DIR */
    struct hw_conf_cache cache;
    struct hw_conf_limits limits;
    struct hw_conf_timeouts timeouts;
    struct hw_conf_classifier classifier;
    struct hw_conf_difficulty difficulty;
    struct hw_conf_probes probes;
    struct hw_conf_breaker breaker;
    struct hw_conf_discover discover;
    struct hw_conf_device *devices;
    size_t device_count;
    struct hw_conf_decisions decisions;
    struct hw_conf_backend *backends;
    size_t backend_count;
    struct hw_conf_role *roles;
    size_t role_count;
    struct hw_conf_route
        *routes; /* never empty: without any, a `default` to all general backends */
    size_t route_count;
    struct hw_conf_agent *agents;
    size_t agent_count; /* 0: no keys asked for, loopback only */
    struct hw_conf_alias *aliases;
    size_t alias_count;
    /* The loader's own: reference count (atomic) and memory. */
    struct hw_snapshot_private *priv;
};

struct hw_snapshot *hw_snapshot_ref(struct hw_snapshot *snapshot); /* any thread */
void hw_snapshot_unref(struct hw_snapshot *snapshot);              /* any thread; NULL-safe */

/* Indices by name; -1: none. */
int hw_snapshot_role(const struct hw_snapshot *snapshot, const char *name, size_t len);
int hw_snapshot_backend(const struct hw_snapshot *snapshot, const char *name, size_t len);
/* What models some backend has is found out by asking it: the file does not say. */
bool hw_snapshot_discovers(const struct hw_snapshot *snapshot);
/* The agent whose key has this SHA-256, compared in constant time; -1: none. */
int hw_snapshot_agent(const struct hw_snapshot *snapshot, const uint8_t sha256[32]);

#endif

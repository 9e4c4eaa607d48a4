/* config/sections.h - the tables of keys of each part of the YAML. Private to config/. */
#ifndef HW_CONFIG_SECTIONS_H
#define HW_CONFIG_SECTIONS_H

#include "config/schema.h"

#define HW_KEY_HASH_PATTERN "^sha256:[0-9A-Fa-f]{64}$"

extern const struct hw_key hw_keys_role[];     /* of struct hw_conf_role */
extern const struct hw_key hw_keys_device[];   /* of struct hw_conf_device */
extern const struct hw_key hw_keys_top[];      /* of struct hw_snapshot */
extern const struct hw_key hw_keys_timeouts[]; /* of struct hw_conf_timeouts */
extern const struct hw_key hw_keys_lanes[];    /* of struct hw_conf_lane[HW_LANE_COUNT] */
extern const struct hw_key hw_keys_schedule[]; /* of struct hw_conf_schedule */
extern const struct hw_key hw_keys_when[];     /* of struct hw_conf_when */
extern const struct hw_key hw_keys_decisions[];
extern const struct hw_key hw_keys_difficulty[]; /* of struct hw_conf_difficulty */
extern const char *const hw_dialect_words[];     /* NULL-terminated */
extern const struct hw_records hw_records_agents;
extern const struct hw_records hw_records_backends;
extern const struct hw_records hw_records_routes;

hw_setter hw_set_devices;       /* field: the snapshot */
hw_setter hw_set_device;        /* struct hw_conf_backend: a class, or a device by name */
hw_setter hw_set_roles;         /* field: the snapshot */
hw_setter hw_set_examples_file; /* struct hw_conf_list: adds the rows of a JSONL file */
hw_setter hw_set_aliases;       /* field: the snapshot */
hw_setter hw_set_key_hash;      /* uint8_t[32] from sha256:... */
hw_setter hw_set_keywords;      /* struct hw_conf_list: words and phrases to look for */
hw_setter hw_set_role_mask;     /* uint64_t: names of configured roles */
hw_setter hw_set_windows;       /* struct hw_conf_windows: hours, or names of the schedule's */
hw_setter hw_set_lanes;         /* struct hw_conf_backend: which lanes it takes, and when */
hw_setter hw_set_when;          /* struct hw_conf_when */
hw_setter hw_set_zone;          /* struct hw_zone * */

/* Folder of path, in arena: "." when it has none. */
const char *hw_folder_of(struct hw_conf_arena *arena, const char *path);
/* The file's bytes, to be given to free(): HW_YAML_BYTES_MAX + 1 of one that is too long. NULL: it
 * cannot be read, and diags say why. */
char *hw_read_yaml(const char *path, size_t *len, struct hw_diags *diags);
/* text, or the same below the file's folder when it is relative. */
char *hw_resolve_path(struct hw_load *load, const char *text);
/* In lower case, of characters that a header's name has. */
bool hw_conf_is_header_name(const char *text);
/* By its name in lower case: no condition may look at it, no log may have it. */
bool hw_conf_header_is_secret(const char *name);
/* When routes have been read: snapshot->decisions.headers gets the headers they look at. */
void hw_gather_decision_headers(struct hw_load *load);
/* Queries (and answers) stay on our machines: reports a host to which `egress` gives no leave. */
void hw_check_egress(struct hw_load *load, const struct hw_node *node, const char *host);
/* NULL-terminated names of what is configured, good once their section has been read. */
const char *const *hw_role_words(struct hw_load *load);
const char *const *hw_agent_words(struct hw_load *load);
const char *const *hw_backend_words(struct hw_load *load);
/* The route that stands when none is written. */
void hw_add_default_route(struct hw_load *load);
uint64_t hw_backend_digest(const struct hw_conf_backend *backend);
/* Whether a backend answers to this model name. */
bool hw_conf_has_model(const struct hw_conf_backend *backend, const char *model);
/* Whether a backend passes the conditions of a selector. same_role_mask: the roles `role: same`
 * may stand for; 0: any. */
bool hw_conf_selects(const struct hw_conf_selector *selector, uint64_t same_role_mask,
                     const struct hw_conf_backend *backend, size_t i);

#define HW_DAY_MINUTES (24 * 60)
/* Sets those of a day's minutes that are in one of the windows. */
void hw_mark_minutes(const struct hw_conf_windows *windows, bool *minutes);

/* check_lanes.c: routes whose lane nobody takes, or never when they have queries. */
void hw_warn_about_lanes(struct hw_load *load, const struct hw_node *root);
/* check_routes.c */
void hw_warn_about_routes(struct hw_load *load, const struct hw_node *root);
void hw_warn_about_keywords(struct hw_load *load, const struct hw_node *root);

/* A selector names a backend when it has any condition at all that this backend meets. */
bool hw_conf_is_named_by(const struct hw_conf_selector *selector,
                         const struct hw_conf_backend *backend, size_t i);

/* What one section alone cannot tell: run when all have been read. Errors first, then warnings. */
void hw_check_all(struct hw_load *load, const struct hw_node *root);

#endif

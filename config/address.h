/* config/address.h - hosts, ports and URLs, and which of them stay at home. Pure; resolves nothing.
 * Private to config/. */
#ifndef HW_CONFIG_ADDRESS_H
#define HW_CONFIG_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"
#include "hatchway/err.h"

struct hw_conf_address {
    char *host; /* without brackets */
    uint16_t port;
};

struct hw_conf_url {
    bool https;
    struct hw_conf_address address;
    char *path; /* "" or "/prefix" without a slash at its end */
};

struct hw_conf_redis_url {
    struct hw_conf_address address;
    char *password; /* NULL: none */
    uint32_t db;
};

enum hw_conf_reach {
    HW_CONF_REACH_LOCAL,  /* loopback, private (RFC 1918, fc00::/7) or link-local */
    HW_CONF_REACH_SHARED, /* 100.64.0.0/10: carriers and VPNs; not ours by itself */
    HW_CONF_REACH_PUBLIC,
    HW_CONF_REACH_NAME, /* a name: where it leads, nobody knows before it is looked up */
};

/* `host`, `host:port`, `[v6]:port`. default_port < 0: the port must be there. Results in arena. */
int hw_conf_address_parse(struct hw_conf_arena *arena, const char *text, size_t len,
                          int default_port, struct hw_conf_address *out, struct hw_err *err);
int hw_conf_url_parse(struct hw_conf_arena *arena, const char *text, struct hw_conf_url *out,
                      struct hw_err *err);
/* redis://[:password@]host[:port][/db]. The password is taken as it is, up to the last @. */
int hw_conf_redis_url_parse(struct hw_conf_arena *arena, const char *text,
                            struct hw_conf_redis_url *out, struct hw_err *err);
enum hw_conf_reach hw_conf_host_reach(const char *host);
bool hw_conf_host_is_address(const char *host); /* IPv4 or IPv6, not a name */
bool hw_conf_host_is_loopback(const char *host);

#endif

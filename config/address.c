/* config/address.c - hosts, ports and URLs. */
#include "config/address.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "config/scalar.h"

#define HOST_MAX 253
/* It goes before the path of each request. */
#define PATH_MAX_BYTES 256

static bool
parse_v4(const char *host, uint32_t *out)
{
    struct in_addr address;
    if (inet_pton(AF_INET, host, &address) != 1)
        return false;
    *out = ntohl(address.s_addr);
    return true;
}

/* With an optional %zone behind it. */
static bool
parse_v6(const char *host, uint8_t out[16])
{
    char text[INET6_ADDRSTRLEN];
    size_t len = strcspn(host, "%");
    if (len >= sizeof(text) || strcmp(host + len, "%") == 0)
        return false;
    memcpy(text, host, len);
    text[len] = '\0';
    return inet_pton(AF_INET6, text, out) == 1;
}

static bool
is_mapped_v4(const uint8_t v6[16], uint32_t *v4)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(v6, prefix, sizeof(prefix)) != 0)
        return false;
    *v4 = (uint32_t)v6[12] << 24 | (uint32_t)v6[13] << 16 | (uint32_t)v6[14] << 8 | v6[15];
    return true;
}

static enum hw_conf_reach
reach_v4(uint32_t ip)
{
    static const struct {
        uint32_t network;
        unsigned bits;
        enum hw_conf_reach reach;
    } nets[] = {
        {0x7f000000, 8, HW_CONF_REACH_LOCAL},  {0x0a000000, 8, HW_CONF_REACH_LOCAL},
        {0xac100000, 12, HW_CONF_REACH_LOCAL}, {0xc0a80000, 16, HW_CONF_REACH_LOCAL},
        {0xa9fe0000, 16, HW_CONF_REACH_LOCAL}, {0x64400000, 10, HW_CONF_REACH_SHARED},
    };
    for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++)
        if ((ip ^ nets[i].network) >> (32 - nets[i].bits) == 0)
            return nets[i].reach;
    return HW_CONF_REACH_PUBLIC;
}

static bool
is_v6_loopback(const uint8_t ip[16])
{
    static const uint8_t loopback[16] = {[15] = 1};
    return memcmp(ip, loopback, sizeof(loopback)) == 0;
}

enum hw_conf_reach
hw_conf_host_reach(const char *host)
{
    uint32_t v4;
    uint8_t v6[16];
    if (strcasecmp(host, "localhost") == 0)
        return HW_CONF_REACH_LOCAL;
    if (parse_v4(host, &v4))
        return reach_v4(v4);
    if (!parse_v6(host, v6))
        return HW_CONF_REACH_NAME;
    if (is_mapped_v4(v6, &v4))
        return reach_v4(v4);
    bool unique_local = (v6[0] & 0xfe) == 0xfc;
    bool link_local = v6[0] == 0xfe && (v6[1] & 0xc0) == 0x80;
    return is_v6_loopback(v6) || unique_local || link_local ? HW_CONF_REACH_LOCAL
                                                            : HW_CONF_REACH_PUBLIC;
}

bool
hw_conf_host_is_address(const char *host)
{
    uint32_t v4;
    uint8_t v6[16];
    return parse_v4(host, &v4) || parse_v6(host, v6);
}

bool
hw_conf_host_is_loopback(const char *host)
{
    uint32_t v4;
    uint8_t v6[16];
    if (parse_v4(host, &v4) || (parse_v6(host, v6) && is_mapped_v4(v6, &v4)))
        return v4 >> 24 == 127;
    return strcasecmp(host, "localhost") == 0 || (parse_v6(host, v6) && is_v6_loopback(v6));
}

static bool
is_host_name(const char *host)
{
    size_t len = strlen(host);
    return len >= 1 && len <= HOST_MAX && host[0] != '.' && host[0] != '-' &&
           strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

/* text is all that stands behind the host: "" or ":port". */
static int
parse_port(const char *text, int default_port, uint16_t *out, struct hw_err *err)
{
    uint64_t port;
    if (*text == '\0') {
        if (default_port < 0)
            return hw_err_set(err, HW_EINVAL, "the port is missing, as in 127.0.0.1:8080");
        *out = (uint16_t)default_port;
        return 0;
    }
    if (*text != ':' || !hw_scalar_uint(text + 1, &port) || port > UINT16_MAX)
        return hw_err_set(err, HW_EINVAL, "the port must be a number up to 65535");
    *out = (uint16_t)port;
    return 0;
}

int
hw_conf_address_parse(struct hw_conf_arena *arena, const char *text, size_t len, int default_port,
                      struct hw_conf_address *out, struct hw_err *err)
{
    char *copy = hw_conf_arena_strndup(arena, text, len);
    struct hw_conf_address address = {.host = copy};
    uint8_t v6[16];
    char *rest;
    if (*copy == '[') {
        address.host = copy + 1;
        rest = strchr(copy, ']');
        if (rest == NULL)
            return hw_err_set(err, HW_EINVAL, "the bracket of an IPv6 address is not closed");
        *rest++ = '\0';
        if (!parse_v6(address.host, v6))
            return hw_err_set(err, HW_EINVAL, "no IPv6 address between the brackets");
    } else {
        rest = copy + strcspn(copy, ":");
        if (strchr(rest, ':') != strrchr(rest, ':'))
            return hw_err_set(err, HW_EINVAL, "an IPv6 address needs brackets, as in [::1]:8080");
        address.host = hw_conf_arena_strndup(arena, copy, (size_t)(rest - copy));
        if (!is_host_name(address.host))
            return hw_err_set(err, HW_EINVAL, "the host is missing or has characters no host has");
    }
    int rc = parse_port(rest, default_port, &address.port, err);
    if (rc == 0)
        *out = address;
    return rc;
}

int
hw_conf_url_parse(struct hw_conf_arena *arena, const char *text, struct hw_conf_url *out,
                  struct hw_err *err)
{
    struct hw_conf_url url = {0};
    if (strncasecmp(text, "http://", 7) == 0) {
        text += 7;
    } else if (strncasecmp(text, "https://", 8) == 0) {
        text += 8;
        url.https = true;
    } else {
        return hw_err_set(err, HW_EINVAL,
                          "a url begins with http:// or https://, "
                          "as in http://127.0.0.1:11434");
    }
    for (const char *at = text; *at != '\0'; at++)
        if (*at <= ' ' || *at >= 0x7f || strchr("?#\"<>\\^`{|}", *at) != NULL)
            return hw_err_set(err, HW_EINVAL,
                              "a url here is scheme, host, port and path, in plain ASCII "
                              "without ? or #");
    size_t authority = strcspn(text, "/");
    if (memchr(text, '@', authority) != NULL)
        return hw_err_set(err, HW_EINVAL, "no user or password in a url: use api_key: ${NAME}");
    int rc = hw_conf_address_parse(arena, text, authority, url.https ? 443 : 80, &url.address, err);
    if (rc != 0)
        return rc;
    if (url.address.port == 0)
        return hw_err_set(err, HW_EINVAL, "port 0 cannot be connected to");
    size_t path_len = strlen(text + authority);
    while (path_len > 0 && text[authority + path_len - 1] == '/')
        path_len--;
    if (path_len > PATH_MAX_BYTES)
        return hw_err_set(err, HW_EINVAL, "the path of a url has at most %d bytes, got %zu",
                          PATH_MAX_BYTES, path_len);
    url.path = hw_conf_arena_strndup(arena, text + authority, path_len);
    *out = url;
    return 0;
}

int
hw_conf_redis_url_parse(struct hw_conf_arena *arena, const char *text,
                        struct hw_conf_redis_url *out, struct hw_err *err)
{
    struct hw_conf_redis_url url = {0};
    if (strncasecmp(text, "redis://", 8) != 0)
        return hw_err_set(err, HW_EINVAL, "expected redis://[:password@]host:port/db, without TLS");
    text += 8;
    const char *at = strrchr(text, '@');
    if (at != NULL) {
        if (*text != ':')
            return hw_err_set(err, HW_EINVAL,
                              "Redis users are not supported: write redis://:password@host");
        url.password = hw_conf_arena_strndup(arena, text + 1, (size_t)(at - text - 1));
        if (*url.password == '\0')
            return hw_err_set(err, HW_EINVAL, "the password before the @ is empty");
        text = at + 1;
    }
    size_t authority = strcspn(text, "/");
    int rc = hw_conf_address_parse(arena, text, authority, 6379, &url.address, err);
    if (rc != 0)
        return rc;
    if (url.address.port == 0)
        return hw_err_set(err, HW_EINVAL, "port 0 cannot be connected to");
    uint64_t db = 0;
    const char *number = text + authority + (text[authority] == '/');
    if (*number != '\0' && (!hw_scalar_uint(number, &db) || db > 65535))
        return hw_err_set(err, HW_EINVAL, "the database behind the / must be a number up to 65535");
    url.db = (uint32_t)db;
    *out = url;
    return 0;
}

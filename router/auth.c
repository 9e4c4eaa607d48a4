/* router/auth.c - see auth.h. */
#include "router/auth.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

enum { MAX_KEY_BYTES = 512 };

static bool
find_key(const struct hw_http_request *request, struct hw_http_slice *key)
{
    const struct hw_http_slice *value = hw_http_head_find(&request->head, "authorization");

    if (value != NULL && value->len > 7 && strncasecmp(value->p, "Bearer ", 7) == 0) {
        key->p = value->p + 7;
        key->len = value->len - 7;
    } else {
        value = hw_http_head_find(&request->head, "x-api-key");
        if (value == NULL)
            return false;
        *key = *value;
    }
    while (key->len > 0 && *key->p == ' ') {
        key->p++;
        key->len--;
    }
    return key->len > 0 && key->len <= MAX_KEY_BYTES;
}

static bool
hash_key(const struct hw_http_request *request, uint8_t sha256[32])
{
    struct hw_http_slice key;

    if (!find_key(request, &key))
        return false;
    crypto_hash_sha256(sha256, (const unsigned char *)key.p, key.len);
    return true;
}

bool
hw_auth_agent(const struct hw_snapshot *snapshot, const struct hw_http_request *request, int *agent)
{
    uint8_t sha256[32];

    *agent = -1;
    if (snapshot->agent_count == 0)
        return true;
    if (!hash_key(request, sha256))
        return false;
    *agent = hw_snapshot_agent(snapshot, sha256);
    return *agent >= 0;
}

const char *
hw_auth_complaint(const struct hw_http_request *request)
{
    struct hw_http_slice key;

    return find_key(request, &key)
               ? "the API key that was sent is none of this endpoint's"
               : "this endpoint wants an API key: send `Authorization: Bearer KEY`";
}

/* A browser names the page that sent a request: only one that we served ourselves may steer us. */
static bool
foreign_origin(const struct hw_http_request *request)
{
    const struct hw_http_slice *origin = hw_http_head_find(&request->head, "origin");
    const struct hw_http_slice *host = hw_http_head_find(&request->head, "host");

    if (origin == NULL)
        return false;
    if (host == NULL || origin->len != host->len + 7 || memcmp(origin->p, "http://", 7) != 0)
        return true;
    return strncasecmp(origin->p + 7, host->p, host->len) != 0;
}

/* A page whose name was made to lead here (DNS rebinding) counts as our own, and behind a proxy on
 * this machine every peer is a loopback one: so who asks on loopback must also call us by an
 * address, or by localhost. */
static bool
asked_locally(const struct hw_http_request *request)
{
    const struct hw_http_slice *host = hw_http_head_find(&request->head, "host");
    size_t len = 0;

    if (!request->peer_is_loopback)
        return false;
    if (host == NULL || host->len == 0) /* HTTP/1.0: no browser */
        return true;
    if (host->p[0] == '[')
        return true;
    while (len < host->len && host->p[len] != ':')
        len++;
    struct hw_http_slice name = {host->p, len};
    if (hw_http_slice_is(&name, "localhost"))
        return true;
    for (size_t i = 0; i < len; i++)
        if (strchr("0123456789.", host->p[i]) == NULL)
            return false;
    return len > 0;
}

bool
hw_auth_operator(const struct hw_snapshot *snapshot, const struct hw_http_request *request)
{
    uint8_t sha256[32];

    if (foreign_origin(request))
        return false;
    if (asked_locally(request))
        return true;
    return snapshot->has_admin_key && hash_key(request, sha256) &&
           sodium_memcmp(sha256, snapshot->admin_key_sha256, sizeof(sha256)) == 0;
}

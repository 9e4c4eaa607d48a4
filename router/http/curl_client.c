/* router/http/curl_client.c - libcurl's multi interface driven by the libuv loop.
 *
 * A poll handle belongs to a descriptor's number and is only stopped when libcurl lets go of it:
 * libcurl reuses numbers faster than libuv closes handles. HTTP/1.1 only: an HTTP/2 window lets a
 * paused stream buffer megabytes, and would share one connection's fate among queries. */
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "hatchway/assert.h"
#include "router/http/curl_private.h"

#define MAX_KEPT_CONNECTIONS 64L

struct hw_curl_poll {
    struct hw_curl_poll *next;
    struct hw_curl *curl;
    curl_socket_t fd;
    uv_poll_t handle;
};

void
hw_curl_handle_closed(struct hw_curl *curl)
{
    if (--curl->open_handles > 0 || !curl->closing)
        return;
    void (*closed_cb)(void *) = curl->closed_cb;
    void *ctx = curl->closed_ctx;
    free(curl);
    closed_cb(ctx);
}

void
hw_curl_collect(struct hw_curl *curl)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(curl->multi, &left)) != NULL) {
        struct hw_curl_call *call = NULL;
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURL *easy = msg->easy_handle;
        CURLcode result = msg->data.result; /* msg dies with the removal */
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&call);
        curl_multi_remove_handle(curl->multi, easy);
        call->ended = true;
        call->result = result;
    }
}

static void
act(struct hw_curl *curl, curl_socket_t fd, int events)
{
    int running;

    curl_multi_socket_action(curl->multi, fd, events, &running);
    hw_curl_collect(curl);
    hw_curl_deliver(curl);
}

static void
on_poll(uv_poll_t *handle, int status, int events)
{
    struct hw_curl_poll *poll = handle->data;
    int flags = 0;

    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(poll->curl, poll->fd, flags);
}

static void
on_timer(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void
on_kick(uv_timer_t *timer)
{
    hw_curl_deliver(timer->data);
}

void
hw_curl_kick(struct hw_curl *curl)
{
    uv_timer_start(&curl->kick, on_kick, 0, 0);
}

static struct hw_curl_poll *
poll_of(struct hw_curl *curl, curl_socket_t fd)
{
    for (struct hw_curl_poll *poll = curl->polls; poll != NULL; poll = poll->next)
        if (poll->fd == fd)
            return poll;
    struct hw_curl_poll *poll = hw_xcalloc(1, sizeof(*poll));
    poll->curl = curl;
    poll->fd = fd;
    poll->handle.data = poll;
    if (uv_poll_init_socket(curl->loop, &poll->handle, fd) != 0) {
        free(poll);
        return NULL;
    }
    poll->next = curl->polls;
    curl->polls = poll;
    curl->open_handles++;
    return poll;
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct hw_curl *curl = ctx;
    int events = 0;

    (void)easy;
    (void)socket_ctx;
    struct hw_curl_poll *poll = poll_of(curl, fd);
    if (poll == NULL)
        return what == CURL_POLL_REMOVE ? 0 : -1;
    if (what == CURL_POLL_REMOVE) {
        uv_poll_stop(&poll->handle);
        return 0;
    }
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    return uv_poll_start(&poll->handle, events, on_poll) == 0 ? 0 : -1;
}

static int
on_set_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    struct hw_curl *curl = ctx;

    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&curl->timer);
    else
        uv_timer_start(&curl->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void
global_init(void)
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int
open_multi(struct hw_curl *curl, struct hw_err *err)
{
    if (curl->multi != NULL)
        return 0;
    pthread_once(&global_once, global_init);
    if (global_result != CURLE_OK || (curl->multi = curl_multi_init()) == NULL)
        return hw_err_set(err, HW_EIO, "libcurl cannot be started");
    curl_multi_setopt(curl->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(curl->multi, CURLMOPT_SOCKETDATA, curl);
    curl_multi_setopt(curl->multi, CURLMOPT_TIMERFUNCTION, on_set_timer);
    curl_multi_setopt(curl->multi, CURLMOPT_TIMERDATA, curl);
    curl_multi_setopt(curl->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    curl_multi_setopt(curl->multi, CURLMOPT_MAXCONNECTS, MAX_KEPT_CONNECTIONS);
    return 0;
}

struct hw_curl *
hw_curl_create(uv_loop_t *loop)
{
    struct hw_curl *curl = hw_xcalloc(1, sizeof(*curl));

    curl->loop = loop;
    uv_timer_init(loop, &curl->timer);
    uv_timer_init(loop, &curl->kick);
    curl->timer.data = curl->kick.data = curl;
    curl->open_handles = 2;
    return curl;
}

static void
on_timer_closed(uv_handle_t *handle)
{
    hw_curl_handle_closed(handle->data);
}

static void
on_poll_closed(uv_handle_t *handle)
{
    struct hw_curl_poll *poll = handle->data;
    struct hw_curl *curl = poll->curl;

    free(poll);
    hw_curl_handle_closed(curl);
}

void
hw_curl_close(struct hw_curl *curl, void (*closed_cb)(void *ctx), void *ctx)
{
    curl->closing = true;
    curl->closed_cb = closed_cb;
    curl->closed_ctx = ctx;
    while (curl->calls != NULL)
        hw_curl_call_destroy(curl->calls);
    if (curl->multi != NULL)
        curl_multi_cleanup(curl->multi); /* still speaks to on_socket and on_set_timer */
    curl->multi = NULL;
    while (curl->polls != NULL) {
        struct hw_curl_poll *poll = curl->polls;
        curl->polls = poll->next;
        uv_close((uv_handle_t *)&poll->handle, on_poll_closed);
    }
    uv_close((uv_handle_t *)&curl->timer, on_timer_closed);
    uv_close((uv_handle_t *)&curl->kick, on_timer_closed);
}

/* --- setting a transfer up ------------------------------------------------------------------- */

static int
add_line(struct hw_curl_call *call, const char *name, const char *value, size_t len)
{
    struct hw_buf line;

    hw_buf_init(&line, HW_CURL_MAX_HEAD_BYTES);
    hw_buf_puts(&line, name);
    hw_buf_puts(&line, len > 0 ? ": " : ":"); /* libcurl leaves out a field that ends in ':' */
    hw_buf_append(&line, value, len);
    struct curl_slist *longer = line.failed ? NULL : curl_slist_append(call->headers, line.data);
    hw_buf_free(&line);
    if (longer == NULL)
        return HW_ENOMEM;
    call->headers = longer;
    return 0;
}

static int
add_headers(struct hw_curl_call *call, const struct hw_call_request *request)
{
    bool has_type = false, has_accept = false;

    for (size_t i = 0; i < request->field_count; i++) {
        const struct hw_http_field *field = &request->fields[i];
        if (hw_call_field_is_ours(field->name) || field->value_len == 0)
            continue;
        has_type = has_type || strcasecmp(field->name, "content-type") == 0;
        has_accept = has_accept || strcasecmp(field->name, "accept") == 0;
        if (add_line(call, field->name, field->value, field->value_len) != 0)
            return HW_ENOMEM;
    }
    /* What libcurl would add of its own accord. */
    if (add_line(call, "Expect", "", 0) != 0)
        return HW_ENOMEM;
    if (!has_type && add_line(call, "Content-Type", "", 0) != 0)
        return HW_ENOMEM;
    if (!has_accept && add_line(call, "Accept", "", 0) != 0)
        return HW_ENOMEM;
    return curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers) == CURLE_OK ? 0
                                                                                       : HW_ENOMEM;
}

/* Keeps the segments: by their body, or (when one lives elsewhere) all copied into one. Returns the
 * total. */
static int
keep_segments(struct hw_curl_call *call, const struct hw_call_request *request, curl_off_t *total)
{
    size_t sum = 0;
    bool kept = request->body != NULL;

    for (size_t i = 0; i < request->segment_count; i++) {
        sum += request->segments[i].len;
        kept = kept && hw_call_segment_is_kept(request, &request->segments[i]);
    }
    *total = (curl_off_t)sum;
    if (kept) {
        call->body = hw_body_ref(request->body);
        call->segment_count = request->segment_count;
        memcpy(call->segments, request->segments, sizeof(call->segments));
        return 0;
    }
    hw_buf_init(&call->copied, sum);
    for (size_t i = 0; i < request->segment_count; i++)
        hw_buf_append(&call->copied, request->segments[i].bytes, request->segments[i].len);
    call->segments[0] = (struct hw_call_segment){call->copied.data, call->copied.len};
    call->segment_count = 1;
    return call->copied.failed ? HW_ENOMEM : 0;
}

static bool
set_method(CURL *easy, const char *method, curl_off_t total)
{
    if (strcmp(method, "GET") == 0 && total == 0)
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    if (strcmp(method, "HEAD") == 0)
        return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L) == CURLE_OK;
    return curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, total) == CURLE_OK;
}

static bool
set_options(CURL *easy, uint32_t connect_ms)
{
    const char *ca_file = getenv("SSL_CERT_FILE");

    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           /* A look-up that hangs must not be waited for when its call ends. */
           curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms) == CURLE_OK &&
           (ca_file == NULL || curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file) == CURLE_OK);
}

static int
set_url(struct hw_curl_call *call, const struct hw_call_request *request)
{
    struct hw_buf url;
    bool v6 = strchr(request->host, ':') != NULL;

    hw_buf_init(&url, HW_CURL_MAX_HEAD_BYTES);
    hw_buf_printf(&url, v6 ? "%s://[%s]:%u" : "%s://%s:%u", request->https ? "https" : "http",
                  request->host, (unsigned)request->port);
    hw_buf_puts(&url, request->path);
    CURLcode rc =
        url.failed ? CURLE_OUT_OF_MEMORY : curl_easy_setopt(call->easy, CURLOPT_URL, url.data);
    hw_buf_free(&url);
    return rc == CURLE_OK ? 0 : HW_EINVAL;
}

static int
set_up(struct hw_curl_call *call, const struct hw_call_request *request)
{
    curl_off_t total;

    call->easy = curl_easy_init();
    if (call->easy == NULL || keep_segments(call, request, &total) != 0)
        return HW_ENOMEM;
    if (!set_options(call->easy, call->base.connect_ms) ||
        !set_method(call->easy, request->method, total) || set_url(call, request) != 0 ||
        hw_curl_call_set_callbacks(call) != 0)
        return HW_EINVAL;
    return add_headers(call, request);
}

int
hw_curl_send(struct hw_curl *curl, const struct hw_call_request *request,
             const struct hw_call_events *events, void *ctx, struct hw_call **out,
             struct hw_err *err)
{
    if (curl->closing)
        return hw_err_set(err, HW_ECANCELED, "the client is closing");
    int rc = open_multi(curl, err);
    if (rc != 0)
        return rc;
    struct hw_curl_call *call = hw_xcalloc(1, sizeof(*call));
    hw_call_init(&call->base, &hw_curl_driver, request, events, ctx);
    call->curl = curl;
    hw_buf_init(&call->head, HW_CURL_MAX_HEAD_BYTES);
    hw_buf_init(&call->inbox, HW_CURL_INBOX_BYTES + CURL_MAX_WRITE_SIZE);
    call->deadline_ms = UINT64_MAX;
    uv_timer_init(curl->loop, &call->timer);
    call->timer.data = call;
    curl->open_handles++;
    call->next = curl->calls;
    if (call->next != NULL)
        call->next->prev = call;
    curl->calls = call;
    rc = set_up(call, request);
    if (rc == 0 && curl_multi_add_handle(curl->multi, call->easy) != CURLM_OK)
        rc = HW_EIO;
    if (rc != 0) {
        call->ended = true; /* it never was in the multi */
        hw_curl_call_destroy(call);
        return hw_err_set(err, rc, "libcurl refused the request to %s", request->host);
    }
    *out = &call->base;
    return 0;
}

/* router/http/server_head.c - the text of a response head.
 *
 * Put together by hand: a head is some ten short copies, and snprintf would cost as much as the
 * system call that sends it. */
#include "router/http/server_private.h"

#include <stdatomic.h>
#include <time.h>

#include "router/log.h"

const char *
hw_http_reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 406:
        return "Not Acceptable";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 411:
        return "Length Required";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 417:
        return "Expectation Failed";
    case 422:
        return "Unprocessable Content";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 499:
        return "Client Closed Request";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    case 529:
        return "Overloaded";
    default:
        return status < 400 ? "OK" : status < 500 ? "Bad Request" : "Error";
    }
}

/* The date changes once a second, requests come ten thousand times as often. */
static const char *
date_now(struct hw_http_server *server)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != server->date_second) {
        struct tm tm;
        gmtime_r(&now.tv_sec, &tm);
        snprintf(server->date, sizeof(server->date), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                 days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900,
                 tm.tm_hour, tm.tm_min, tm.tm_sec);
        server->date_second = now.tv_sec;
    }
    return server->date;
}

static char *
put(char *p, const char *text, size_t len)
{
    memcpy(p, text, len);
    return p + len;
}
#define PUT(p, literal) put(p, literal, sizeof(literal) - 1)

static char *
put_number(char *p, size_t number)
{
    char digits[24];
    size_t n = sizeof(digits);
    do
        digits[--n] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return put(p, digits + n, sizeof(digits) - n);
}

/* A value from a backend or an agent must not end its line and begin another. */
static bool
value_is_clean(const struct hw_http_field *field)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;

    for (size_t i = 0; i < field->value_len; i++) {
        char c = field->value[i];
        if (c == '\r' || c == '\n' || c == '\0') {
            if (!atomic_flag_test_and_set(&told))
                hw_log(HW_LOG_WARN, "left out response field %s: CR, LF or NUL in its value",
                       field->name);
            return false;
        }
    }
    return true;
}

#define FIXED_MAX_BYTES ((size_t)256) /* status line, date and framing, generously */

void
hw_server_write_head(struct hw_conn *conn, struct hw_buf *out, int status,
                     const struct hw_http_field *fields, size_t field_count,
                     enum hw_framing framing, size_t length)
{
    HW_ASSERT(status >= 100 && status <= 999);
    size_t room = FIXED_MAX_BYTES;
    for (size_t i = 0; i < field_count; i++)
        room += strlen(fields[i].name) + fields[i].value_len + 4;
    if (hw_buf_reserve(out, room) != 0)
        return; /* out->failed tells */

    const char *reason = hw_http_reason(status);
    char *p = out->data + out->len;
    p = PUT(p, "HTTP/1.1 ");
    p = put_number(p, (size_t)status);
    *p++ = ' ';
    p = put(p, reason, strlen(reason));
    p = PUT(p, "\r\nDate: ");
    p = put(p, date_now(conn->server), 29);
    p = PUT(p, "\r\n");
    if (framing == HW_FRAMING_LENGTH) {
        p = PUT(p, "Content-Length: ");
        p = put_number(p, length);
        p = PUT(p, "\r\n");
    } else if (framing == HW_FRAMING_CHUNKED) {
        p = PUT(p, "Transfer-Encoding: chunked\r\n");
    }
    if (!conn->keep_alive)
        p = PUT(p, "Connection: close\r\n");
    else if (conn->reader.http10)
        p = PUT(p, "Connection: keep-alive\r\n");
    for (size_t i = 0; i < field_count; i++) {
        if (!value_is_clean(&fields[i]))
            continue;
        p = put(p, fields[i].name, strlen(fields[i].name));
        p = PUT(p, ": ");
        p = put(p, fields[i].value, fields[i].value_len);
        p = PUT(p, "\r\n");
    }
    p = PUT(p, "\r\n");
    out->len = (size_t)(p - out->data);
    out->data[out->len] = '\0';
}

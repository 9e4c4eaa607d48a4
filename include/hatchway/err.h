/* hatchway/err.h - the error every fallible function fills.
 *
 * Functions return 0 or a negative HW_E* code; the last parameter is a struct hw_err * (may be
 * NULL). The message is for the person who meets it: lower case, no full stop, what / which /
 * value. Callers add where they were by hw_err_prefix ("routes[2]: ..."). Header only, so that
 * every folder can speak it without an arrow between folders. */
#ifndef HATCHWAY_ERR_H
#define HATCHWAY_ERR_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum hw_code {
    HW_OK = 0,
    HW_EINVAL = -1, /* the input is wrong: the asker can mend it */
    HW_ELIMIT = -2, /* a configured limit was met */
    HW_ENOMEM = -3, /* memory, of an amount that the network or a file asked for */
    HW_EIO = -4,    /* the operating system or a peer failed */
    HW_ENOTFOUND = -5,
    HW_ETIMEOUT = -6,
    HW_ECANCELED = -7,
    HW_EUNAVAILABLE = -8, /* nobody is there to answer now; trying again later may help */
};

struct hw_err {
    char msg[512]; /* NUL-terminated; truncated, never overrun */
};

static inline int __attribute__((format(printf, 3, 4)))
hw_err_set(struct hw_err *err, int code, const char *fmt, ...)
{
    if (err != NULL) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
        va_end(ap);
    }
    return code;
}

/* Puts "PREFIX: " before what err already says. */
static inline void __attribute__((format(printf, 2, 3)))
hw_err_prefix(struct hw_err *err, const char *fmt, ...)
{
    if (err == NULL)
        return;
    struct hw_err old = *err;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof(err->msg))
        return;
    size_t used = (size_t)n;
    size_t room = sizeof(err->msg) - used;
    if (snprintf(err->msg + used, room, ": %s", old.msg) < 0)
        err->msg[used] = '\0';
}

#endif

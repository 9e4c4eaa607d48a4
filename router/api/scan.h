/* router/api/scan.h - is a JSON object that comes in pieces complete?
 *
 * The arguments of a tool's call are: only then may a dialect that writes calls whole write one, or
 * a block be closed. Not a check: what is no JSON is never complete. */
#ifndef HW_ROUTER_API_SCAN_H
#define HW_ROUTER_API_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hw_scan { /* all zero: nothing has come */
    uint32_t depth;
    bool in_string, escaped;
    bool complete; /* the outermost brace was closed */
};

static inline void
hw_scan_feed(struct hw_scan *scan, const char *p, size_t len)
{
    for (const char *end = p + len; p < end && !scan->complete; p++) {
        if (scan->in_string) {
            if (scan->escaped)
                scan->escaped = false;
            else if (*p == '\\')
                scan->escaped = true;
            else if (*p == '"')
                scan->in_string = false;
        } else if (*p == '"') {
            scan->in_string = true;
        } else if (*p == '{' || *p == '[') {
            scan->depth++;
        } else if ((*p == '}' || *p == ']') && scan->depth > 0) {
            scan->complete = --scan->depth == 0;
        }
    }
}

#endif

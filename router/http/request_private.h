/* router/http/request_private.h - between request.c and request_check.c. */
#ifndef HW_ROUTER_HTTP_REQUEST_PRIVATE_H
#define HW_ROUTER_HTTP_REQUEST_PRIVATE_H

#include "router/http/request.h"

/* The first failure stays. Returns what makes llhttp stop. */
int hw_request_fail(struct hw_request_reader *reader, int status, const char *what);
/* "WHAT than LIMITUNIT (KEY)": the limit that was passed, and where the operator may raise it. */
int hw_request_fail_limit(struct hw_request_reader *reader, int status, const char *what,
                          uint64_t limit, const char *unit, const char *key);
int hw_request_fail_body(struct hw_request_reader *reader); /* longer than limits.body */
/* The head is complete and its slices are made: 0, or what hw_request_fail returned. */
int hw_request_check(struct hw_request_reader *reader);

#endif

/* router/http/request_private.h - between request.c and request_check.c. */
#ifndef HW_ROUTER_HTTP_REQUEST_PRIVATE_H
#define HW_ROUTER_HTTP_REQUEST_PRIVATE_H

#include "router/http/request.h"

/* The first failure stays. Returns what makes llhttp stop. */
int hw_request_fail(struct hw_request_reader *reader, int status, const char *what);
/* The head is complete and its slices are made: 0, or what hw_request_fail returned. */
int hw_request_check(struct hw_request_reader *reader);

#endif

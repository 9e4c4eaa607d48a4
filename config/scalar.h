/* config/scalar.h - the small languages of values: durations, sizes, ranges, keys. Pure.
 * Private to config/. Each returns false, with *out untouched, for text that is none. */
#ifndef HW_CONFIG_SCALAR_H
#define HW_CONFIG_SCALAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/digest.h"
#include "config/snapshot.h"

bool hw_scalar_uint(const char *text, uint64_t *out);
bool hw_scalar_int(const char *text, int *out);
/* 12 or 0.15: digits, at most 9 before and behind the point; no sign, no exponent. */
bool hw_scalar_decimal(const char *text, double *out);
bool hw_scalar_bool(const char *text, bool *out);
/* 2% 0.5% -> 0.02 0.005; at most 100% */
bool hw_scalar_percent(const char *text, double *out);
/* 250ms 30s 10m 1h 7d, and 0 -> milliseconds */
bool hw_scalar_duration(const char *text, uint64_t *out_ms);
/* 512 64KiB 256MiB 1GiB, 64KB 256MB 1GB -> bytes */
bool hw_scalar_size(const char *text, uint64_t *out_bytes);
/* >8192 >=8193 <100 <=100 10..20 512 -> inclusive bounds */
bool hw_scalar_range(const char *text, struct hw_conf_range *out);
/* 22-06 22:30-06:15 00-24 -> minutes of the day, begin 0..1439, end 0..1439 (24:00 is 0); false
 * when both are the same but for 00-24. */
bool hw_scalar_hours(const char *text, uint16_t *begin, uint16_t *end);
/* sha256:<64 hex digits> */
bool hw_scalar_sha256(const char *text, uint8_t out[32]);
/* [A-Za-z0-9._:/-]{1,64}: fit for a header value and a metric label. */
bool hw_scalar_is_name(const char *text);
/* Index of text among NULL-terminated words, or -1. */
int hw_scalar_word(const char *text, const char *const *words);

#endif

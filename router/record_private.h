/* router/record_private.h - the members of a record's line, one table an object, for the writer and
 * the reader alike: what one writes the other reads. */
#ifndef HW_ROUTER_RECORD_PRIVATE_H
#define HW_ROUTER_RECORD_PRIVATE_H

#include "router/record.h"

enum hw_record_kind {
    HW_RECORD_TEXT,   /* const char *; to max_bytes */
    HW_RECORD_BOOL,   /* bool */
    HW_RECORD_U32,    /* uint32_t */
    HW_RECORD_U64,    /* uint64_t */
    HW_RECORD_MS,     /* uint64_t microseconds, written as milliseconds with three decimals */
    HW_RECORD_HEX,    /* uint64_t as 16 hex digits: no double loses a bit of it */
    HW_RECORD_SHARE,  /* float, 0 to 1 */
    HW_RECORD_STATUS, /* int, 0 to 999 */
    HW_RECORD_WORD,   /* an enum, by its words */
};

/* Nothing is written of what is NULL, false or 0, and so it is when a member is missing. */
struct hw_record_field {
    const char *name;
    enum hw_record_kind kind;
    size_t offset;
    size_t max_bytes;
    const char *const *words; /* NULL-terminated */
};

struct hw_record_object {
    const struct hw_record_field *fields;
    size_t count;
};
extern const struct hw_record_object hw_record_top, hw_record_traits, hw_record_decision,
    hw_record_outcome;

#endif

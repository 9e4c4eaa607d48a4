/* config/zone.h - local time of a named zone, without touching the process's own.
 *
 * localtime_r knows one zone a process, and changing TZ under running threads is a data race: so
 * the zone's file (TZif, RFC 8536) is read once, when the configuration is, and asked after that.
 * Immutable; any thread. */
#ifndef HW_CONFIG_ZONE_H
#define HW_CONFIG_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "config/arena.h"
#include "hatchway/err.h"

struct hw_zone;

struct hw_local_time {
    uint32_t weekday; /* 0: Sunday */
    uint32_t minute;  /* of the day, 0..1439 */
};

/* name: as in /usr/share/zoneinfo, e.g. Europe/Berlin; "UTC" needs no file; NULL: the machine's own
 * (TZ, else /etc/localtime, else UTC). */
int hw_zone_load(struct hw_conf_arena *arena, const char *name, struct hw_zone **out,
                 struct hw_err *err);
/* From the bytes of a TZif file. */
int hw_zone_parse(struct hw_conf_arena *arena, const uint8_t *bytes, size_t len,
                  struct hw_zone **out, struct hw_err *err);
/* Seconds east of Greenwich at unix_s. zone NULL: UTC. */
int32_t hw_zone_offset(const struct hw_zone *zone, int64_t unix_s);
struct hw_local_time hw_zone_local(const struct hw_zone *zone, int64_t unix_s);

#endif

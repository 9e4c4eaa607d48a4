/* config/zone.c - reads TZif and asks it.
 *
 * A file is a table of instants at which the offset changes, and behind that a rule in POSIX words
 * (CET-1CEST,M3.5.0,M10.5.0/3) for all the years that follow. Of the rule only the M form is read,
 * which is what zones of today are written in; any other leaves the last offset of the table. */
#include "config/zone.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hatchway/assert.h"

#define FILE_BYTES_MAX (256 * 1024)
#define HEADER_BYTES 44
#define DAY_S 86400

/* Mm.w.d/time: the w-th (5: last) weekday d of month m, at that time of the day. */
struct change {
    uint32_t month, week, weekday;
    int32_t time_s;
};

struct hw_zone {
    size_t count;
    int64_t *at; /* ascending */
    int32_t *offset;
    int32_t first_offset; /* before at[0] */
    bool has_rule;        /* behind the last instant */
    bool has_summer;
    int32_t winter, summer; /* offsets */
    struct change to_summer, to_winter;
};

static uint32_t
read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t
read_i64(const uint8_t *p)
{
    return (int64_t)((uint64_t)read_u32(p) << 32 | read_u32(p + 4));
}

/* --- the rule behind the table -----------------------------------------------------------------
 */

static bool
skip_name(const char **at)
{
    const char *p = *at;
    if (*p == '<') {
        while (*p != '\0' && *p != '>')
            p++;
        if (*p++ != '>')
            return false;
    } else {
        while (isalpha((unsigned char)*p))
            p++;
    }
    bool some = p > *at;
    *at = p;
    return some;
}

static bool
read_number(const char **at, uint32_t max, uint32_t *out)
{
    uint32_t n = 0;
    const char *p = *at;
    while (isdigit((unsigned char)*p) && n <= max)
        n = n * 10 + (uint32_t)(*p++ - '0');
    bool good = p > *at && n <= max;
    *at = p;
    *out = n;
    return good;
}

/* [+-]hh[:mm[:ss]] */
static bool
read_time(const char **at, int32_t *out)
{
    uint32_t h = 0, m = 0, s = 0;
    int32_t sign = 1;
    if (**at == '-' || **at == '+')
        sign = *(*at)++ == '-' ? -1 : 1;
    if (!read_number(at, 167, &h))
        return false;
    if (**at == ':' && ((*at)++, !read_number(at, 59, &m)))
        return false;
    if (**at == ':' && ((*at)++, !read_number(at, 59, &s)))
        return false;
    *out = sign * (int32_t)(h * 3600 + m * 60 + s);
    return true;
}

static bool
read_change(const char **at, struct change *out)
{
    if (strncmp(*at, ",M", 2) != 0)
        return false;
    *at += 2;
    if (!read_number(at, 12, &out->month) || *(*at)++ != '.' || !read_number(at, 5, &out->week) ||
        *(*at)++ != '.' || !read_number(at, 6, &out->weekday))
        return false;
    out->time_s = 2 * 3600;
    if (**at == '/' && ((*at)++, !read_time(at, &out->time_s)))
        return false;
    return out->month >= 1 && out->week >= 1;
}

/* POSIX counts seconds west; we count east. */
static void
read_rule(struct hw_zone *zone, const char *text)
{
    int32_t west = 0;
    if (!skip_name(&text) || !read_time(&text, &west))
        return;
    zone->winter = -west;
    zone->summer = -west + 3600;
    if (*text == '\0') {
        zone->has_rule = true;
        return;
    }
    if (!skip_name(&text))
        return;
    if (*text != ',' && *text != '\0') {
        if (!read_time(&text, &west))
            return;
        zone->summer = -west;
    }
    zone->has_summer = read_change(&text, &zone->to_summer) &&
                       read_change(&text, &zone->to_winter) && *text == '\0';
    zone->has_rule = zone->has_summer;
}

/* Days from 1970-01-01 to a date of the proleptic Gregorian calendar. */
static int64_t
days_of(int64_t year, uint32_t month, uint32_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static int64_t
floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static uint32_t
weekday_of(int64_t days)
{
    return (uint32_t)(((days % 7) + 11) % 7); /* 1970-01-01 was a Thursday */
}

/* The instant of a change in a year; `offset` is in force before it. */
static int64_t
change_at(const struct change *change, int64_t year, int32_t offset)
{
    static const uint32_t lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    uint32_t length = lengths[change->month - 1] + (change->month == 2 && leap);
    int64_t first = days_of(year, change->month, 1);
    uint32_t day = 1 + (change->weekday + 7 - weekday_of(first)) % 7 + 7 * (change->week - 1);

    while (day > length)
        day -= 7;
    return (first + day - 1) * DAY_S + change->time_s - offset;
}

static int32_t
offset_by_rule(const struct hw_zone *zone, int64_t unix_s)
{
    if (!zone->has_summer)
        return zone->winter;
    /* The year by the sun: right but for hours around New Year, when no zone changes. */
    int64_t days = floor_div(unix_s + zone->winter, DAY_S);
    int64_t year = 1970 + floor_div(days * 400, 146097);
    while (days_of(year + 1, 1, 1) <= days)
        year++;
    while (days_of(year, 1, 1) > days)
        year--;
    int64_t begin = change_at(&zone->to_summer, year, zone->winter);
    int64_t end = change_at(&zone->to_winter, year, zone->summer);
    bool summer = begin < end ? unix_s >= begin && unix_s < end : unix_s >= begin || unix_s < end;
    return summer ? zone->summer : zone->winter;
}

/* --- the file ----------------------------------------------------------------------------------
 */

struct counts {
    size_t utc, wall, leap, times, types, chars;
};

static bool
read_header(const uint8_t *p, size_t len, struct counts *out)
{
    if (len < HEADER_BYTES || memcmp(p, "TZif", 4) != 0)
        return false;
    *out = (struct counts){read_u32(p + 20), read_u32(p + 24), read_u32(p + 28),
                           read_u32(p + 32), read_u32(p + 36), read_u32(p + 40)};
    size_t max = FILE_BYTES_MAX;
    return out->utc < max && out->wall < max && out->leap < max && out->times < max &&
           out->types > 0 && out->types <= 256 && out->chars < max;
}

static size_t
body_bytes(const struct counts *c, size_t time_bytes)
{
    return c->times * (time_bytes + 1) + c->types * 6 + c->chars + c->leap * (time_bytes + 4) +
           c->wall + c->utc;
}

static int
read_body(struct hw_conf_arena *arena, const uint8_t *body, const struct counts *counts,
          struct hw_zone *zone, struct hw_err *err)
{
    const uint8_t *indices = body + counts->times * 8, *types = indices + counts->times;

    zone->count = counts->times;
    zone->at = hw_conf_arena_array(arena, counts->times + 1, sizeof(*zone->at));
    zone->offset = hw_conf_arena_array(arena, counts->times + 1, sizeof(*zone->offset));
    zone->first_offset = (int32_t)read_u32(types);
    for (size_t i = 0; i < counts->times; i++) {
        if (indices[i] >= counts->types)
            return hw_err_set(err, HW_EINVAL, "the zone's file is damaged");
        zone->at[i] = read_i64(body + i * 8);
        zone->offset[i] = (int32_t)read_u32(types + (size_t)indices[i] * 6);
        if (i > 0 && zone->at[i] <= zone->at[i - 1])
            return hw_err_set(err, HW_EINVAL, "the zone's file is damaged");
    }
    for (size_t i = 0; i < counts->types; i++) {
        int32_t offset = (int32_t)read_u32(types + i * 6);
        if (offset < -26 * 3600 || offset > 26 * 3600)
            return hw_err_set(err, HW_EINVAL, "the zone's file is damaged");
    }
    return 0;
}

int
hw_zone_parse(struct hw_conf_arena *arena, const uint8_t *bytes, size_t len, struct hw_zone **out,
              struct hw_err *err)
{
    struct counts counts;
    const uint8_t *p = bytes, *end = bytes + len;

    /* The first part is for readers that know 32-bit times only; we want the second. */
    if (!read_header(p, len, &counts) || p[4] < '2' || body_bytes(&counts, 4) > len - HEADER_BYTES)
        return hw_err_set(err, HW_EINVAL, "not a time zone's file (TZif, version 2 or later)");
    p += HEADER_BYTES + body_bytes(&counts, 4);
    if (!read_header(p, (size_t)(end - p), &counts) ||
        body_bytes(&counts, 8) > (size_t)(end - p) - HEADER_BYTES)
        return hw_err_set(err, HW_EINVAL, "the zone's file is cut short");
    p += HEADER_BYTES;
    struct hw_zone *zone = hw_conf_arena_alloc(arena, sizeof(*zone));
    int rc = read_body(arena, p, &counts, zone, err);
    if (rc != 0)
        return rc;
    p += body_bytes(&counts, 8);
    const uint8_t *stop = p < end ? memchr(p + 1, '\n', (size_t)(end - p - 1)) : NULL;
    if (stop != NULL && *p == '\n')
        read_rule(zone, hw_conf_arena_strndup(arena, (const char *)p + 1, (size_t)(stop - p - 1)));
    *out = zone;
    return 0;
}

static int
load_file(struct hw_conf_arena *arena, const char *path, struct hw_zone **out, struct hw_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return hw_err_set(err, HW_EIO, "%s: %s", path, strerror(errno));
    uint8_t *bytes = hw_xcalloc(1, FILE_BYTES_MAX);
    size_t len = 0;
    ssize_t n;
    while (len < FILE_BYTES_MAX && (n = read(fd, bytes + len, FILE_BYTES_MAX - len)) > 0)
        len += (size_t)n;
    close(fd);
    int rc = hw_zone_parse(arena, bytes, len, out, err);
    free(bytes);
    return rc;
}

/* Letters, digits and _ + - in parts between slashes: no way out of the folder. */
static bool
is_zone_name(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > 64 || !isalpha((unsigned char)name[0]) || strstr(name, "//") != NULL)
        return false;
    for (; *name != '\0'; name++)
        if (!isalnum((unsigned char)*name) && strchr("_+-/", *name) == NULL)
            return false;
    return true;
}

int
hw_zone_load(struct hw_conf_arena *arena, const char *name, struct hw_zone **out,
             struct hw_err *err)
{
    char path[128] = "/etc/localtime";
    bool own = name == NULL;

    if (own)
        name = getenv("TZ");
    if (own && name != NULL && *name == ':')
        name++;
    if (name != NULL && (strcmp(name, "UTC") == 0 || (own && *name == '\0'))) {
        *out = hw_conf_arena_alloc(arena, sizeof(**out));
        return 0;
    }
    bool named = name != NULL && is_zone_name(name);
    if (named)
        snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", name);
    else if (!own)
        return hw_err_set(err, HW_EINVAL, "expected a time zone such as Europe/Berlin or UTC");
    if (load_file(arena, path, out, err) == 0)
        return 0;
    if (!own)
        return hw_err_set(err, HW_ENOTFOUND,
                          "there is no such zone in /usr/share/zoneinfo (names as in "
                          "Europe/Berlin; is tzdata installed?)");
    *out = hw_conf_arena_alloc(arena, sizeof(**out)); /* a machine without a zone lives by UTC */
    return 0;
}

int32_t
hw_zone_offset(const struct hw_zone *zone, int64_t unix_s)
{
    if (zone == NULL)
        return 0;
    if (zone->count == 0 || unix_s >= zone->at[zone->count - 1]) {
        if (zone->has_rule)
            return offset_by_rule(zone, unix_s);
        return zone->count > 0 ? zone->offset[zone->count - 1] : zone->first_offset;
    }
    if (unix_s < zone->at[0])
        return zone->first_offset;
    size_t low = 0, high = zone->count - 1; /* at[low] <= unix_s < at[high] */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (zone->at[middle] <= unix_s)
            low = middle;
        else
            high = middle;
    }
    return zone->offset[low];
}

struct hw_local_time
hw_zone_local(const struct hw_zone *zone, int64_t unix_s)
{
    int64_t local = unix_s + hw_zone_offset(zone, unix_s);
    int64_t days = floor_div(local, DAY_S);

    return (struct hw_local_time){.weekday = weekday_of(days),
                                  .minute = (uint32_t)((local - days * DAY_S) / 60)};
}

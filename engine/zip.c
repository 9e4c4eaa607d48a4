/* engine/zip.c - reads from the end: end record, ZIP64's where it stands, the directory, then the
 * local header of each entry for where its bytes begin. */
#include "engine/zip.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file_read.h"

enum {
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    CENTRAL_BYTES = 46,
    LOCAL_BYTES = 30,
    MAX_COMMENT = 65535,
    FLAG_ENCRYPTED = 1,
    METHOD_STORED = 0,
    EXTRA_ZIP64 = 1,
};

#define SIGN_END 0x06054b50u
#define SIGN_END64 0x06064b50u
#define SIGN_LOCATOR 0x07064b50u
#define SIGN_CENTRAL 0x02014b50u
#define SIGN_LOCAL 0x04034b50u

struct directory {
    uint64_t count, offset, bytes;
};

/* Little-endian fields of `size` bytes. */
static uint64_t
field(const uint8_t *at, size_t size)
{
    uint64_t value = 0;

    memcpy(&value, at, size);
    return value;
}

/* The end record is the file's last, but for a comment of unknown length: looked for backwards. */
static int
find_end(int fd, uint64_t file_bytes, uint64_t *end_offset, uint8_t end[END_BYTES],
         struct hw_err *err)
{
    size_t len =
        file_bytes < END_BYTES + MAX_COMMENT ? (size_t)file_bytes : (size_t)END_BYTES + MAX_COMMENT;
    uint8_t *tail = malloc(len + 1);
    if (tail == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory to read with");
    int rc = hw_file_read(fd, tail, len, file_bytes - len, err);
    bool found = false;
    for (size_t at = len; rc == 0 && !found && at >= END_BYTES; at--) {
        const uint8_t *p = tail + at - END_BYTES;
        if (field(p, 4) != SIGN_END || field(p + 20, 2) != len - at)
            continue;
        memcpy(end, p, END_BYTES);
        *end_offset = file_bytes - len + at - END_BYTES;
        found = true;
    }
    free(tail);
    if (rc == 0 && !found)
        rc =
            hw_err_set(err, HW_EINVAL, "a ZIP file without its end: cut off or still being copied");
    return rc;
}

/* ZIP64's end record, which the locator right before the end record points to. */
static int
read_end64(int fd, uint64_t end_offset, struct directory *dir, struct hw_err *err)
{
    uint8_t locator[LOCATOR_BYTES] = {0}, end[END64_BYTES] = {0};
    int rc;

    if (end_offset < LOCATOR_BYTES + END64_BYTES)
        return 0;
    if ((rc = hw_file_read(fd, locator, sizeof(locator), end_offset - LOCATOR_BYTES, err)) != 0)
        return rc;
    if (field(locator, 4) != SIGN_LOCATOR)
        return 0;
    uint64_t offset = field(locator + 8, 8);
    if (offset > end_offset - LOCATOR_BYTES - END64_BYTES)
        return hw_err_set(err, HW_EINVAL, "the ZIP64 end record lies outside the file");
    if ((rc = hw_file_read(fd, end, sizeof(end), offset, err)) != 0)
        return rc;
    if (field(end, 4) != SIGN_END64)
        return hw_err_set(err, HW_EINVAL, "the ZIP64 end record is not where its locator says");
    *dir = (struct directory){field(end + 32, 8), field(end + 48, 8), field(end + 40, 8)};
    return 0;
}

static int
locate(int fd, uint64_t file_bytes, struct directory *dir, struct hw_err *err)
{
    uint8_t end[END_BYTES] = {0};
    uint64_t end_offset = 0;

    int rc = find_end(fd, file_bytes, &end_offset, end, err);
    if (rc != 0)
        return rc;
    *dir = (struct directory){field(end + 10, 2), field(end + 16, 4), field(end + 12, 4)};
    if ((rc = read_end64(fd, end_offset, dir, err)) != 0)
        return rc;
    if (dir->bytes > end_offset || dir->offset > end_offset - dir->bytes)
        return hw_err_set(err, HW_EINVAL, "the ZIP directory lies outside the file");
    if (dir->bytes > HW_ZIP_MAX_DIRECTORY_BYTES || dir->count > HW_ZIP_MAX_ENTRIES)
        return hw_err_set(err, HW_ELIMIT, "a ZIP directory of more than %d entries or %u bytes",
                          HW_ZIP_MAX_ENTRIES, HW_ZIP_MAX_DIRECTORY_BYTES);
    if (dir->count * CENTRAL_BYTES > dir->bytes)
        return hw_err_set(err, HW_EINVAL, "the ZIP directory has no room for its entries");
    return 0;
}

/* Sizes and offset that do not fit 32 bits stand in the ZIP64 field, in this order. */
static bool
widen(const uint8_t *extra, size_t len, uint64_t *values[3])
{
    while (len >= 4) {
        size_t id = field(extra, 2), size = field(extra + 2, 2);
        extra += 4;
        len -= 4;
        if (size > len)
            break;
        if (id == EXTRA_ZIP64) {
            for (int i = 0; i < 3; i++) {
                if (*values[i] != UINT32_MAX)
                    continue;
                if (size < 8)
                    return false;
                *values[i] = field(extra, 8);
                extra += 8;
                size -= 8;
            }
            return true;
        }
        extra += size;
        len -= size;
    }
    return *values[0] != UINT32_MAX && *values[1] != UINT32_MAX && *values[2] != UINT32_MAX;
}

/* Where the entry's bytes begin: behind its local header, which must name it too. */
static int
find_bytes(int fd, uint64_t directory_offset, uint64_t header, struct hw_zip_entry *entry,
           struct hw_err *err)
{
    uint8_t local[LOCAL_BYTES] = {0};
    char name[256];
    size_t name_len = strlen(entry->name);
    int rc;

    if (directory_offset < LOCAL_BYTES || header > directory_offset - LOCAL_BYTES)
        return hw_err_set(err, HW_EINVAL, "its local header lies outside the file");
    if ((rc = hw_file_read(fd, local, sizeof(local), header, err)) != 0)
        return rc;
    if (field(local, 4) != SIGN_LOCAL || field(local + 26, 2) != name_len)
        return hw_err_set(err, HW_EINVAL, "its local header is another's");
    if ((rc = hw_file_read(fd, name, name_len, header + LOCAL_BYTES, err)) != 0)
        return rc;
    if (memcmp(name, entry->name, name_len) != 0)
        return hw_err_set(err, HW_EINVAL, "its local header is another's");
    entry->offset = header + LOCAL_BYTES + name_len + field(local + 28, 2);
    if (entry->offset > directory_offset || entry->bytes > directory_offset - entry->offset)
        return hw_err_set(err, HW_EINVAL, "its %llu bytes pass the file's end",
                          (unsigned long long)entry->bytes);
    return 0;
}

/* One central record at *at; moves on behind it. */
static int
read_record(int fd, const struct directory *dir, const uint8_t *bytes, size_t *at, char *name,
            struct hw_zip_entry *entry, struct hw_err *err)
{
    const uint8_t *p = bytes + *at;
    size_t left = (size_t)dir->bytes - *at;

    if (left < CENTRAL_BYTES || field(p, 4) != SIGN_CENTRAL)
        return hw_err_set(err, HW_EINVAL, "the ZIP directory is damaged");
    size_t name_len = field(p + 28, 2), extra_len = field(p + 30, 2);
    size_t whole = CENTRAL_BYTES + name_len + extra_len + field(p + 32, 2);
    if (whole > left)
        return hw_err_set(err, HW_EINVAL, "the ZIP directory is damaged");
    if (name_len == 0 || name_len > 255 || memchr(p + CENTRAL_BYTES, '\0', name_len) != NULL)
        return hw_err_set(err, HW_EINVAL, "a ZIP entry's name is empty, long or holds a NUL");
    memcpy(name, p + CENTRAL_BYTES, name_len);
    name[name_len] = '\0';
    entry->name = name;

    uint64_t bytes_out = field(p + 24, 4), bytes_in = field(p + 20, 4), header = field(p + 42, 4);
    uint64_t *wide[3] = {&bytes_out, &bytes_in, &header};
    int rc = 0;
    if (!widen(p + CENTRAL_BYTES + name_len, extra_len, wide))
        rc = hw_err_set(err, HW_EINVAL, "its ZIP64 sizes are missing");
    else if ((field(p + 8, 2) & FLAG_ENCRYPTED) != 0 || field(p + 10, 2) != METHOD_STORED ||
             bytes_out != bytes_in)
        rc = hw_err_set(err, HW_EINVAL, "is compressed or encrypted, which PyTorch never does");
    entry->bytes = bytes_out;
    if (rc == 0)
        rc = find_bytes(fd, dir->offset, header, entry, err);
    if (rc != 0)
        hw_err_prefix(err, "ZIP entry %.80s", name);
    *at += whole;
    return rc;
}

static int
compare_names(const void *a, const void *b)
{
    const struct hw_zip_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int
compare_offsets(const void *a, const void *b)
{
    const struct hw_zip_entry *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Two names for the same bytes are how a small file claims to be a large one. */
static int
check_apart(struct hw_zip *zip, struct hw_err *err)
{
    qsort(zip->entries, zip->entry_count, sizeof(zip->entries[0]), compare_offsets);
    for (size_t i = 1; i < zip->entry_count; i++)
        if (zip->entries[i].offset - zip->entries[i - 1].offset < zip->entries[i - 1].bytes)
            return hw_err_set(err, HW_EINVAL, "ZIP entry %.80s overlaps another",
                              zip->entries[i].name);
    qsort(zip->entries, zip->entry_count, sizeof(zip->entries[0]), compare_names);
    for (size_t i = 1; i < zip->entry_count; i++)
        if (strcmp(zip->entries[i].name, zip->entries[i - 1].name) == 0)
            return hw_err_set(err, HW_EINVAL, "ZIP entry %.80s stands twice", zip->entries[i].name);
    return 0;
}

int
hw_zip_read(int fd, uint64_t file_bytes, struct hw_zip *out, struct hw_err *err)
{
    struct directory dir = {0, 0, 0};
    struct hw_zip zip = {0};
    uint8_t *bytes = NULL;
    size_t at = 0, name_at = 0;

    int rc = locate(fd, file_bytes, &dir, err);
    if (rc != 0)
        return rc;
    bytes = malloc((size_t)dir.bytes + 1);
    zip.names = malloc((size_t)(dir.bytes + dir.count) + 1); /* a record is longer than its name */
    zip.entries = calloc((size_t)dir.count + 1, sizeof(*zip.entries));
    if (bytes == NULL || zip.names == NULL || zip.entries == NULL)
        rc = hw_err_set(err, HW_ENOMEM, "no memory for the ZIP directory");
    else
        rc = hw_file_read(fd, bytes, (size_t)dir.bytes, dir.offset, err);
    while (rc == 0 && zip.entry_count < dir.count) {
        struct hw_zip_entry *entry = &zip.entries[zip.entry_count];
        rc = read_record(fd, &dir, bytes, &at, zip.names + name_at, entry, err);
        if (rc != 0)
            break;
        name_at += strlen(entry->name) + 1;
        zip.entry_count++;
    }
    if (rc == 0)
        rc = check_apart(&zip, err);
    free(bytes);
    if (rc != 0)
        hw_zip_free(&zip);
    else
        *out = zip;
    return rc;
}

void
hw_zip_free(struct hw_zip *zip)
{
    free(zip->names);
    free(zip->entries);
    *zip = (struct hw_zip){0};
}

const struct hw_zip_entry *
hw_zip_find(const struct hw_zip *zip, const char *name)
{
    const struct hw_zip_entry key = {.name = name};

    if (zip->entry_count == 0)
        return NULL;
    return bsearch(&key, zip->entries, zip->entry_count, sizeof(key), compare_names);
}

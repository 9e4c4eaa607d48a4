/* A data.pkl inside a small archive with fitting storages: what the pickle says is the input, so
 * that mutations reach the stack machine and the tensors' claims and not only the ZIP. Whole
 * archives are seeds of fuzz_checkpoint. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/model.h"
#include "hatchway/assert.h"
#include "hatchway/buf.h"

enum { STORAGES = 6, STORAGE_BYTES = 192 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct entry {
    const char *name;
    const void *bytes;
    uint32_t len;
    uint32_t header;
};

static void
put(struct hw_buf *out, uint64_t value, size_t size)
{
    hw_buf_append(out, &value, size);
}

/* The fields that local and central headers share. */
static void
put_common(struct hw_buf *out, const struct entry *entry)
{
    put(out, 20, 2); /* version */
    put(out, 0, 8);  /* flags, method, time, date */
    put(out, 0, 4);  /* CRC, which is not looked at */
    put(out, entry->len, 4);
    put(out, entry->len, 4);
    put(out, strlen(entry->name), 2);
    put(out, 0, 2);
}

static void
make_archive(struct hw_buf *out, struct entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        entries[i].header = (uint32_t)out->len;
        put(out, 0x04034b50u, 4);
        put_common(out, &entries[i]);
        hw_buf_puts(out, entries[i].name);
        hw_buf_append(out, entries[i].bytes, entries[i].len);
    }
    size_t directory = out->len;
    for (size_t i = 0; i < count; i++) {
        put(out, 0x02014b50u, 4);
        put(out, 20, 2);
        put_common(out, &entries[i]);
        put(out, 0, 8); /* comment, disk, attributes */
        put(out, 0, 2);
        put(out, entries[i].header, 4);
        hw_buf_puts(out, entries[i].name);
    }
    size_t bytes = out->len - directory;
    put(out, 0x06054b50u, 4);
    put(out, 0, 4);
    put(out, count, 2);
    put(out, count, 2);
    put(out, bytes, 4);
    put(out, directory, 4);
    put(out, 0, 2);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t zeros[STORAGE_BYTES];
    struct entry entries[STORAGES + 1] = {
        {"archive/data.pkl", data, (uint32_t)size, 0},
        {"archive/data/0", zeros, 192, 0},
        {"archive/data/1", zeros, 192, 0},
        {"archive/data/2", zeros, 192, 0},
        {"archive/data/3", zeros, 176, 0},
        {"archive/data/4", zeros, 176, 0},
        {"archive/data/5", zeros, 24, 0},
    };
    struct hw_bdh_model *model = NULL;
    struct hw_err err = {{0}};
    struct hw_buf archive;
    char path[64];

    hw_buf_init(&archive, size + 4096);
    make_archive(&archive, entries, STORAGES + 1);
    int fd = memfd_create("torch", MFD_CLOEXEC);
    HW_ASSERT(!archive.failed && fd >= 0 &&
              write(fd, archive.data, archive.len) == (ssize_t)archive.len);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int rc = hw_bdh_model_load(path, &model, &err);
    HW_ASSERT((rc == 0) == (model != NULL) && (rc == 0 || err.msg[0] != '\0'));
    hw_bdh_model_destroy(&model);
    hw_buf_free(&archive);
    close(fd);
    return 0;
}

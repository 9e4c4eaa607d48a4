/* engine/zip.h - the entries of a ZIP archive that only stores, as PyTorch writes them.
 *
 * The central directory is read and checked whole: names unique, every entry's bytes inside the
 * file, before the directory and apart from all others. Local headers' own sizes are not used
 * (streaming writers leave them empty). */
#ifndef HW_ENGINE_ZIP_H
#define HW_ENGINE_ZIP_H

#include <stddef.h>
#include <stdint.h>

#include "hatchway/err.h"

#define HW_ZIP_MAX_ENTRIES 1024
#define HW_ZIP_MAX_DIRECTORY_BYTES (1u << 20)

struct hw_zip_entry {
    const char *name; /* NUL-terminated, owned by the archive */
    uint64_t offset;  /* of its bytes in the file */
    uint64_t bytes;
};

struct hw_zip {
    size_t entry_count;
    struct hw_zip_entry *entries;
    char *names;
};

/* On 0 the caller owns what is in *out (hw_zip_free). */
int hw_zip_read(int fd, uint64_t file_bytes, struct hw_zip *out, struct hw_err *err);
void hw_zip_free(struct hw_zip *zip);
/* NULL when there is none of that name. */
const struct hw_zip_entry *hw_zip_find(const struct hw_zip *zip, const char *name);

#endif

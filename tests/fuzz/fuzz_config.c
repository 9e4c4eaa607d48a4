/* A configuration file: whatever stands in it, a snapshot or mistakes, never a crash or a leak. */
#include "config/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hw_snapshot *snapshot = NULL;
    struct hw_diags diags;
    char line[512];

    if (hw_config_parse("fuzz.yaml", (const char *)data, size, &snapshot, &diags) == 0)
        hw_snapshot_unref(snapshot);
    for (size_t i = 0; i < diags.count; i++)
        hw_diag_format(&diags.items[i], "fuzz.yaml", line, sizeof(line));
    hw_diags_free(&diags);
    return 0;
}

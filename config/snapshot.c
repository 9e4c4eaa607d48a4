/* config/snapshot.c - the life of a snapshot, and look-ups in it. */
#include <string.h>

#include "config/pattern.h"
#include "config/snapshot_private.h"
#include "hatchway/assert.h"

const char *const hw_kind_names[HW_KIND_COUNT + 1] = {"bdh", "ollama", "openai", NULL};
const char *const hw_device_names[HW_DEVICE_COUNT + 1] = {"cpu", "mps", "cuda", NULL};
const char *const hw_precision_names[HW_PRECISION_COUNT + 1] = {"f32", "fast", NULL};
const char *const hw_lane_names[HW_LANE_COUNT + 1] = {"realtime", "interactive", "background",
                                                      NULL};
const char *const hw_by_names[HW_BY_COUNT + 1] = {
    "latency", "priority", "least_inflight", "weighted", "affinity", "cost", "energy", NULL};
const char *const hw_day_names[8] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
const char *const hw_manage_names[HW_MANAGE_COUNT + 1] = {"pull", "push",   "create",
                                                          "copy", "delete", NULL};
const char *const hw_keep_names[HW_KEEP_COUNT + 1] = {"deterministic", "all", "none", NULL};
const char *const hw_conf_join_names[HW_CONF_JOIN_COUNT + 1] = {"off", "whole", "all", NULL};

struct hw_snapshot *
hw_snapshot_create(void)
{
    struct hw_snapshot *snapshot = hw_xcalloc(1, sizeof(*snapshot));
    snapshot->priv = hw_xcalloc(1, sizeof(*snapshot->priv));
    atomic_init(&snapshot->priv->refs, 1);
    return snapshot;
}

struct hw_snapshot *
hw_snapshot_ref(struct hw_snapshot *snapshot)
{
    unsigned before = atomic_fetch_add_explicit(&snapshot->priv->refs, 1, memory_order_relaxed);
    HW_ASSERT(before > 0);
    return snapshot;
}

void
hw_snapshot_unref(struct hw_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    unsigned before = atomic_fetch_sub_explicit(&snapshot->priv->refs, 1, memory_order_acq_rel);
    HW_ASSERT(before > 0);
    if (before > 1)
        return;
    hw_patterns_free(&snapshot->priv->patterns);
    hw_conf_arena_free(&snapshot->priv->arena);
    free(snapshot->priv);
    explicit_bzero(snapshot, sizeof(*snapshot));
    free(snapshot);
}

static bool
is_name(const char *candidate, const char *name, size_t len)
{
    return candidate != NULL && strlen(candidate) == len && memcmp(candidate, name, len) == 0;
}

int
hw_snapshot_role(const struct hw_snapshot *snapshot, const char *name, size_t len)
{
    for (size_t i = 0; i < snapshot->role_count; i++)
        if (is_name(snapshot->roles[i].name, name, len))
            return (int)i;
    return -1;
}

int
hw_snapshot_backend(const struct hw_snapshot *snapshot, const char *name, size_t len)
{
    for (size_t i = 0; i < snapshot->backend_count; i++)
        if (is_name(snapshot->backends[i].name, name, len))
            return (int)i;
    return -1;
}

bool
hw_snapshot_discovers(const struct hw_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->backend_count; i++)
        if (snapshot->backends[i].discover && snapshot->backends[i].models.count == 0)
            return true;
    return false;
}

int
hw_snapshot_agent(const struct hw_snapshot *snapshot, const uint8_t sha256[32])
{
    int found = -1;
    /* Every agent is looked at, every byte compared: the time tells nothing about a key. */
    for (size_t i = 0; i < snapshot->agent_count; i++) {
        unsigned differs = 0;
        for (size_t j = 0; j < 32; j++)
            differs |= (unsigned)(snapshot->agents[i].key_sha256[j] ^ sha256[j]);
        int equal = (int)((differs - 1u) >> 31);
        found = found * (1 - equal) + (int)i * equal;
    }
    return found;
}

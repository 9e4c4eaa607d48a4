/* router/workers_pick.c - which of a backend's workers is asked. */
#include <string.h>

#include "router/workers_private.h"

static bool
serves(const struct hw_worker_link *link, const char *backend)
{
    return !link->retiring && !link->trial && strcmp(link->backend, backend) == 0;
}

static bool
may_ask(const struct hw_worker_link *link)
{
    return link->state == HW_LINK_UP && !hw_link_congested(link);
}

static uint32_t
load_of(const struct hw_worker_link *link)
{
    return atomic_load_explicit(&link->load->calls, memory_order_relaxed);
}

/* Of several that could be asked: the one that knows the conversation, unless it has more to do
 * than the least loaded by more than it spares; else one of those. Other loops change loads
 * meanwhile: each is read once. */
static struct hw_worker_link *
pick_of_several(struct hw_workers *workers, const struct hw_worker_ask *ask)
{
    struct hw_affinity *affinity = hw_board_affinity(workers->board);
    struct hw_affinity_key key = hw_affinity_key(affinity, ask);
    uint32_t best_load = UINT32_MAX, known_load = 0, margin;
    uint64_t slot = hw_affinity_find(affinity, &key, &margin), best_rank = 0;
    struct hw_worker_link *best = NULL, *known = NULL;

    for (struct hw_worker_link *link = workers->links; link != NULL; link = link->next) {
        if (!serves(link, ask->backend) || !may_ask(link))
            continue;
        uint32_t load = load_of(link);
        uint64_t rank = hw_affinity_rank(&key, link->slot);
        if (link->slot == slot) {
            known = link;
            known_load = load;
        }
        if (best == NULL || load < best_load || (load == best_load && rank > best_rank)) {
            best = link;
            best_load = load;
            best_rank = rank;
        }
    }
    if (known != NULL && known_load <= best_load + margin)
        best = known;
    hw_affinity_note(affinity, &key, best->slot);
    return best;
}

struct hw_worker_link *
hw_link_pick(struct hw_workers *workers, const struct hw_worker_ask *ask)
{
    struct hw_worker_link *ready = NULL;
    uint32_t count = 0;

    for (struct hw_worker_link *link = workers->links; link != NULL; link = link->next)
        if (serves(link, ask->backend)) {
            count++; /* also those that are not up yet: who was asked meanwhile is noted */
            if (may_ask(link))
                ready = link;
        }
    return count > 1 && ready != NULL ? pick_of_several(workers, ask) : ready;
}

uint32_t
hw_workers_ready(struct hw_workers *workers, const char *backend)
{
    uint32_t ready = 0;

    for (struct hw_worker_link *link = workers->links; link != NULL; link = link->next)
        if (serves(link, backend) && link->state == HW_LINK_UP)
            ready++;
    return ready;
}

/* router/admission.c - see admission.h.
 *
 * A free slot is handed over rather than announced: whoever waited longest gets it even if a newer
 * query asks in the same instant, and no wake-up can be lost between two loops. */
#include "router/admission.h"

#include <pthread.h>
#include <stdlib.h>

#include "hatchway/assert.h"
#include "policies/stats.h"

struct hw_admission {
    pthread_mutex_t lock;
    struct hw_waiter_list lanes[HW_LANE_COUNT];
    size_t queued;
    struct hw_retry_budget retries;
};

static void
list_push(struct hw_waiter_list *list, struct hw_waiter *waiter)
{
    waiter->next = NULL;
    waiter->prev = list->last;
    if (list->last != NULL)
        list->last->next = waiter;
    else
        list->first = waiter;
    list->last = waiter;
}

static void
list_remove(struct hw_waiter_list *list, struct hw_waiter *waiter)
{
    if (waiter->prev != NULL)
        waiter->prev->next = waiter->next;
    else
        list->first = waiter->next;
    if (waiter->next != NULL)
        waiter->next->prev = waiter->prev;
    else
        list->last = waiter->prev;
    waiter->next = waiter->prev = NULL;
}

struct hw_admission *
hw_admission_create(void)
{
    struct hw_admission *admission = hw_xcalloc(1, sizeof(*admission));
    pthread_mutex_init(&admission->lock, NULL);
    hw_retry_budget_init(&admission->retries);
    return admission;
}

void
hw_admission_destroy(struct hw_admission **admission)
{
    if (*admission == NULL)
        return;
    HW_ASSERT((*admission)->queued == 0);
    pthread_mutex_destroy(&(*admission)->lock);
    free(*admission);
    *admission = NULL;
}

static void
count_waiting(const struct hw_waiter *waiter, unsigned by)
{
    for (size_t i = 0; i < waiter->count; i++)
        atomic_fetch_add_explicit(&waiter->rooms[i].backend->waiting, by, memory_order_relaxed);
}

static void
queue_push(struct hw_admission *admission, struct hw_waiter *waiter)
{
    list_push(&admission->lanes[waiter->asker.lane], waiter);
    admission->queued++;
    count_waiting(waiter, 1);
}

static void
queue_remove(struct hw_admission *admission, struct hw_waiter *waiter)
{
    list_remove(&admission->lanes[waiter->asker.lane], waiter);
    admission->queued--;
    count_waiting(waiter, -1u);
}

static bool
reserve_locked(const struct hw_room *room, const struct hw_asker *asker, struct hw_slot *slot)
{
    struct hw_shared_device *device = room->device;
    struct hw_device_view view;
    int share = HW_SHARE_OPEN;

    if (room->limit != 0 &&
        atomic_load_explicit(&room->backend->inflight, memory_order_relaxed) >= room->limit)
        return false;
    if (device != NULL) {
        hw_device_view(device, &view);
        share = hw_share_pick(room->device_conf, &view, asker->lane, asker->role, room->idle);
        if (share == HW_SHARE_NONE)
            return false;
        atomic_fetch_add_explicit(&device->inflight, 1, memory_order_relaxed);
        if (share >= 0)
            atomic_fetch_add_explicit(&device->taken[share], 1, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&room->backend->inflight, 1, memory_order_relaxed);
    *slot = (struct hw_slot){room->backend, device, share};
    return true;
}

bool
hw_admission_reserve(struct hw_admission *admission, const struct hw_room *room,
                     const struct hw_asker *asker, struct hw_slot *slot)
{
    pthread_mutex_lock(&admission->lock);
    bool reserved = reserve_locked(room, asker, slot);
    pthread_mutex_unlock(&admission->lock);
    return reserved;
}

static void
grant_locked(struct hw_waiter *waiter)
{
    waiter->state = HW_WAITER_READY;
    list_push(waiter->ready, waiter);
    uv_async_send(waiter->wake);
}

/* May what came free at this slot be of use there? */
static bool
is_near(const struct hw_room *room, const struct hw_slot *slot)
{
    return room->backend == slot->backend || (slot->device != NULL && room->device == slot->device);
}

/* The waiter that what came free goes to, its slot reserved: of the highest lane the one that has
 * waited longest. A reload may have lowered a limit since it began to. */
static struct hw_waiter *
serve_first_waiter(struct hw_admission *admission, const struct hw_slot *freed)
{
    for (int lane = 0; lane < HW_LANE_COUNT; lane++)
        for (struct hw_waiter *w = admission->lanes[lane].first; w != NULL; w = w->next)
            for (size_t i = 0; i < w->count; i++)
                if (is_near(&w->rooms[i], freed) &&
                    reserve_locked(&w->rooms[i], &w->asker, &w->granted))
                    return w;
    return NULL;
}

static void
release_locked(struct hw_admission *admission, struct hw_slot *slot)
{
    struct hw_slot freed = *slot;
    unsigned before = atomic_fetch_sub_explicit(&freed.backend->inflight, 1, memory_order_relaxed);

    HW_ASSERT(before > 0);
    *slot = (struct hw_slot){NULL, NULL, HW_SHARE_OPEN};
    if (freed.device != NULL) {
        before = atomic_fetch_sub_explicit(&freed.device->inflight, 1, memory_order_relaxed);
        HW_ASSERT(before > 0);
        if (freed.share >= 0)
            atomic_fetch_sub_explicit(&freed.device->taken[freed.share], 1, memory_order_relaxed);
    }
    if (admission->queued == 0)
        return;
    struct hw_waiter *waiter = serve_first_waiter(admission, &freed);
    if (waiter == NULL)
        return;
    queue_remove(admission, waiter);
    grant_locked(waiter);
}

void
hw_admission_release(struct hw_admission *admission, struct hw_slot *slot)
{
    pthread_mutex_lock(&admission->lock);
    release_locked(admission, slot);
    pthread_mutex_unlock(&admission->lock);
}

int
hw_admission_wait(struct hw_admission *admission, struct hw_waiter *waiter, size_t max_queued)
{
    int rc = 0;

    HW_ASSERT(waiter->state == HW_WAITER_IDLE);
    pthread_mutex_lock(&admission->lock);
    for (size_t i = 0; i < waiter->count && waiter->state == HW_WAITER_IDLE; i++)
        if (reserve_locked(&waiter->rooms[i], &waiter->asker, &waiter->granted))
            grant_locked(waiter);
    if (waiter->state == HW_WAITER_IDLE && admission->queued >= max_queued) {
        rc = HW_ELIMIT;
    } else if (waiter->state == HW_WAITER_IDLE) {
        waiter->state = HW_WAITER_WAITING;
        queue_push(admission, waiter);
    }
    pthread_mutex_unlock(&admission->lock);
    return rc;
}

void
hw_admission_leave(struct hw_admission *admission, struct hw_waiter *waiter)
{
    pthread_mutex_lock(&admission->lock);
    if (waiter->state == HW_WAITER_WAITING) {
        queue_remove(admission, waiter);
    } else if (waiter->state == HW_WAITER_READY) {
        list_remove(waiter->ready, waiter);
        release_locked(admission, &waiter->granted);
    }
    waiter->state = HW_WAITER_IDLE;
    pthread_mutex_unlock(&admission->lock);
}

struct hw_waiter *
hw_admission_collect(struct hw_admission *admission, struct hw_waiter_list *ready)
{
    pthread_mutex_lock(&admission->lock);
    struct hw_waiter *waiter = ready->first;
    if (waiter != NULL) {
        list_remove(ready, waiter);
        waiter->state = HW_WAITER_IDLE;
    }
    pthread_mutex_unlock(&admission->lock);
    return waiter;
}

size_t
hw_admission_queued(struct hw_admission *admission)
{
    pthread_mutex_lock(&admission->lock);
    size_t queued = admission->queued;
    pthread_mutex_unlock(&admission->lock);
    return queued;
}

void
hw_admission_count_query(struct hw_admission *admission, uint32_t retry_percent)
{
    pthread_mutex_lock(&admission->lock);
    hw_retry_budget_query(&admission->retries, retry_percent);
    pthread_mutex_unlock(&admission->lock);
}

bool
hw_admission_take_retry(struct hw_admission *admission, uint64_t now_ms)
{
    pthread_mutex_lock(&admission->lock);
    bool granted = hw_retry_budget_take(&admission->retries, now_ms) != 0;
    pthread_mutex_unlock(&admission->lock);
    return granted;
}

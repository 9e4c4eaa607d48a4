/* router/join.c - see join.h. Leaders stand in a table by their keys; whoever follows stands in its
 * leader's list and, when the wait is over, in its own loop's ready list. */
#include "router/join.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"

#define BUCKETS 1024 /* a power of two; as many as there may be queries waiting for backends */

struct hw_joins {
    pthread_mutex_t lock;
    struct hw_join *buckets[BUCKETS];
};

struct hw_joins *
hw_joins_create(void)
{
    struct hw_joins *joins = hw_xcalloc(1, sizeof(*joins));
    pthread_mutex_init(&joins->lock, NULL);
    return joins;
}

void
hw_joins_destroy(struct hw_joins **joins)
{
    if (*joins == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        HW_ASSERT((*joins)->buckets[i] == NULL);
    pthread_mutex_destroy(&(*joins)->lock);
    free(*joins);
    *joins = NULL;
}

static void
list_push(struct hw_join_list *list, struct hw_join *join)
{
    join->next = NULL;
    join->prev = list->last;
    if (list->last != NULL)
        list->last->next = join;
    else
        list->first = join;
    list->last = join;
}

static void
list_remove(struct hw_join_list *list, struct hw_join *join)
{
    if (join->prev != NULL)
        join->prev->next = join->next;
    else
        list->first = join->next;
    if (join->next != NULL)
        join->next->prev = join->prev;
    else
        list->last = join->prev;
    join->next = join->prev = NULL;
}

static struct hw_join **
bucket_of(struct hw_joins *joins, const struct hw_cache_key *key)
{
    return &joins->buckets[(key->bytes[0] | key->bytes[1] << 8) & (BUCKETS - 1)];
}

static struct hw_join *
find_leader(struct hw_joins *joins, const struct hw_cache_key *key)
{
    struct hw_join *leader = *bucket_of(joins, key);

    while (leader != NULL && memcmp(leader->key, key, sizeof(*key)) != 0)
        leader = leader->bucket_next;
    return leader;
}

static void
begin_to_lead(struct hw_joins *joins, struct hw_join *join)
{
    struct hw_join **bucket = bucket_of(joins, join->key);

    join->leads = true;
    join->bucket_next = *bucket;
    *bucket = join;
}

static void
end_to_lead(struct hw_joins *joins, struct hw_join *join)
{
    struct hw_join **link = bucket_of(joins, join->key);

    while (*link != join)
        link = &(*link)->bucket_next;
    *link = join->bucket_next;
    join->bucket_next = NULL;
    join->leads = false;
}

static void
end_wait(struct hw_join *join, struct hw_cache_entry *answer)
{
    list_remove(&join->leader->followers, join);
    join->leader = NULL;
    join->state = HW_JOIN_READY;
    join->answer = answer != NULL ? hw_cache_entry_ref(answer) : NULL;
    list_push(join->ready, join);
    uv_async_send(join->wake);
}

/* Of those that follow: of the highest lane the one that has waited longest. */
static struct hw_join *
next_leader(const struct hw_join *join)
{
    struct hw_join *chosen = join->followers.first;

    for (struct hw_join *other = chosen; other != NULL; other = other->next)
        if (other->lane < chosen->lane)
            chosen = other;
    return chosen;
}

static void
pass_on(struct hw_joins *joins, struct hw_join *join)
{
    struct hw_join *heir = next_leader(join);

    end_to_lead(joins, join);
    if (heir == NULL)
        return;
    end_wait(heir, NULL);
    begin_to_lead(joins, heir);
    heir->followers = join->followers;
    join->followers = (struct hw_join_list){NULL, NULL};
    for (struct hw_join *other = heir->followers.first; other != NULL; other = other->next)
        other->leader = heir;
}

bool
hw_joins_enter(struct hw_joins *joins, struct hw_join *join)
{
    HW_ASSERT(join->state == HW_JOIN_NOTHING && !join->leads);
    pthread_mutex_lock(&joins->lock);
    struct hw_join *leader = find_leader(joins, join->key);
    bool follows = leader != NULL && leader->lane <= join->lane;
    if (follows) {
        join->state = HW_JOIN_FOLLOWS;
        join->leader = leader;
        list_push(&leader->followers, join);
    } else if (leader == NULL) {
        begin_to_lead(joins, join);
    }
    pthread_mutex_unlock(&joins->lock);
    join->entered = follows || leader == NULL;
    return follows;
}

void
hw_joins_give(struct hw_joins *joins, struct hw_join *join, struct hw_cache_entry *answer)
{
    if (!join->entered)
        return;
    pthread_mutex_lock(&joins->lock);
    /* One that waits still, but was made to lead, has nothing to give. */
    if (join->leads && join->state == HW_JOIN_NOTHING) {
        while (join->followers.first != NULL)
            end_wait(join->followers.first, answer);
        end_to_lead(joins, join);
    }
    pthread_mutex_unlock(&joins->lock);
}

void
hw_joins_leave(struct hw_joins *joins, struct hw_join *join)
{
    struct hw_cache_entry *unwanted = NULL;

    if (!join->entered)
        return;
    pthread_mutex_lock(&joins->lock);
    if (join->state == HW_JOIN_FOLLOWS) {
        list_remove(&join->leader->followers, join);
        join->leader = NULL;
    } else if (join->state == HW_JOIN_READY) {
        list_remove(join->ready, join);
        unwanted = join->answer;
        join->answer = NULL;
    }
    join->state = HW_JOIN_NOTHING;
    if (join->leads)
        pass_on(joins, join);
    pthread_mutex_unlock(&joins->lock);
    join->entered = false;
    hw_cache_entry_unref(unwanted);
}

struct hw_join *
hw_joins_collect(struct hw_joins *joins, struct hw_join_list *ready)
{
    pthread_mutex_lock(&joins->lock);
    struct hw_join *join = ready->first;
    if (join != NULL) {
        list_remove(ready, join);
        join->state = HW_JOIN_NOTHING;
        join->entered = join->leads;
    }
    pthread_mutex_unlock(&joins->lock);
    return join;
}

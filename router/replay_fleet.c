/* router/replay_fleet.c - the fleet on paper: what a log measured of its backends, and how busy a
 * policy would have kept them. */
#include <stdlib.h>
#include <string.h>

#include "hatchway/assert.h"
#include "router/replay_private.h"

/* --- what the log measured ------------------------------------------------------------------- */

static const struct hw_conf_backend *
find_backend(const struct hw_snapshot *snapshot, const char *name)
{
    int i = hw_snapshot_backend(snapshot, name, strlen(name));

    return i >= 0 ? &snapshot->backends[i] : NULL;
}

const struct hw_figure *
hw_figures_find(const struct hw_figures *figures, const char *backend)
{
    for (size_t i = 0; i < figures->count; i++)
        if (strcmp(figures->items[i].name, backend) == 0)
            return &figures->items[i];
    return NULL;
}

/* NULL: no policy has it, or there are too many. */
static struct hw_figure *
make_figure(struct hw_figures *figures, const char *name,
            const struct hw_snapshot *const *snapshots, size_t snapshot_count)
{
    const struct hw_conf_backend *conf = NULL;
    struct hw_backend_view prior = {0};

    for (size_t i = 0; i < snapshot_count && conf == NULL; i++)
        conf = find_backend(snapshots[i], name);
    if (conf == NULL || figures->count == HW_FIGURES_MAX || strlen(name) > 64)
        return NULL;
    if (figures->items == NULL)
        figures->items = hw_xcalloc(HW_FIGURES_MAX, sizeof(*figures->items));
    struct hw_figure *figure = &figures->items[figures->count++];
    memcpy(figure->name, name, strlen(name) + 1);
    hw_rank_prior(conf, &prior);
    hw_speed_init(&figure->speed, &prior);
    return figure;
}

void
hw_figures_learn(struct hw_figures *figures, const struct hw_record *record,
                 const struct hw_snapshot *const *snapshots, size_t snapshot_count)
{
    bool answered = record->attempts > 0 && record->status == 200 && record->finish != NULL;
    struct hw_speed_sample sample = {.prompt_bytes = record->prompt_bytes,
                                     .ttft_us = record->ttft_us,
                                     .output_bytes = record->output_bytes,
                                     .decode_us = record->decode_us};

    if (!answered || record->backend == NULL || record->ttft_us == 0)
        return;
    struct hw_figure *figure =
        (struct hw_figure *)(uintptr_t)hw_figures_find(figures, record->backend);
    if (figure == NULL)
        figure = make_figure(figures, record->backend, snapshots, snapshot_count);
    if (figure != NULL)
        hw_speed_learn(&figure->speed, &sample);
}

void
hw_figures_free(struct hw_figures *figures)
{
    free(figures->items);
    *figures = (struct hw_figures){0};
}

/* --- latencies ------------------------------------------------------------------------------- */

void
hw_latencies_add(struct hw_latencies *latencies, double ms)
{
    if (latencies->count == latencies->room) {
        size_t room = latencies->room == 0 ? 256 : latencies->room * 2;
        float *items = hw_xcalloc(room, sizeof(*items));
        if (latencies->count > 0)
            memcpy(items, latencies->items, latencies->count * sizeof(*items));
        free(latencies->items);
        latencies->items = items;
        latencies->room = room;
    }
    latencies->items[latencies->count++] = (float)ms;
}

static int
compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void
sum_up(struct hw_latencies *latencies, struct hw_replay_load *out)
{
    double sum = 0;

    if (latencies->count == 0)
        return;
    qsort(latencies->items, latencies->count, sizeof(latencies->items[0]), compare_floats);
    for (size_t i = 0; i < latencies->count; i++)
        sum += (double)latencies->items[i];
    out->mean_ms = sum / (double)latencies->count;
    out->p99_ms = (double)latencies->items[(latencies->count - 1) * 99 / 100];
}

/* --- the fleet ------------------------------------------------------------------------------- */

void
hw_fleet_init(struct hw_fleet *fleet, const struct hw_snapshot *snapshot,
              const struct hw_figures *figures)
{
    size_t count = snapshot->backend_count;

    *fleet = (struct hw_fleet){.snapshot = snapshot,
                               .views = hw_xcalloc(count + 1, sizeof(*fleet->views)),
                               .idle = hw_xcalloc(count + 1, sizeof(*fleet->idle)),
                               .loads = hw_xcalloc(count + 1, sizeof(*fleet->loads)),
                               .latencies = hw_xcalloc(count + 1, sizeof(*fleet->latencies))};
    fleet->devices = hw_xcalloc(snapshot->device_count + 1, sizeof(*fleet->devices));
    fleet->idle_devices = hw_xcalloc(snapshot->device_count + 1, sizeof(*fleet->idle_devices));
    for (size_t i = 0; i < count; i++) {
        struct hw_backend_view *view = &fleet->views[i];
        const struct hw_figure *figure = hw_figures_find(figures, snapshot->backends[i].name);
        hw_rank_prior(&snapshot->backends[i], view);
        view->up = true;
        if (figure != NULL) {
            view->ttft_ms = figure->speed.ttft_ms;
            view->prefill_bytes_s = figure->speed.prefill_bytes_s;
            view->decode_bytes_s = figure->speed.decode_bytes_s;
            view->service_ms = figure->speed.service_ms;
            view->answer_bytes = figure->speed.answer_bytes;
        }
        fleet->idle[i] = *view;
    }
}

void
hw_fleet_free(struct hw_fleet *fleet)
{
    for (size_t i = 0; i < fleet->snapshot->backend_count; i++)
        free(fleet->latencies[i].items);
    free(fleet->latencies);
    free(fleet->all.items);
    free(fleet->views);
    free(fleet->idle);
    free(fleet->devices);
    free(fleet->idle_devices);
    free(fleet->loads);
    free(fleet->jobs);
}

static void
swap_jobs(struct hw_fleet_job *a, struct hw_fleet_job *b)
{
    struct hw_fleet_job job = *a;
    *a = *b;
    *b = job;
}

static void
push_job(struct hw_fleet *fleet, struct hw_fleet_job job)
{
    if (fleet->job_count == fleet->job_room) {
        size_t room = fleet->job_room == 0 ? 64 : fleet->job_room * 2;
        struct hw_fleet_job *jobs = hw_xcalloc(room, sizeof(*jobs));
        if (fleet->job_count > 0)
            memcpy(jobs, fleet->jobs, fleet->job_count * sizeof(*jobs));
        free(fleet->jobs);
        fleet->jobs = jobs;
        fleet->job_room = room;
    }
    size_t i = fleet->job_count++;
    fleet->jobs[i] = job;
    for (; i > 0 && fleet->jobs[i].ends_ms < fleet->jobs[(i - 1) / 2].ends_ms; i = (i - 1) / 2)
        swap_jobs(&fleet->jobs[i], &fleet->jobs[(i - 1) / 2]);
}

static void
pop_job(struct hw_fleet *fleet)
{
    struct hw_fleet_job *jobs = fleet->jobs;
    size_t count = --fleet->job_count, i = 0;

    jobs[0] = jobs[count];
    for (;;) {
        size_t least = i, left = 2 * i + 1;
        if (left < count && jobs[left].ends_ms < jobs[least].ends_ms)
            least = left;
        if (left + 1 < count && jobs[left + 1].ends_ms < jobs[least].ends_ms)
            least = left + 1;
        if (least == i)
            return;
        swap_jobs(&jobs[i], &jobs[least]);
        i = least;
    }
}

static struct hw_device_view *
device_of(const struct hw_fleet *fleet, size_t backend)
{
    const struct hw_conf_device *on = fleet->snapshot->backends[backend].on;

    return on != NULL ? &fleet->devices[on - fleet->snapshot->devices] : NULL;
}

static void
end_job(struct hw_fleet *fleet, const struct hw_fleet_job *job)
{
    struct hw_device_view *device = device_of(fleet, job->backend);

    fleet->views[job->backend].inflight--;
    if (device == NULL)
        return;
    device->inflight--;
    if (job->share >= 0)
        device->taken[job->share]--;
}

void
hw_fleet_advance(struct hw_fleet *fleet, uint64_t now_ms)
{
    while (fleet->job_count > 0 && fleet->jobs[0].ends_ms <= now_ms) {
        end_job(fleet, &fleet->jobs[0]);
        pop_job(fleet);
    }
    if (fleet->snapshot->device_count > 0)
        hw_expect_others(fleet->snapshot, fleet->views);
    if (fleet->first_ms == 0 || now_ms < fleet->first_ms)
        fleet->first_ms = now_ms;
    if (now_ms > fleet->last_ms)
        fleet->last_ms = now_ms;
}

/* Milliseconds of work, with as long an answer as it really was where the log tells. */
static double
work_ms(const struct hw_backend_view *view, const struct hw_record *record,
        const struct hw_expected *parts)
{
    double decode_ms = parts->decode_ms;

    if (record->output_bytes > 0 && view->decode_bytes_s > 0)
        decode_ms = (double)record->output_bytes * 1000 / view->decode_bytes_s;
    return parts->start_ms + parts->prefill_ms + decode_ms;
}

static double
usual_bytes(const struct hw_fleet *fleet)
{
    return hw_expect_answer_bytes(fleet->views, fleet->snapshot->backend_count);
}

double
hw_fleet_latency_ms(const struct hw_fleet *fleet, const struct hw_record *record,
                    const struct hw_traits *traits, size_t backend)
{
    const struct hw_backend_view *view = &fleet->views[backend];
    struct hw_expected parts;

    hw_expect(view, &fleet->snapshot->backends[backend], traits, usual_bytes(fleet), &parts);
    return parts.queue_ms + work_ms(view, record, &parts);
}

/* On whose account it runs on its device; one for which there was no room waits on nobody's. */
static int
take_share(struct hw_fleet *fleet, const struct hw_replayed *replayed)
{
    const struct hw_conf_device *on = fleet->snapshot->backends[replayed->backend].on;
    struct hw_device_view *device = device_of(fleet, (size_t)replayed->backend);

    if (device == NULL)
        return HW_SHARE_NONE;
    int share = hw_share_pick(on, device, replayed->lane, replayed->role, false);
    device->inflight++;
    if (share >= 0)
        device->taken[share]++;
    return share;
}

void
hw_fleet_send(struct hw_fleet *fleet, const struct hw_record *record,
              const struct hw_replayed *replayed)
{
    size_t backend = (size_t)replayed->backend;
    double latency_ms = replayed->latency_ms < 1e12 ? replayed->latency_ms : 1e12;
    struct hw_backend_view *view = &fleet->views[backend];
    struct hw_replay_load *load = &fleet->loads[backend];
    struct hw_traits traits = {.prompt_bytes = record->prompt_bytes,
                               .max_tokens = record->max_tokens,
                               .embeds = record->embeds};
    struct hw_expected parts;

    hw_expect(view, &fleet->snapshot->backends[backend], &traits, usual_bytes(fleet), &parts);
    load->queries++;
    load->busy_ms += work_ms(view, record, &parts);
    hw_latencies_add(&fleet->latencies[backend], latency_ms);
    hw_latencies_add(&fleet->all, latency_ms);
    view->inflight++;
    if (view->inflight > load->peak_inflight)
        load->peak_inflight = view->inflight;
    push_job(fleet, (struct hw_fleet_job){.ends_ms = record->time_ms + (uint64_t)latency_ms,
                                          .backend = (uint32_t)backend,
                                          .share = take_share(fleet, replayed)});
}

const struct hw_replay_load *
hw_fleet_finish(struct hw_fleet *fleet, struct hw_replay_load *all)
{
    double span_ms = (double)(fleet->last_ms - fleet->first_ms);

    if (span_ms < 1000)
        span_ms = 1000;
    *all = (struct hw_replay_load){.queries = fleet->all.count};
    sum_up(&fleet->all, all);
    for (size_t i = 0; i < fleet->snapshot->backend_count; i++) {
        struct hw_replay_load *load = &fleet->loads[i];
        load->share = load->busy_ms / span_ms / hw_backend_parallel(&fleet->snapshot->backends[i]);
        sum_up(&fleet->latencies[i], load);
        all->busy_ms += load->busy_ms;
        if (load->peak_inflight > all->peak_inflight)
            all->peak_inflight = load->peak_inflight;
    }
    return fleet->loads;
}

/* router/watch.c - see watch.h. */
#include "router/watch.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "router/log.h"

enum { QUIET_MS = 200 };

static void
on_quiet_timer(uv_timer_t *timer)
{
    struct hw_watch *watch = timer->data;
    uint64_t stamp = hw_watch_stamp(watch->path);

    if (stamp == watch->stamp) {
        watch->on_quiet(watch->ctx);
        return;
    }
    watch->stamp = stamp;
    uv_timer_start(timer, on_quiet_timer, QUIET_MS, 0);
}

/* Whatever it was: the name that comes with an event may be missing, or be a link's target. It is
 * the file that must be quiet, not the folder: a log that is written beside it never is. */
static void
on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct hw_watch *watch = event->data;

    (void)name;
    (void)events;
    if (status != 0 || uv_is_active((uv_handle_t *)&watch->quiet))
        return;
    watch->stamp = hw_watch_stamp(watch->path);
    uv_timer_start(&watch->quiet, on_quiet_timer, QUIET_MS, 0);
}

void
hw_watch_start(struct hw_watch *watch, uv_loop_t *loop, const char *path,
               void (*on_quiet)(void *ctx), void *ctx)
{
    char folder[4096] = ".";
    const char *slash = strrchr(path, '/');

    watch->path = path;
    watch->on_quiet = on_quiet;
    watch->ctx = ctx;
    if (slash != NULL)
        snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    uv_timer_init(loop, &watch->quiet);
    uv_fs_event_init(loop, &watch->event);
    watch->quiet.data = watch->event.data = watch;
    uv_unref((uv_handle_t *)&watch->quiet);
    uv_unref((uv_handle_t *)&watch->event);
    int rc = uv_fs_event_start(&watch->event, on_event, folder, 0);
    if (rc != 0)
        hw_log(HW_LOG_WARN, "%s cannot be watched (%s): reload by SIGHUP or POST", folder,
               uv_strerror(rc));
}

void
hw_watch_close(struct hw_watch *watch)
{
    uv_close((uv_handle_t *)&watch->quiet, NULL);
    uv_close((uv_handle_t *)&watch->event, NULL);
}

uint64_t
hw_watch_stamp(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return 0;
    const uint64_t parts[] = {(uint64_t)st.st_dev, (uint64_t)st.st_ino, (uint64_t)st.st_size,
                              (uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec};
    uint64_t stamp = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        stamp = (stamp ^ parts[i]) * 0x9e3779b97f4a7c15u;
    return stamp | 1;
}

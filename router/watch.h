/* router/watch.h - tells when the configuration file has changed on disk.
 *
 * The folder is watched, not the file: editors put a new file in the old one's place, and a watch
 * on the old one would never hear of it. After an event the file is left alone until it has not
 * changed for 200 ms. On the gateway's loop 0. */
#ifndef HW_ROUTER_WATCH_H
#define HW_ROUTER_WATCH_H

#include <stdint.h>
#include <uv.h>

struct hw_watch {
    uv_fs_event_t event;
    uv_timer_t quiet;
    const char *path;
    uint64_t stamp; /* of the file when the timer was set */
    void (*on_quiet)(void *ctx);
    void *ctx;
};

/* on_quiet: something in the folder of path (a string that outlives the watch) changed, and the
 * file has been the same for 200 ms; whether it is a new one, hw_watch_stamp tells. The handles do
 * not keep the loop alive. */
void hw_watch_start(struct hw_watch *watch, uv_loop_t *loop, const char *path,
                    void (*on_quiet)(void *ctx), void *ctx);
/* The loop's next run lets go of it. */
void hw_watch_close(struct hw_watch *watch);
/* Which file stands at path now: changes with every edit; 0: none can be seen. */
uint64_t hw_watch_stamp(const char *path);

#endif

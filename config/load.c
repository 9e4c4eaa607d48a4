/* config/load.c - a file to a snapshot: read, parse to a tree, read the tree by the tables, check.
 */
#include "config/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/sections.h"
#include "config/zone.h"
#include "config/snapshot_private.h"
#include "hatchway/assert.h"

const char *
hw_folder_of(struct hw_conf_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return ".";
    if (slash == path)
        return "";
    return hw_conf_arena_strndup(arena, path, (size_t)(slash - path));
}

static void
set_surroundings(struct hw_load *load, const char *path)
{
    struct hw_snapshot *snapshot = load->snapshot;
    const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
    bool usable = runtime_dir != NULL && *runtime_dir == '/' && strlen(runtime_dir) <= 60;
    snapshot->file = hw_conf_arena_strdup(load->arena, path);
    snapshot->worker_dir = hw_conf_arena_strdup(load->arena, usable ? runtime_dir : "/tmp");
    load->folder = hw_folder_of(load->arena, path);
    hw_zone_load(load->arena, NULL, &snapshot->zone, NULL); /* always finds one, UTC at worst */
}

static int
fill(struct hw_load *load, const char *path, const char *yaml, size_t len)
{
    struct hw_conf_arena tree = {0};
    int rc = HW_EINVAL;
    if (len > HW_YAML_BYTES_MAX) {
        hw_diags_addf(load->diags, false, 0, 0, "the file has more than %d bytes",
                      HW_YAML_BYTES_MAX);
        return HW_EINVAL;
    }
    const struct hw_node *root = hw_tree_parse(&tree, yaml, len, load->diags);
    if (root != NULL) {
        set_surroundings(load, path);
        hw_schema_defaults(load, hw_keys_top, load->snapshot);
        hw_schema_read(load, root, hw_keys_top, load->snapshot);
        if (root->kind == HW_NODE_MAP)
            hw_check_all(load, root);
        if (load->snapshot->route_count == 0)
            hw_add_default_route(load);
        hw_gather_decision_headers(load);
        rc = load->diags->errors > 0 ? HW_EINVAL : 0;
    }
    hw_conf_arena_free(&tree);
    return rc;
}

int
hw_config_parse(const char *path, const char *yaml, size_t len, struct hw_snapshot **out,
                struct hw_diags *diags)
{
    struct hw_snapshot *snapshot = hw_snapshot_create();
    struct hw_load load = {.snapshot = snapshot, .arena = &snapshot->priv->arena, .diags = diags};
    *diags = (struct hw_diags){0};
    int rc = fill(&load, path, yaml, len);
    hw_diags_finish(diags);
    if (rc == 0)
        *out = snapshot;
    else
        hw_snapshot_unref(snapshot);
    return rc;
}

/* Up to HW_YAML_BYTES_MAX + 1 bytes, so that too long a file can be told. -1: see errno. */
static ssize_t
read_file(const char *path, char *buf)
{
    /* A pipe without a writer would hold up the loop that reads: not waited for, and refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))) {
        close(fd);
        errno = ESPIPE;
        return -1;
    }
    size_t len = 0;
    ssize_t n = 1;
    while (n > 0 && len < HW_YAML_BYTES_MAX + 1) {
        n = read(fd, buf + len, HW_YAML_BYTES_MAX + 1 - len);
        if (n > 0)
            len += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return n < 0 ? -1 : (ssize_t)len;
}

char *
hw_read_yaml(const char *path, size_t *len, struct hw_diags *diags)
{
    char *buf = hw_xcalloc(1, HW_YAML_BYTES_MAX + 1);
    ssize_t n = read_file(path, buf);
    if (n >= 0) {
        *len = (size_t)n;
        return buf;
    }
    *diags = (struct hw_diags){0};
    hw_diags_addf(diags, false, 0, 0, "cannot be read: %s",
                  errno == ESPIPE ? "it is a pipe, not a file" : strerror(errno));
    free(buf);
    return NULL;
}

int
hw_config_load(const char *path, struct hw_snapshot **out, struct hw_diags *diags)
{
    size_t len;
    char *yaml = hw_read_yaml(path, &len, diags);
    if (yaml == NULL)
        return HW_EIO;
    int rc = hw_config_parse(path, yaml, len, out, diags);
    explicit_bzero(yaml, len);
    free(yaml);
    return rc;
}

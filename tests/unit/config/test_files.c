/* The configurations that ship, files as such, sizes, and documents cut at every byte. */
#include "help.h"

#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/hw_config_XXXXXX";

static char *
slurp(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    *len = fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    return text;
}

static void
spill(const char *path, const char *text, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
}

static struct hw_snapshot *
load_file(const char *path, int want_rc)
{
    struct hw_snapshot *snapshot = NULL;
    struct hw_diags diags;
    int rc = hw_config_load(path, &snapshot, &diags);
    messages[0] = '\0';
    if (diags.count > 0)
        hw_diag_format(&diags.items[0], path, messages, sizeof(messages));
    hw_diags_free(&diags);
    if (rc != want_rc)
        fail_msg("%s: %d: %s", path, rc, messages);
    return snapshot;
}

static void
the_fleet(void **state)
{
    struct hw_snapshot *s = load_file(HW_SOURCE_DIR "/config/fleet.yaml", 0);
    (void)state;
    assert_string_equal(messages, ""); /* no warning either */
    assert_int_equal(s->role_count, 12);
    for (size_t i = 0; i < s->role_count; i++) {
        assert_non_null(s->roles[i].description);
        assert_true(s->roles[i].keywords.count >= 5);
        assert_true(s->roles[i].examples.count >= 10);
    }
    for (size_t i = 0; i < s->role_count; i++) /* no keyword belongs to two roles */
        for (size_t j = i + 1; j < s->role_count; j++)
            for (size_t a = 0; a < s->roles[i].keywords.count; a++)
                for (size_t b = 0; b < s->roles[j].keywords.count; b++)
                    assert_string_not_equal(s->roles[i].keywords.items[a],
                                            s->roles[j].keywords.items[b]);
    assert_true(hw_snapshot_backend(s, "redfin-bdh", 10) >= 0);
    hw_snapshot_unref(s);
}

/* The model may not have been trained yet: a copy beside an empty file does for the test. */
static void
the_default(void **state)
{
    char path[128];
    size_t len;
    char *text = slurp(HW_SOURCE_DIR "/config/hatchway.yaml", &len);
    (void)state;
    snprintf(path, sizeof(path), "%s/models", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/models/hatchling.safetensors", folder);
    spill(path, "", 0);
    snprintf(path, sizeof(path), "%s/config", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/config/hatchway.yaml", folder);
    spill(path, text, len);
    free(text);

    struct hw_snapshot *s = load_file(path, 0);
    assert_string_equal(messages, "");
    assert_int_equal(s->backend_count, 1);
    assert_string_equal(s->backends[0].name, "hatchling");
    assert_int_equal(s->backends[0].workers, 1);
    assert_true(s->backends[0].general);
    assert_int_equal(access(s->backends[0].model, R_OK), 0);
    uint64_t digest = s->backends[0].digest;
    hw_snapshot_unref(s);

    char model[128];
    snprintf(model, sizeof(model), "%s/models/hatchling.safetensors", folder);
    spill(model, "trained", 7); /* other weights may give other answers */
    s = load_file(path, 0);
    assert_true(s->backends[0].digest != digest);
    hw_snapshot_unref(s);
    assert_int_equal(truncate(model, 1ll << 40), 0); /* a hole of 1 TiB */
    hw_snapshot_unref(load_file(path, 0));
    assert_non_null(strstr(messages, "'hatchling' need 1024.0 GiB for their models and this"));
    unlink(model);
    assert_null(load_file(path, HW_EINVAL));
    assert_non_null(strstr(messages, "hatchling.safetensors (No such file"));
    unlink(path);
}

static void
files_that_cannot_be_read(void **state)
{
    char want[256];
    (void)state;
    assert_null(load_file("/nowhere/hw.yaml", HW_EIO));
    assert_string_equal(messages,
                        "/nowhere/hw.yaml: error: cannot be read: No such file or directory");
    assert_null(load_file(folder, HW_EIO));
    snprintf(want, sizeof(want), "%s: error: cannot be read: Is a directory", folder);
    assert_string_equal(messages, want);
}

static void
cut_at_every_byte(void **state)
{
    static const char whole[] =
        BASE "listen: \"127.0.0.1:1\"\ncache: { memory: 1MiB, ttl: 1h }\n"
             "agents: [{ name: x, key: \"sha256:"
             "00000000000000000000000000000000000000000000000000000000000000bb\" }]\n"
             "routes:\n  - name: \"r\"\n    when: { role: red, prompt_tokens: '>1', agent: x }\n"
             "    to: { backend: [a, b] }\n  - { name: default }\naliases: { x: a }\n";
    (void)state;
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        char *cut = malloc(len > 0 ? len : 1); /* exactly as long, so that reading on is seen */
        assert_non_null(cut);
        memcpy(cut, whole, len);
        hw_snapshot_unref(load_len(cut, len));
        free(cut);
    }
    assert_null(load_len(whole, sizeof(whole))); /* the NUL at the end is no YAML */
    struct hw_snapshot *s = load_len(whole, sizeof(whole) - 1);
    assert_non_null(s);
    hw_snapshot_unref(s);
}

/* BASE, then begin, count entries (%zu: their number), and end. */
static struct hw_snapshot *
load_many(const char *begin, const char *entry, size_t count, const char *end)
{
    size_t room = strlen(BASE) + strlen(begin) + strlen(end) + count * (strlen(entry) + 90) + 1;
    char *yaml = malloc(room);
    assert_non_null(yaml);
    size_t used = (size_t)snprintf(yaml, room, "%s%s", BASE, begin);
    for (size_t i = 0; i < count; i++) {
        const char *mark = strchr(entry, '@'), *hash = strchr(entry, '#');
        used +=
            (size_t)snprintf(yaml + used, room - used, "%.*s%zu", (int)(mark - entry), entry, i);
        if (hash != NULL)
            used += (size_t)snprintf(yaml + used, room - used, "%.*s%064zx%s",
                                     (int)(hash - mark - 1), mark + 1, i, hash + 1);
        else
            used += (size_t)snprintf(yaml + used, room - used, "%s", mark + 1);
    }
    snprintf(yaml + used, room - used, "%s", end);
    struct hw_snapshot *snapshot = load(yaml);
    free(yaml);
    return snapshot;
}

static void
counts(void **state)
{
    static const struct {
        const char *begin, *entry, *end;
        size_t most;
        const char *message;
    } cases[] = {
        {"agents:\n", "- { name: n@, key: \"sha256:#\" }\n", "", 4096,
         "t.yaml:6:1: error: agents: at most 4096 entries, got 4097\n"},
        {"routes:\n", "- { name: n@ }\n", "", 1024,
         "t.yaml:6:1: error: routes: at most 1024 entries, got 1025\n"},
        {"aliases:\n", " n@: a\n", "", 256,
         "t.yaml:6:2: error: aliases: at most 256 aliases, got 257\n"},
        {"egress:\n", "- h@\n", "", 256,
         "t.yaml:6:1: error: egress: at most 256 entries, got 257\n"},
        {"routes: [{ name: r, when: { model: [", "m@,", "] } }]\n", 256,
         "t.yaml:5:36: error: routes[0].when.model: at most 256 entries, got 257\n"},
        {"routes: [{ name: r, when: { keyword: [", "k@,", "] } }]\n", 256,
         "t.yaml:5:38: error: routes[0].when.keyword: at most 256 entries, got 257\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hw_snapshot *s =
            load_many(cases[i].begin, cases[i].entry, cases[i].most, cases[i].end);
        if (s == NULL)
            fail_msg("%s %s", cases[i].begin, messages);
        hw_snapshot_unref(s);
        assert_null(load_many(cases[i].begin, cases[i].entry, cases[i].most + 1, cases[i].end));
        assert_string_equal(messages, cases[i].message);
    }
    assert_null(load_many("", "k@: 1\n", 2000, ""));
    assert_non_null(strstr(messages, "more than 1024 keys in one mapping"));
    assert_null(load_many("", "k@: 1\n", 130, ""));
    assert_non_null(strstr(messages, "\nt.yaml: warning: 30 more errors are not shown\n"));
    assert_null(load_many("", "#@\n", 200000, ""));
    assert_string_equal(messages, "t.yaml: error: the file has more than 1048576 bytes\n");
}

static void
roles_and_backends(void **state)
{
    char yaml[70000];
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        size_t used = (size_t)snprintf(yaml, sizeof(yaml), "roles:\n");
        for (size_t i = 0; i < HW_MAX_ROLES + extra; i++)
            used += (size_t)snprintf(yaml + used, sizeof(yaml) - used, " r%zu:\n", i);
        used += (size_t)snprintf(yaml + used, sizeof(yaml) - used, "backends:\n");
        for (size_t i = 0; i < 256 + extra; i++)
            used += (size_t)snprintf(yaml + used, sizeof(yaml) - used,
                                     "- { name: b%zu, kind: bdh, url: \"http://127.0.0.1:1\","
                                     " roles: r63, general: true }\n",
                                     i);
        used += (size_t)snprintf(yaml + used, sizeof(yaml) - used,
                                 "routes: [{ name: r, to: { backend: [b0, b63, b64, b255] } }]\n");
        struct hw_snapshot *s = load(yaml);
        if (extra == 0) {
            assert_non_null(s);
            assert_true(s->backends[255].role_mask == UINT64_C(1) << 63);
            assert_true(s->routes[0].to.backend_mask[0] == (UINT64_C(1) << 63 | 1));
            assert_true(s->routes[0].to.backend_mask[1] == 1);
            assert_true(s->routes[0].to.backend_mask[3] == UINT64_C(1) << 63);
        } else {
            assert_null(s);
            assert_non_null(strstr(messages, "roles: at most 64 roles, got 65\n"));
            assert_non_null(strstr(messages, "backends: at most 256 entries, got 257\n"));
        }
        hw_snapshot_unref(s);
    }
}

static int
make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int
drop_folder(void **state)
{
    static const char *const below[] = {"/models", "/config", ""};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s%s", folder, below[i]);
        if (rmdir(path) != 0)
            return -1;
    }
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fleet),
        cmocka_unit_test(the_default),
        cmocka_unit_test(files_that_cannot_be_read),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(counts),
        cmocka_unit_test(roles_and_backends),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}

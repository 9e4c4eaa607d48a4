/* What a right file becomes. */
#include "help.h"

static void
defaults(void **state)
{
    struct hw_snapshot *s = load(BASE);
    (void)state;
    assert_non_null(s);
    assert_string_equal(messages, "");
    assert_string_equal(s->file, "/etc/hw/t.yaml");
    assert_string_equal(s->listen_host, "127.0.0.1");
    assert_int_equal(s->listen_port, 8080);
    assert_true(s->listen_loopback);
    assert_int_equal(s->loops, 0);
    assert_int_equal(s->drain, 30000);
    assert_string_equal(s->access_log, "stdout");
    assert_int_equal(s->cache.memory, 64 << 20);
    assert_int_equal(s->cache.ttl, 3600000);
    assert_int_equal(s->cache.max_entry, 256 << 10);
    assert_int_equal(s->cache.redis_timeout, 20);
    assert_null(s->cache.redis_host);
    assert_int_equal(s->limits.body, 8 << 20);
    assert_int_equal(s->limits.header_bytes, 32 << 10);
    assert_int_equal(s->limits.headers, 100);
    assert_int_equal(s->limits.connections, 10000);
    assert_int_equal(s->limits.json_depth, 64);
    assert_int_equal(s->limits.json_nodes, 200000);
    assert_int_equal(s->limits.retry_percent, 20);
    assert_int_equal(s->limits.queued, 1024);
    assert_int_equal(s->breaker.slow_start, 30000);
    assert_int_equal(s->breaker.late, 10);
    assert_int_equal(s->timeouts.connect, 2000);
    assert_int_equal(s->timeouts.first_byte, 60000);
    assert_int_equal(s->timeouts.idle, 30000);
    assert_int_equal(s->timeouts.total, 600000);
    assert_int_equal(s->route_count, 1);
    assert_string_equal(s->routes[0].name, "default");
    assert_true(s->routes[0].to.present);
    assert_false(s->routes[0].when.present);
    assert_int_equal(s->agent_count, 0);
    assert_false(s->egress_any);
    hw_snapshot_unref(s);
}

static void
settings(void **state)
{
    struct hw_snapshot *s =
        load(BASE "listen: \"[::1]:9\"\nloops: 3\ndrain: 1m\naccess_log: logs/a.jsonl\n"
                  "worker_dir: /run/hw\n"
                  "admin_key: \"sha256:"
                  "0100000000000000000000000000000000000000000000000000000000000002\"\n"
                  "egress: [gpu1.lan, 8.8.8.8]\n"
                  "cache: { memory: 0, redis: redis://10.1.1.1:7/2, redis_timeout: 5ms, ttl: 2h,"
                  " max_entry: 1MiB, keep: all }\n"
                  "timeouts: { total: 1h }\n");
    (void)state;
    assert_non_null(s);
    assert_string_equal(s->listen_host, "::1");
    assert_int_equal(s->listen_port, 9);
    assert_true(s->listen_loopback);
    assert_int_equal(s->loops, 3);
    assert_string_equal(s->access_log, "/etc/hw/logs/a.jsonl");
    assert_string_equal(s->worker_dir, "/run/hw");
    assert_true(s->has_admin_key);
    assert_int_equal(s->admin_key_sha256[0], 1);
    assert_int_equal(s->admin_key_sha256[31], 2);
    assert_int_equal(s->egress.count, 2);
    assert_int_equal(s->cache.memory, 0);
    assert_string_equal(s->cache.redis_host, "10.1.1.1");
    assert_int_equal(s->cache.redis_port, 7);
    assert_int_equal(s->cache.redis_db, 2);
    assert_int_equal(s->cache.keep, HW_KEEP_ALL);
    assert_int_equal(s->routes[0].cache, HW_KEEP_ALL);
    assert_int_equal(s->timeouts.total, 3600000);
    assert_int_equal(s->backends[0].timeouts.total, 3600000);
    assert_int_equal(s->backends[0].timeouts.connect, 2000);
    hw_snapshot_unref(s);
}

static void
decisions(void **state)
{
    struct hw_snapshot *s = load(BASE);
    (void)state;
    assert_null(s->decisions.file);
    hw_snapshot_unref(s);
    s = load(BASE "decisions: { file: d.jsonl, text: features, agents: labelled, keep: 0,\n"
                  "             headers: [X-Hour, x-team], max_size: 1MiB }\n"
                  "routes:\n"
                  "  - { name: r1, when: { header: { x-team: [a] } } }\n"
                  "  - { name: r2, when: { any: [{ not: { header: { x-deep: a, X-Team: b } } },\n"
                  "                              { lane: realtime }] } }\n"
                  "  - { name: r3 }\n");
    assert_string_equal(messages, "");
    assert_string_equal(s->decisions.file, "/etc/hw/d.jsonl");
    assert_int_equal(s->decisions.text, HW_DECISION_TEXT_FEATURES);
    assert_int_equal(s->decisions.agents, HW_DECISION_AGENTS_LABELLED);
    assert_int_equal(s->decisions.max_size, 1048576);
    assert_int_equal(s->decisions.keep, 0);
    assert_int_equal(s->decisions.headers.count, 3); /* each once, also what stands deep */
    assert_string_equal(s->decisions.headers.items[0], "x-hour");
    assert_string_equal(s->decisions.headers.items[2], "x-deep");
    hw_snapshot_unref(s);
}

static void
backends_and_routes(void **state)
{
    struct hw_snapshot *s = load(
        BASE "routes:\n"
             "  - name: r1\n"
             "    when: { role: [red, blue], lane: background, keyword: x, dialect: [openai],\n"
             "            model: [auto], prompt_tokens: \">8192\" }\n"
             "    to: { role: same, kind: bdh, device: [cpu, mps], by: priority }\n"
             "    fallback: { backend: a, model: m1 }\n"
             "    lane: realtime\n"
             "    cache: none\n"
             "  - { name: r2, to: { role: red } }\n"
             "aliases: { gpt-4: m1, x: gpt-4, y: auto, z: red, u: \"m1:latest\", v: bdh }\n");
    (void)state;
    assert_non_null(s);
    assert_string_equal(messages, "");
    const struct hw_conf_backend *b = &s->backends[1];
    assert_int_equal(b->kind, HW_KIND_BDH);
    assert_int_equal(b->device, HW_DEVICE_MPS);
    assert_string_equal(b->host, "10.0.0.2");
    assert_int_equal(b->port, 8010);
    assert_string_equal(b->roles.items[0], "red");
    assert_int_equal(b->role_mask, 1);
    assert_true(s->backends[0].general);
    assert_string_equal(s->backends[0].models.items[0], "m1");
    const struct hw_conf_route *r = &s->routes[0];
    assert_true(r->when.present);
    assert_int_equal(r->when.role_mask, 3);
    assert_int_equal(r->when.lane_mask, 1 << HW_LANE_BACKGROUND);
    assert_string_equal(r->when.keyword.items[0], "x");
    assert_int_equal(r->when.prompt_tokens.min, 8193);
    assert_true(r->to.role_same && r->to.has_kind);
    assert_int_equal(r->to.device_mask, 1 << HW_DEVICE_CPU | 1 << HW_DEVICE_MPS);
    assert_int_equal(r->to.by, HW_BY_PRIORITY);
    assert_true(r->fallback.present);
    assert_int_equal(r->fallback.backend_mask[0], 1);
    assert_string_equal(r->fallback.model, "m1");
    assert_true(r->has_lane);
    assert_int_equal(r->lane, HW_LANE_REALTIME);
    assert_int_equal(r->cache, HW_KEEP_NONE);
    assert_int_equal(r->line, BASE_LINES + 1);
    assert_int_equal(s->routes[1].to.role_mask, 1);
    assert_null(s->routes[1].to.backend_mask);
    assert_int_equal(s->alias_count, 6);
    hw_snapshot_unref(s);
}

static void
lookups_and_references(void **state)
{
    struct hw_snapshot *s =
        load(BASE "agents:\n"
                  "  - { name: one, key: \"sha256:"
                  "aa00000000000000000000000000000000000000000000000000000000000000\" }\n"
                  "  - { name: two, lane: background, label: true, key: \"sha256:"
                  "00000000000000000000000000000000000000000000000000000000000000bb\" }\n"
                  "listen: 0.0.0.0:80\n");
    uint8_t key[32] = {[31] = 0xbb};
    (void)state;
    assert_non_null(s);
    assert_false(s->listen_loopback);
    assert_int_equal(hw_snapshot_role(s, "blue!", 4), 1);
    assert_int_equal(hw_snapshot_role(s, "blue!", 5), -1);
    assert_int_equal(hw_snapshot_backend(s, "b", 1), 1);
    assert_int_equal(hw_snapshot_backend(s, "", 0), -1);
    assert_int_equal(hw_snapshot_agent(s, key), 1);
    assert_int_equal(s->agents[0].lane, HW_LANE_INTERACTIVE);
    assert_int_equal(s->agents[1].lane, HW_LANE_BACKGROUND);
    assert_true(s->agents[1].label);
    key[0] = 0xaa;
    assert_int_equal(hw_snapshot_agent(s, key), -1);
    key[31] = 0;
    assert_int_equal(hw_snapshot_agent(s, key), 0);
    assert_ptr_equal(hw_snapshot_ref(s), s);
    hw_snapshot_unref(s);
    assert_string_equal(s->agents[0].name, "one");
    hw_snapshot_unref(s);
    hw_snapshot_unref(NULL);
}

static void
environment(void **state)
{
    (void)state;
    setenv("HW_T_KEY", "s3cret", 1);
    setenv("HW_T_HOST", "127.0.0.1", 1);
    unsetenv("HW_T_NONE");
    struct hw_snapshot *s =
        load("backends: [{ name: a, kind: openai, general: true, api_key: \"${HW_T_KEY}\",\n"
             "  url: \"http://${HW_T_HOST}:80/up/v1/\", models: [\"$${x}$\"] }]\n"
             "cache: { redis: \"redis://:${HW_T_KEY}@${HW_T_HOST}\" }\n");
    assert_non_null(s);
    assert_string_equal(messages, "");
    assert_string_equal(s->backends[0].api_key, "s3cret");
    assert_string_equal(s->backends[0].url, "http://127.0.0.1:80/up/v1/");
    assert_string_equal(s->backends[0].path, "/up");
    assert_string_equal(s->backends[0].models.items[0], "${x}$");
    assert_string_equal(s->cache.redis_password, "s3cret");
    hw_snapshot_unref(s);
    assert_null(load(BASE "drain: ${HW_T_NONE}\nloops: ${HW_T_KEY}\naccess_log: \"${}\"\n"
                          "worker_dir: \"${HW_T_KEY\"\n"));
    assert_string_equal(
        messages,
        "t.yaml:5:8: error: ${HW_T_NONE} is not set in the environment: export it before starting\n"
        "t.yaml:6:8: error: loops: expected a whole number such as 4, got '${HW_T_KEY}'\n"
        "t.yaml:7:13: error: expected ${NAME} with letters, digits and _ (write $${ for a plain "
        "${)\n"
        "t.yaml:8:13: error: expected ${NAME} with letters, digits and _ (write $${ for a plain "
        "${)\n");
}

/* What has been called wrong once is not called missing, empty or twice there as well. */
static void
given_up_values(void **state)
{
    (void)state;
    unsetenv("HW_T_NONE");
    assert_null(load("backends:\n- { name: a, kind: bdh, model: \"${HW_T_NONE}\" }\n"
                     "- { name: b, kind: ollama, url: \"${HW_T_NONE}\" }\n"
                     "- *x\nagents:\n- { name: a, key: *x }\n- { name: b, key: *x }\n"
                     "access_log: *x\nworker_dir: *x\nlisten: *x\nroles: *x\nroutes: [*x]\n"));
    size_t lines = 0;
    for (const char *at = messages; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(lines, 10);
}

static void
digests(void **state)
{
    struct hw_snapshot *one = load(BASE);
    struct hw_snapshot *same = load(BASE "loops: 2\n");
    struct hw_snapshot *other = load(
        "backends:\n"
        "  - { name: a, kind: ollama, url: \"http://127.0.0.1:11434\", models: [m2], general: true "
        "}\n"
        "routes: [{ name: default, to: { by: priority } }]\n");
    (void)state;
    assert_true(one->backends[0].digest == same->backends[0].digest);
    assert_true(one->routes[0].digest == same->routes[0].digest);
    assert_true(one->backends[0].digest != other->backends[0].digest);
    assert_true(one->backends[0].digest != one->backends[1].digest);
    assert_true(one->routes[0].digest != other->routes[0].digest);
    hw_snapshot_unref(one);
    hw_snapshot_unref(same);
    hw_snapshot_unref(other);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(settings),
        cmocka_unit_test(decisions),
        cmocka_unit_test(backends_and_routes),
        cmocka_unit_test(lookups_and_references),
        cmocka_unit_test(environment),
        cmocka_unit_test(given_up_values),
        cmocka_unit_test(digests),
    };
    unsetenv("XDG_RUNTIME_DIR");
    return cmocka_run_group_tests(tests, NULL, NULL);
}

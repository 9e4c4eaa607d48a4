/* Each mistake with the place and the words it is reported with. */
#include "help.h"

struct mistake {
    const char *yaml;
    const char *line; /* must be among the messages, whole */
};

#define OLLAMA(rest)                                                                               \
    "backends:\n  - { name: a, kind: ollama, general: true, models: [m], " rest " }\n"
#define LOCAL "url: \"http://127.0.0.1\""

static void
check(const struct mistake *mistakes, size_t count)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        struct hw_snapshot *snapshot = load(mistakes[i].yaml);
        const char *line = mistakes[i].line;
        const char *at = strstr(messages, line);
        bool whole = at != NULL && (at == messages || at[-1] == '\n') && at[strlen(line)] == '\n';
        if (!whole || (snapshot == NULL) != (strstr(line, ": error: ") != NULL)) {
            print_error("wanted: %s\ngot: %s\n", line, messages);
            wrong++;
        }
        hw_snapshot_unref(snapshot);
    }
    assert_int_equal(wrong, 0);
}
#define CHECK(mistakes) check(mistakes, sizeof(mistakes) / sizeof((mistakes)[0]))

static void
keys_and_types(void **state)
{
    static const struct mistake mistakes[] = {
        {"bakends: []\n", "t.yaml:1:1: error: unknown key 'bakends'; did you mean 'backends'?"},
        {BASE "cache: { size: 1 }\n",
         "t.yaml:5:10: error: cache: unknown key 'size'; the keys here are memory, redis, "
         "redis_timeout, ttl, max_entry, keep, join"},
        {BASE "loops: 1\nloops: 2\n",
         "t.yaml:6:1: error: duplicate key 'loops'; the first is on line 5"},
        {BASE "loops: [1]\n", "t.yaml:5:8: error: loops: expected a number such as 4, got a list"},
        {BASE "loops: -1\n",
         "t.yaml:5:8: error: loops: expected a whole number such as 4, got '-1'"},
        {BASE "loops: 257\n", "t.yaml:5:8: error: loops: must be between 0 and 256, got '257'"},
        {BASE "drain: 30\n",
         "t.yaml:5:8: error: drain: expected a duration such as 250ms, 30s, 10m or 1h, got '30'"},
        {BASE "drain:\n",
         "t.yaml:5:7: error: drain: expected a duration such as 250ms, 30s, 10m or 1h, got "
         "nothing"},
        {BASE "timeouts: { connect: 0 }\n",
         "t.yaml:5:22: error: timeouts.connect: must be between 1ms and 3600s, got '0'"},
        {BASE "limits: { body: big }\n",
         "t.yaml:5:17: error: limits.body: expected a size such as 64KiB or 256MiB, got 'big'"},
        {BASE "limits: { body: 1 }\n",
         "t.yaml:5:17: error: limits.body: must be between 1024 and 1073741824 bytes, got '1'"},
        {BASE "cache: true\n",
         "t.yaml:5:8: error: cache: expected a mapping such as { key: value }, got a plain value"},
        {BASE "cache: { keep: al }\n",
         "t.yaml:5:16: error: cache.keep: unknown keep 'al'; did you mean 'all'? (known: "
         "deterministic, all, none)"},
        {"backends: { a: b }\n", "t.yaml:1:11: error: backends: expected a list ([...] or lines "
                                 "that begin with -), got a mapping"},
        {"- a\n", "t.yaml:1:1: error: expected a mapping such as { key: value }, got a list"},
        {"", "t.yaml:1:1: error: there are no backends, so nothing could answer: list at least one "
             "under backends:"},
    };
    (void)state;
    CHECK(mistakes);
}

static void
decisions(void **state)
{
    static const struct mistake mistakes[] = {
        {BASE "decisions: { text: some }\n",
         "t.yaml:5:20: error: decisions.text: unknown text 'some'; did you mean 'none'? (known: "
         "none, features, full)"},
        {BASE "decisions: { headers: [x-team, Authorization] }\n",
         "t.yaml:5:32: error: decisions.headers[1]: 'authorization' is a secret: it is never "
         "logged"},
        {BASE "decisions: { headers: \"x team\" }\n",
         "t.yaml:5:23: error: decisions.headers: expected a header's name such as x-team, got "
         "'x team'"},
        {BASE "decisions: { max_size: 4 }\n",
         "t.yaml:5:24: error: decisions.max_size: must be between 1048576 and 1099511627776 "
         "bytes, got '4'"},
        {BASE "routes: [{ name: r, when: { header: { X-Api-Key: a } } }, { name: d }]\n",
         "t.yaml:5:39: error: routes[0].when.header.X-Api-Key: 'x-api-key' is a secret: it "
         "cannot be a condition"},
    };
    (void)state;
    CHECK(mistakes);
}

static void
yaml_itself(void **state)
{
    static const struct mistake mistakes[] = {
        {"a: [1, 2\nb: 3\n", "t.yaml:2:2: error: this is not YAML: did not find expected ',' or "
                             "']', while parsing a flow sequence (begun on line 1)"},
        {"cache:\n\tttl: 1h\n", "t.yaml:2:1: error: a tab cannot indent YAML: use spaces"},
        {BASE "---\na: b\n", "t.yaml:5:1: error: a second document (---) begins here: a "
                             "configuration is one document"},
        {BASE "loops: &n 1\n", "t.yaml:5:8: error: anchors (&name) and aliases (*name) are not "
                               "supported: write the value out"},
        {BASE "loops: *n\n", "t.yaml:5:8: error: anchors (&name) and aliases (*name) are not "
                             "supported: write the value out"},
        {BASE "loops: !!int 1\n", "t.yaml:5:8: error: tags (!name) are not supported: write the "
                                  "value plainly, or in quotes"},
        {BASE "access_log: \"a\\0b\"\n",
         "t.yaml:5:13: error: a NUL character cannot be used in a value"},
        {BASE "access_log: \"a\\nb\"\n", "t.yaml:5:13: error: access_log: this text has a control "
                                         "character or a line break in it"},
        {"[[[[[[[[[[[[[[1]]]]]]]]]]]]]]", "t.yaml:1:13: error: nested more than 12 levels deep"},
        {"? [a]\n: b\n", "t.yaml:1:3: error: a key must be a plain word, as in `listen:`"},
        {"a: \xff\n",
         "t.yaml:1:4: error: this is not YAML: invalid leading UTF-8 octet (is the file UTF-8 "
         "text?)"},
    };
    (void)state;
    CHECK(mistakes);
}

static void
backends(void **state)
{
    static const struct mistake mistakes[] = {
        {"backends: [{ kind: bdh }]\n",
         "t.yaml:1:12: error: backends[0]: the key 'name' is missing"},
        {"backends: [{ name: a, kind: olama }]\n",
         "t.yaml:1:29: error: backends[0].kind: unknown kind 'olama'; did you mean 'ollama'? "
         "(known: bdh, ollama, openai)"},
        {"backends: [{ name: a, kind: bdh }]\n",
         "t.yaml:1:12: error: backends[0]: a bdh backend needs model: FILE (a worker on this "
         "machine) or url: http://... (a BDH node)"},
        {"backends: [{ name: a, kind: bdh, model: m.st, " LOCAL " }]\n",
         "t.yaml:1:34: error: backends[0]: a bdh backend has model (a worker on this machine) or "
         "url (a BDH node), not both"},
        {"backends: [{ name: a, kind: bdh, model: ../m.st }]\n",
         "t.yaml:1:41: error: backends[0]: no model file at /etc/hw/../m.st (No such file or "
         "directory)"},
        {"backends: [{ name: a, kind: bdh, model: / }]\n",
         "t.yaml:1:41: error: backends[0]: / is not a file"},
        {"backends: [{ name: a, kind: openai }]\n",
         "t.yaml:1:12: error: backends[0]: kind openai needs a url, as in http://127.0.0.1:11434"},
        {OLLAMA(LOCAL ", model: llama"),
         "t.yaml:2:83: error: backends[0]: 'model' is the checkpoint "
         "of a local bdh worker: write models: [\"llama\"]"},
        {OLLAMA(LOCAL ", trial: { ask: hello }"),
         "t.yaml:2:83: error: backends[0]: 'trial' is that of a local bdh model; a url has none"},
        {OLLAMA(LOCAL ", state_cache: 1MiB"), "t.yaml:2:83: error: backends[0]: 'state_cache' is "
                                              "that of a local bdh model's workers; a url has "
                                              "none"},
        {"backends: [{ name: a, kind: bdh, model: m.st, general: true, trial: { expect: hi } }]\n",
         "t.yaml:1:69: error: backends[0].trial: the key 'ask' is missing"},
        {OLLAMA(LOCAL ", workers: 2"), "t.yaml:2:83: error: backends[0]: 'workers' counts the "
                                       "processes of a local bdh model; a url has none"},
        {OLLAMA("url: \"ftp://127.0.0.1\""),
         "t.yaml:2:63: error: backends[0].url: a url begins with http:// or https://, as in "
         "http://127.0.0.1:11434"},
        {OLLAMA(LOCAL ", roles: trade") "roles: { trade-desk: }\n",
         "t.yaml:2:90: error: backends[0].roles: unknown role 'trade'; known: trade-desk"},
        {OLLAMA(LOCAL ", device: gpu"), "t.yaml:2:91: error: backends[0].device: unknown device "
                                        "'gpu'; did you mean 'cpu'? (known: cpu, mps, cuda)"},
        {OLLAMA(LOCAL ", api_key: sk-1"), "t.yaml:2:92: warning: backends[0].api_key: a secret in "
                                          "clear: put it into the environment and write api_key: "
                                          "${NAME}"},
        {OLLAMA(LOCAL ", api_key: \"a b\""),
         "t.yaml:2:92: error: backends[0].api_key: a key is at most 1000 characters of printable "
         "ASCII without blanks (a line break at its end?)"},
    };
    (void)state;
    CHECK(mistakes);
}

static void
egress(void **state)
{
    static const struct mistake mistakes[] = {
        {OLLAMA("url: \"http://8.8.8.8\""),
         "t.yaml:2:63: error: backends[0].url: 8.8.8.8 is outside this fleet and egress is local: "
         "list it (egress: [8.8.8.8]) or write egress: any"},
        {OLLAMA("url: \"https://api.openai.com\""),
         "t.yaml:2:63: error: backends[0].url: 'api.openai.com' is a name that may lead anywhere: "
         "list it (egress: [api.openai.com]) or write its private address"},
        {OLLAMA("url: \"http://100.64.0.9\""),
         "t.yaml:2:63: error: backends[0].url: 100.64.0.9 is in 100.64.0.0/10, which carriers and "
         "VPNs share and which does not count as local: list it if it is yours (egress: "
         "[100.64.0.9])"},
        {BASE "cache: { redis: \"redis://cache.example.org\" }\n",
         "t.yaml:5:17: error: cache.redis: 'cache.example.org' is a name that may lead anywhere: "
         "list it (egress: [cache.example.org]) or write its private address"},
        {BASE "egress: [any]\n",
         "t.yaml:5:10: error: egress[0]: 'any' stands alone: write egress: any"},
        {BASE "egress: http://x\n", "t.yaml:5:9: error: egress: expected a host such as gpu1.lan, "
                                    "without scheme or port, got 'http://x'"},
        {BASE "cache: { redis: \"redis://:pw@127.0.0.1\" }\n",
         "t.yaml:5:17: warning: cache.redis: a password in clear: put it into the environment and "
         "write redis://:${REDIS_PASSWORD}@..."},
    };
    struct hw_snapshot *snapshot;
    (void)state;
    CHECK(mistakes);
    snapshot = load(OLLAMA("url: \"https://API.openai.com\"") "egress: [api.openai.com, local]\n");
    assert_non_null(snapshot);
    hw_snapshot_unref(snapshot);
    snapshot = load("egress: any\n" OLLAMA("url: \"https://8.8.8.8\""));
    assert_non_null(snapshot);
    assert_true(snapshot->egress_any);
    hw_snapshot_unref(snapshot);
}

static void
names_and_agents(void **state)
{
    static const struct mistake mistakes[] = {
        {BASE "listen: 0.0.0.0:8080\n",
         "t.yaml:5:9: error: listen: 0.0.0.0 can be reached from other machines, and without "
         "agents anyone may ask: list agents with keys, or listen on 127.0.0.1:8080"},
        {BASE "listen: 8080\n", "t.yaml:5:9: error: listen: the port is missing, as in "
                                "127.0.0.1:8080; got '8080'"},
        {BASE "listen: gw.lan:80\n", "t.yaml:5:9: error: listen: 'gw.lan' is a name: write the "
                                     "address to listen on, as in 127.0.0.1:8080 or 0.0.0.0:8080"},
        {BASE "agents: [{ name: x, key: letmein }]\n",
         "t.yaml:5:26: error: agents[0].key: expected sha256:<64 hex digits>, the hash of the key; "
         "this makes one: printf %s KEY | sha256sum"},
        {BASE "agents: [{ name: x y, key: k }]\n",
         "t.yaml:5:18: error: agents[0].name: a name has 1 to 64 of A-Z a-z 0-9 . _ : / -, got "
         "'x y'"},
        {BASE "worker_dir: tmp\n", "t.yaml:5:13: error: worker_dir: expected an absolute path such "
                                   "as /run/hatchway, got 'tmp'"},
        {"roles: { auto: }\n",
         "t.yaml:1:10: error: roles.auto: the name 'auto' is taken: it means that the policy "
         "decides"},
        {"roles: { r: { keywords: ['...'] } }\n",
         "t.yaml:1:26: error: roles.r.keywords[0]: a keyword needs a letter or a digit, got '...'"},
        {"roles: { r: { examples: [''] } }\n",
         "t.yaml:1:26: error: roles.r.examples[0]: this text is empty"},
        {"backends: [{ name: a }, { name: a }]\n",
         "t.yaml:1:33: error: backends[1]: a backend named 'a' exists already, as [0]"},
        {BASE "aliases: { x: rad }\n",
         "t.yaml:5:15: error: aliases: unknown role, model or backend 'rad'; did you mean 'red'?"},
        {BASE "aliases: { x: y, y: x }\n", "t.yaml:5:15: error: aliases: alias 'x' leads through "
                                           "more than 8 aliases, perhaps in a circle"},
    };
    (void)state;
    CHECK(mistakes);
}

static void
routes(void **state)
{
    static const struct mistake mistakes[] = {
        {BASE "routes: [{ name: r, to: { backend: [c] } }]\n",
         "t.yaml:5:37: error: routes[0].to.backend[0]: unknown backend 'c'; known: a, b"},
        {BASE "routes: [{ name: r, to: { role: [red, sme] } }]\n",
         "t.yaml:5:39: error: routes[0].to.role[1]: unknown role 'sme'; known: red, blue"},
        {BASE "routes: [{ name: r, when: { prompt_tokens: many } }]\n",
         "t.yaml:5:44: error: routes[0].when.prompt_tokens: expected a range such as \">8192\", "
         "\"<=100\" or \"10..20\", got 'many'"},
        {BASE "routes: [{ name: r, when: { agent: bob } }]\n",
         "t.yaml:5:36: error: routes[0].when.agent: unknown agent 'bob'; none is configured"},
        {BASE "routes: [{ name: r, when: { dialect: opnai } }]\n",
         "t.yaml:5:38: error: routes[0].when.dialect: unknown dialect 'opnai'; did you mean "
         "'openai'? (known: openai, ollama, anthropic, bdh)"},
        {BASE "routes: [{ name: r }, { name: s }]\n",
         "t.yaml:5:23: warning: routes[1]: route 's' can never match: 'r' (line 5) comes first and "
         "has no conditions"},
        {BASE "routes: [{ name: r, to: { kind: openai } }]\n",
         "t.yaml:5:10: warning: routes[0]: route 'r' selects no backend"},
        {BASE "routes: [{ name: r, when: { role: red } }]\n",
         "t.yaml:5:9: warning: no route without conditions: a query that matches none is refused "
         "(end with { name: default, to: { by: latency } })"},
        {"backends: [{ name: a, kind: bdh, " LOCAL ", roles: [x] }]\nroles:\n  x:\n  y:\n",
         "t.yaml:4:5: warning: roles.y: no backend serves this role and none is general"},
        {"backends: [{ name: a, kind: bdh, " LOCAL " }]\n",
         "t.yaml:1:12: warning: backends[0]: nothing leads to 'a': give it roles, models, general: "
         "true, or a route that names it"},
    };
    (void)state;
    CHECK(mistakes);
}

/* All in one go, in the order of the lines. */
static void
many_at_once(void **state)
{
    (void)state;
    assert_null(load("routes: [{ name: 'a b' }]\nlops: 1\nbackends: [{ name: x }]\ndrain: 1\n"));
    assert_string_equal(
        messages,
        "t.yaml:1:18: error: routes[0].name: a name has 1 to 64 of A-Z a-z 0-9 . _ : / -, got "
        "'a b'\n"
        "t.yaml:2:1: error: unknown key 'lops'; did you mean 'loops'?\n"
        "t.yaml:3:12: error: backends[0]: the key 'kind' is missing\n"
        "t.yaml:4:8: error: drain: expected a duration such as 250ms, 30s, 10m or 1h, got '1'\n");
}

/* What misses the misspelt key, or refers to what stands in it, has nothing to add. */
static void
one_typo_is_one_error(void **state)
{
    static const struct mistake typos[] = {
        {"bakends: [{ name: a, kind: bdh, " LOCAL ", general: true }]\n",
         "t.yaml:1:1: error: unknown key 'bakends'; did you mean 'backends'?\n"},
        {"backends: [{ nam: a, kind: bdh, " LOCAL ", general: true }]\n",
         "t.yaml:1:14: error: backends[0]: unknown key 'nam'; did you mean 'name'?\n"},
        {"backends: [{ name: a, knd: bdh, " LOCAL ", roles: [x] }]\nroles: { x: }\n",
         "t.yaml:1:23: error: backends[0]: unknown key 'knd'; did you mean 'kind'?\n"},
        {"rolse: { x: }\nbackends: [{ name: a, kind: bdh, " LOCAL ", roles: [x] }]\n"
         "routes: [{ name: r, when: { role: x } }, { name: s }]\naliases: { y: x }\n",
         "t.yaml:1:1: error: unknown key 'rolse'; did you mean 'roles'?\n"},
        {BASE "alises: { x: y, y: x }\n",
         "t.yaml:5:1: error: unknown key 'alises'; did you mean 'aliases'?\n"},
        {BASE "aliases: { x: y, y: x, z: x, w: red }\n",
         "t.yaml:5:15: error: aliases: alias 'x' leads through more than 8 aliases, perhaps in a "
         "circle\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(typos) / sizeof(typos[0]); i++) {
        assert_null(load(typos[i].yaml));
        assert_string_equal(messages, typos[i].line);
    }
}

static void
choosing(void **state)
{
    static const struct mistake mistakes[] = {
        {OLLAMA(LOCAL ", cost: -1"), "t.yaml:2:89: error: backends[0].cost: expected a number such "
                                     "as 0.15, at most 1000000, got '-1'"},
        {OLLAMA(LOCAL ", cost: 1e3"),
         "t.yaml:2:89: error: backends[0].cost: expected a number such "
         "as 0.15, at most 1000000, got '1e3'"},
        {OLLAMA(LOCAL ", cost: .5"), "t.yaml:2:89: error: backends[0].cost: expected a number such "
                                     "as 0.15, at most 1000000, got '.5'"},
        {OLLAMA(LOCAL ", weight: 10001"), "t.yaml:2:91: error: backends[0].weight: must be between "
                                          "0 and 10000, got '10001'"},
        {BASE "watts: { gpu: 1 }\n", "t.yaml:5:10: error: watts: unknown key 'gpu'; did you mean "
                                     "'cpu'?"},
    };
    (void)state;
    CHECK(mistakes);
}

/* `when: ...` of the first route, on line 7; column 13 is where it begins. */
#define WHEN(when) BASE "timezone: UTC\nroutes:\n- { when: " when ", name: r }\n"

static void
conditions(void **state)
{
    static const struct mistake mistakes[] = {
        {BASE "timezone: Europe/Berln\n",
         "t.yaml:5:11: error: timezone: there is no such zone in /usr/share/zoneinfo (names as in "
         "Europe/Berlin; is tzdata installed?), got 'Europe/Berln'"},
        {WHEN("{ regex: 'a(b' }"),
         "t.yaml:7:20: error: routes[0].when.regex: this is no regular expression: missing closing "
         "parenthesis, at character 4 of 'a(b'"},
        {WHEN("{ any: [ { regex: [ok, '['] } ] }"),
         "t.yaml:7:34: error: routes[0].when.any[0].regex[1]: this is no regular expression: "
         "missing terminating ] for character class, at character 2 of '['"},
        {WHEN("{ hours: 22 }"), "t.yaml:7:20: error: routes[0].when.hours: expected hours such as "
                                "22-06 or 22:30-06:15, or awake, dream or rest, got '22'"},
        {WHEN("{ hours: 22-25 }"), "t.yaml:7:20: error: routes[0].when.hours: expected hours such "
                                   "as 22-06 or 22:30-06:15, or awake, dream or rest, got '22-25'"},
        {WHEN("{ days: weekend }"), "t.yaml:7:19: error: routes[0].when.days: unknown days "
                                    "'weekend'; known: sun, mon, tue, wed, thu, fri, sat"},
        {WHEN("{ not: {} }"), "t.yaml:7:18: error: routes[0].when.not: this condition is empty: it "
                              "would hold for every query"},
        {WHEN("{ any: [ { rol: red } ] }"),
         "t.yaml:7:22: error: routes[0].when.any[0]: unknown key 'rol'; did you mean 'role'?"},
        {WHEN("{ not: { any: { all: { not: { not: { role: red } } } } } }"),
         "t.yaml:7:46: error: routes[0].when.not.any.all.not.not: any, all and not nest at most 4 "
         "deep"},
        {WHEN("{ header: { authorization: x } }"),
         "t.yaml:7:23: error: routes[0].when.header.authorization: 'authorization' is a secret: it "
         "cannot be a condition"},
        {WHEN("{ header: { x-a: [] } }"), "t.yaml:7:23: error: routes[0].when.header.x-a: list the "
                                          "values, or write \"*\" for any"},
        {WHEN("{ header: { \"a b\": x } }"), "t.yaml:7:23: error: routes[0].when.header.a b: "
                                             "expected a header's name such as x-team, got 'a b'"},
        {WHEN("{ tools: maybe }"),
         "t.yaml:7:20: error: routes[0].when.tools: expected true or false, got 'maybe'"},
    };
    (void)state;
    CHECK(mistakes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_types),
        cmocka_unit_test(decisions),
        cmocka_unit_test(yaml_itself),
        cmocka_unit_test(backends),
        cmocka_unit_test(egress),
        cmocka_unit_test(names_and_agents),
        cmocka_unit_test(routes),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(one_typo_is_one_error),
        cmocka_unit_test(conditions),
        cmocka_unit_test(choosing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

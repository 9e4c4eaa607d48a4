/* Snapshots built by hand, so that the tests of decisions need no YAML. Nothing is freed: what is
 * built lives in one static arena per test program. */
#ifndef HW_TESTS_SNAPSHOT_BUILDER_H
#define HW_TESTS_SNAPSHOT_BUILDER_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "config/snapshot.h"
#include "policies/classify.h"
#include "policies/rank.h"

#define MAX_BUILT 64

struct built {
    struct hw_snapshot snapshot;
    struct hw_conf_role roles[HW_MAX_ROLES];
    struct hw_conf_backend backends[MAX_BUILT];
    struct hw_conf_route routes[8];
    struct hw_conf_alias aliases[16];
    char *words[1024];
    size_t word_count;
    char text[32768];
    size_t text_len;
};

static inline void
built_init(struct built *built)
{
    memset(built, 0, sizeof(*built));
    built->snapshot.roles = built->roles;
    built->snapshot.backends = built->backends;
    built->snapshot.routes = built->routes;
    built->snapshot.aliases = built->aliases;
}

static inline char *
built_text(struct built *built, const char *text, size_t len)
{
    char *copy = built->text + built->text_len;

    assert_true(built->text_len + len + 1 <= sizeof(built->text));
    memcpy(copy, text, len);
    copy[len] = '\0';
    built->text_len += len + 1;
    return copy;
}

/* "a, b c" -> {"a", "b c"}; NULL or "" -> an empty list. */
static inline struct hw_conf_list
built_list(struct built *built, const char *words)
{
    struct hw_conf_list list = {.items = built->words + built->word_count};

    while (words != NULL && *words != '\0') {
        size_t len = strcspn(words, ",");
        assert_true(built->word_count < 1024);
        built->words[built->word_count++] = built_text(built, words, len);
        list.count++;
        words += len;
        words += strspn(words, ", ");
    }
    return list;
}

static inline struct hw_conf_role *
built_role(struct built *built, const char *name, const char *keywords)
{
    struct hw_conf_role *role = &built->roles[built->snapshot.role_count++];

    role->name = built_text(built, name, strlen(name));
    role->keywords = built_list(built, keywords);
    return role;
}

static inline uint64_t
built_role_mask(const struct built *built, const struct hw_conf_list *names)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < names->count; i++) {
        for (size_t r = 0; r < built->snapshot.role_count; r++) {
            if (strcmp(built->roles[r].name, names->items[i]) == 0)
                mask |= UINT64_C(1) << r;
        }
    }
    return mask;
}

static inline struct hw_conf_backend *
built_backend(struct built *built, const char *name, enum hw_kind kind, enum hw_device device,
              const char *models, const char *roles)
{
    struct hw_conf_backend *backend = &built->backends[built->snapshot.backend_count++];

    backend->name = built_text(built, name, strlen(name));
    backend->kind = kind;
    backend->device = device;
    backend->models = built_list(built, models);
    backend->roles = built_list(built, roles);
    backend->role_mask = built_role_mask(built, &backend->roles);
    backend->workers = 1;
    backend->weight = 1;
    backend->general = roles == NULL;
    return backend;
}

static inline struct hw_conf_route *
built_route(struct built *built, const char *name)
{
    struct hw_conf_route *route = &built->routes[built->snapshot.route_count++];

    route->name = built_text(built, name, strlen(name));
    route->to.present = true;
    return route;
}

static inline void
built_alias(struct built *built, const char *name, const char *target)
{
    struct hw_conf_alias *alias = &built->aliases[built->snapshot.alias_count++];

    alias->name = built_text(built, name, strlen(name));
    alias->target = built_text(built, target, strlen(target));
}

static inline struct hw_traits
traits_of(const char *text)
{
    size_t len = strlen(text);

    return (struct hw_traits){.dialect = "openai",
                              .text = text,
                              .text_len = len,
                              .prompt_bytes = len,
                              .prompt_tokens = hw_estimate_tokens(len),
                              .asked_role = -1,
                              .role = -1};
}

#endif

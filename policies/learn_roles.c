/* policies/learn_roles.c - from the roles of a policy to examples.
 *
 * Beside its examples a role teaches its name, its description and each of its keywords, as hints.
 * An example that has a keyword is a hint as well: texts like it are answered by the keyword, and
 * to try the classifier on them would promise more than it can do for those that are left. */
#include "policies/learn_roles.h"

#include <string.h>

#define FEW_EXAMPLES 1000 /* below it, a quarter of the buckets serves as well, and sooner */
#define FEW_BITS 14

struct teaching {
    struct hw_examples *examples;
    hw_learn_told *told;
    const void *ctx;
};

static int
add_role(const struct teaching *teaching, const struct hw_conf_role *role, struct hw_err *err)
{
    struct hw_examples *examples = teaching->examples;
    int label = hw_examples_class(examples, role->name, strlen(role->name), err);
    int rc = label < 0 ? label : 0;

    for (size_t i = 0; i < role->examples.count && rc == 0; i++) {
        const char *text = role->examples.items[i];
        size_t len = strlen(text);
        rc = teaching->told(teaching->ctx, text, len)
                 ? hw_examples_hint(examples, label, text, len, err)
                 : hw_examples_add(examples, label, text, len, err);
    }
    for (size_t i = 0; i < role->keywords.count && rc == 0; i++) {
        const char *text = role->keywords.items[i];
        rc = hw_examples_hint(examples, label, text, strlen(text), err);
    }
    if (rc == 0 && role->description != NULL)
        rc = hw_examples_hint(examples, label, role->description, strlen(role->description), err);
    if (rc != 0)
        hw_err_prefix(err, "roles.%s", role->name);
    return rc;
}

static bool
is_taught(const struct hw_conf_role *role)
{
    return role->examples.count >= HW_LEARN_ROLE_EXAMPLES;
}

static int
add_roles(const struct hw_snapshot *snapshot, struct teaching *teaching, int *roles,
          struct hw_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < snapshot->role_count && rc == 0; i++) {
        if (!is_taught(&snapshot->roles[i]))
            continue;
        roles[hw_examples_classes(teaching->examples)] = (int)i;
        rc = add_role(teaching, &snapshot->roles[i], err);
    }
    return rc == 0 ? hw_examples_hint_names(teaching->examples, err) : rc;
}

int
hw_learn_role_examples(const struct hw_snapshot *snapshot, hw_learn_told *told, const void *ctx,
                       struct hw_examples **out, int *roles, struct hw_err *err)
{
    struct hw_learn_conf conf;
    size_t count = 0;

    for (size_t i = 0; i < snapshot->role_count; i++)
        count += snapshot->roles[i].examples.count;
    hw_learn_conf_init(&conf);
    struct teaching teaching = {hw_examples_create(count < FEW_EXAMPLES ? FEW_BITS : conf.bits),
                                told, ctx};
    int rc = add_roles(snapshot, &teaching, roles, err);
    if (rc == 0)
        *out = teaching.examples;
    else
        hw_examples_destroy(&teaching.examples);
    return rc;
}

int
hw_learn_roles(const struct hw_snapshot *snapshot, hw_learn_told *told, const void *ctx,
               struct hw_learned **out, int *roles, struct hw_err *err)
{
    struct hw_examples *examples = NULL;
    struct hw_learn_conf conf;
    size_t taught = 0;

    *out = NULL;
    for (size_t i = 0; i < snapshot->role_count; i++)
        taught += is_taught(&snapshot->roles[i]);
    if (!snapshot->classifier.learned || taught < 2)
        return 0;
    int rc = hw_learn_role_examples(snapshot, told, ctx, &examples, roles, err);
    hw_learn_conf_init(&conf);
    conf.abstain = (float)snapshot->classifier.abstain;
    if (rc == 0)
        rc = hw_learn(examples, &conf, out, err);
    hw_examples_destroy(&examples);
    return rc;
}

int
hw_learn_difficulty(const struct hw_snapshot *snapshot, struct hw_difficulty **out,
                    struct hw_err *err)
{
    const struct hw_conf_difficulty *conf = &snapshot->difficulty;
    int rc = 0;

    *out = NULL;
    if (conf->outcome_count == 0)
        return 0;
    struct hw_outcomes *outcomes = hw_outcomes_create();
    for (size_t i = 0; i < conf->outcome_count && rc == 0; i++) {
        const struct hw_conf_outcome *row = &conf->outcomes[i];
        rc = hw_outcomes_add(outcomes, row->text, strlen(row->text), row->weak, row->strong, err);
    }
    if (rc == 0)
        rc = hw_difficulty_learn(outcomes, out, NULL, err);
    if (rc != 0)
        hw_err_prefix(err, "difficulty");
    hw_outcomes_destroy(&outcomes);
    return rc;
}

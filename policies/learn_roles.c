/* policies/learn_roles.c - from the roles of a policy to examples.
 *
 * Beside its examples a role teaches its name and description, as hints. */
#include "policies/learn_roles.h"

#include <string.h>

#define BITS 16

static int
add_role(struct hw_examples *examples, const struct hw_conf_role *role, struct hw_err *err)
{
    int label = hw_examples_class(examples, role->name, strlen(role->name), err);
    int rc = label < 0 ? label : 0;

    for (size_t i = 0; i < role->examples.count && rc == 0; i++) {
        const char *text = role->examples.items[i];
        rc = hw_examples_add(examples, label, text, strlen(text), err);
    }
    if (rc == 0 && role->description != NULL)
        rc = hw_examples_hint(examples, label, role->description, strlen(role->description), err);
    if (rc != 0)
        hw_err_prefix(err, "roles.%s", role->name);
    return rc;
}

int
hw_learn_roles(const struct hw_snapshot *snapshot, struct hw_learned **out, int *roles,
               struct hw_err *err)
{
    struct hw_learn_conf conf;
    int rc = 0;

    *out = NULL;
    if (!snapshot->classifier.learned)
        return 0;
    hw_learn_conf_init(&conf);
    conf.bits = BITS;
    conf.abstain = (float)snapshot->classifier.abstain;
    struct hw_examples *examples = hw_examples_create(conf.bits);
    for (size_t i = 0; i < snapshot->role_count && rc == 0; i++) {
        if (snapshot->roles[i].examples.count < HW_LEARN_ROLE_EXAMPLES)
            continue;
        roles[hw_examples_classes(examples)] = (int)i;
        rc = add_role(examples, &snapshot->roles[i], err);
    }
    if (rc == 0 && hw_examples_classes(examples) >= 2) {
        rc = hw_examples_hint_names(examples, err);
        if (rc == 0)
            rc = hw_learn(examples, &conf, out, err);
    }
    hw_examples_destroy(&examples);
    return rc;
}

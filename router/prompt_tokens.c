/* router/prompt_tokens.c - see prompt_tokens.h. */
#include "router/prompt_tokens.h"

struct telling {
    const struct hw_plan *plan;
    size_t i;
    cJSON *json; /* the backend's; NULL: it is the gauges' turn */
    cJSON *list; /* in it, made for the first ratio */
};

static void
tell(struct telling *telling, const char *model)
{
    const struct hw_plan *plan = telling->plan;
    uint32_t per_1000 = hw_tokens_per_1000(hw_backends_tokens(plan->registry), model);
    const char *labels[2] = {plan->backends[telling->i]->name, model};

    if (per_1000 == 0)
        return;
    if (telling->json == NULL) {
        hw_metric_set(hw_metric_child(plan->meters->token_ratio, labels), per_1000);
        return;
    }
    if (telling->list == NULL)
        telling->list = cJSON_AddObjectToObject(telling->json, "prompt_tokens_ratio");
    cJSON_AddNumberToObject(telling->list, model, per_1000 / 1000.0);
}

/* The models that it is asked for: those it lists, else those it was found to have, else whatever
 * it runs, which goes by its own name. */
static void
tell_all(struct telling *telling)
{
    const struct hw_conf_backend *conf = &telling->plan->snapshot->backends[telling->i];
    struct hw_found *found = hw_backend_found(telling->plan->backends[telling->i]);

    for (size_t j = 0; j < conf->models.count; j++)
        tell(telling, conf->models.items[j]);
    for (size_t j = 0; conf->models.count == 0 && found != NULL && j < found->count; j++)
        tell(telling, found->models[j].name);
    if (conf->models.count == 0)
        tell(telling, conf->name);
    hw_found_unref(found);
}

void
hw_prompt_tokens_json(const struct hw_plan *plan, size_t i, cJSON *json)
{
    struct telling telling = {.plan = plan, .i = i, .json = json};
    tell_all(&telling);
}

void
hw_prompt_tokens_refresh(const struct hw_plan *plan, size_t i)
{
    struct telling telling = {.plan = plan, .i = i};
    tell_all(&telling);
}

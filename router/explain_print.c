/* router/explain_print.c - a decision in words, line by line. */
#include "policies/route.h"
#include "router/explain.h"

#define SCORES_SHOWN 4

static const char *
role_name(const struct hw_decision *decision)
{
    int role = decision->traits.role;
    return role >= 0 ? decision->snapshot->roles[role].name : "none";
}

static void
print_scores(const struct hw_decision *decision, const char *indent, FILE *out)
{
    bool any = false;

    for (size_t i = 0; i < decision->snapshot->role_count && i < SCORES_SHOWN; i++) {
        const struct hw_role_score *score = &decision->scores[i];
        const char *name = decision->snapshot->roles[score->role].name;
        if (score->keywords <= 0 && !score->learned)
            continue;
        if (any)
            fprintf(out, "; %s", name);
        else
            fprintf(out, "%sscores   %s", indent, name);
        if (score->keywords > 0)
            fprintf(out, " %.1f by keywords", (double)score->keywords);
        if (score->learned)
            fprintf(out, " %.2f learned", (double)score->score);
        any = true;
    }
    if (any)
        fprintf(out, "\n");
}

static void
print_traits(const struct hw_decision *decision, const char *indent, FILE *out)
{
    const struct hw_traits *traits = &decision->traits;

    fprintf(out, "%srole     %s", indent, role_name(decision));
    if (traits->role >= 0)
        fprintf(out, " (by %s%s%s%s, confidence %.2f)", hw_role_source_names[traits->role_source],
                traits->matched_keyword[0] != '\0' || decision->words[0] != '\0' ? ": " : "",
                traits->matched_keyword, decision->words, (double)traits->confidence);
    fprintf(out, "\n");
    print_scores(decision, indent, out);
    if (traits->difficulty >= 0.0f)
        fprintf(out, "%sdifficult %s: %.0f %% of queries are easier\n", indent,
                traits->difficult ? "yes" : "no", 100.0 * (double)traits->difficulty);
    fprintf(out, "%slane     %s", indent, hw_lane_names[decision->asked_lane]);
    if (traits->lane != decision->asked_lane)
        fprintf(out, ", put into %s by the route", hw_lane_names[traits->lane]);
    fprintf(out, "\n%ssize     about %u tokens\n", indent, traits->prompt_tokens);
    if (traits->wants_tools || traits->wants_images || traits->wants_json || traits->stream)
        fprintf(out, "%swants   %s%s%s%s\n", indent, traits->wants_tools ? " tools" : "",
                traits->wants_images ? " images" : "", traits->wants_json ? " json" : "",
                traits->stream ? " a stream" : "");
}

static void
print_candidates(const struct hw_decision *decision, const char *indent, FILE *out)
{
    const struct hw_snapshot *snapshot = decision->snapshot;
    double answer_bytes = hw_expect_answer_bytes(decision->views, snapshot->backend_count);
    char why[256];

    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_candidate *candidate = &decision->candidates[i];
        const char *name = snapshot->backends[candidate->backend].name;
        if (i >= decision->candidate_count) {
            hw_rank_why(snapshot, &decision->traits, candidate, why, sizeof(why));
            fprintf(out, "%snot      %s: %s\n", indent, name, why);
            continue;
        }
        struct hw_expected parts;
        hw_expect(&decision->views[candidate->backend], &snapshot->backends[candidate->backend],
                  &decision->traits, answer_bytes, &parts);
        fprintf(out,
                "%s%-8s %s%s, expected %.0f ms (queue %.0f, start %.0f, prompt %.0f, answer "
                "%.0f)\n",
                indent, i == 0 ? "backend" : "then", name,
                candidate->fallback   ? " (fallback)"
                : candidate->overflow ? " (overflow)"
                                      : "",
                candidate->expected_ms, parts.queue_ms, parts.start_ms, parts.prefill_ms,
                parts.decode_ms);
    }
    if (decision->candidate_count == 0)
        fprintf(out, "%sbackend  none can answer: the query would get 503\n", indent);
}

/* Whom a copy would go to, or why nobody of those that the shadow names. */
static void
print_shadow(const struct hw_decision *decision, const char *indent, FILE *out)
{
    const struct hw_snapshot *snapshot = decision->snapshot;
    char why[256];

    if (decision->copies == NULL)
        return;
    double percent = snapshot->routes[decision->route].shadow.share * 100;
    if (decision->copy_count > 0) {
        fprintf(out, "%sshadow   %s gets a copy of %g %% of such queries\n", indent,
                snapshot->backends[decision->copies[0].backend].name, percent);
        return;
    }
    fprintf(out, "%sshadow   nobody can take a copy\n", indent);
    for (size_t i = 0; i < snapshot->backend_count; i++) {
        const struct hw_candidate *copy = &decision->copies[i];
        if (copy->out == HW_OUT_NOT_NAMED)
            continue;
        hw_rank_why(snapshot, &decision->traits, copy, why, sizeof(why));
        fprintf(out, "%snot      %s, for the copy: %s\n", indent,
                snapshot->backends[copy->backend].name, why);
    }
}

void
hw_decision_print(const struct hw_decision *decision, const char *indent, FILE *out)
{
    const struct hw_snapshot *snapshot = decision->snapshot;
    struct hw_traits asked = hw_decision_asked(decision);
    char why[256];

    print_traits(decision, indent, out);
    size_t shown = decision->route >= 0 ? (size_t)decision->route : snapshot->route_count;
    for (size_t i = 0; i < shown; i++)
        if (!hw_route_explain(snapshot, i, &asked, why, sizeof(why)))
            fprintf(out, "%sroute    not %s: %s\n", indent, snapshot->routes[i].name, why);
    if (decision->route < 0) {
        fprintf(out, "%sroute    none matches: the query would get 404\n", indent);
        return;
    }
    fprintf(out, "%sroute    %s (by %s)\n", indent, snapshot->routes[decision->route].name,
            hw_by_names[snapshot->routes[decision->route].to.by]);
    print_candidates(decision, indent, out);
    print_shadow(decision, indent, out);
}

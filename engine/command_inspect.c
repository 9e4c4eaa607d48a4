/* engine/command_inspect.c - `hatchway bdh inspect`. */
#include "engine/command_parts.h"

static const char help[] =
    "usage: hatchway bdh inspect MODEL\n"
    "\n"
    "Reads a checkpoint, checks it as a worker would, and prints its configuration, template,\n"
    "digest and the memory of one session.\n";

/* Template texts hold line ends: shown as C would write them. */
static void
print_quoted(const char *key, const char *text)
{
    printf("%-18s \"", key);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\n')
            fputs("\\n", stdout);
        else if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if ((unsigned char)*c < 0x20 || *c == 0x7f)
            printf("\\x%02x", (unsigned)(unsigned char)*c);
        else
            putchar(*c);
    }
    puts("\"");
}

static void
print_model(const struct hw_bdh_model *model)
{
    const struct hw_bdh_config *c = &model->conf;

    printf("%-18s %s\n", "model", model->name);
    printf("%-18s %zu\n", "parameters", hw_bdh_param_count(c));
    printf("%-18s %u\n", "n_layer", c->n_layer);
    printf("%-18s %u\n", "n_embd", c->n_embd);
    printf("%-18s %u\n", "n_head", c->n_head);
    printf("%-18s %u\n", "neurons a head", c->n_neuron);
    printf("%-18s %u\n", "multiplier", c->multiplier);
    printf("%-18s %u\n", "vocab_size", c->vocab);
    printf("%-18s %g\n", "dropout", (double)c->dropout);
    if (c->decay != 0.0f)
        printf("%-18s %g a token\n", "decay", (double)c->decay);
    printf("%-18s %s\n", "phases", c->wide_phases ? "f64" : "f32");
    if (model->trained_context > 0)
        printf("%-18s %u tokens\n", "trained context", model->trained_context);
    else
        printf("%-18s not known\n", "trained context");
    printf("%-18s %.1f MiB\n", "state a session", (double)hw_bdh_state_bytes(c) / 1048576.0);
    print_quoted("before_user", model->tmpl.before_user);
    print_quoted("before_assistant", model->tmpl.before_assistant);
    print_quoted("after_assistant", model->tmpl.after_assistant);
    printf("%-18s ", "digest");
    for (size_t i = 0; i < sizeof(model->digest); i++)
        printf("%02x", model->digest[i]);
    putchar('\n');
}

int
command_inspect(int argc, char **argv)
{
    struct hw_bdh_model *model = NULL;
    struct hw_err err = {{0}};

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return command_finish_output();
    }
    if (argc != 2)
        return command_usage_error("bdh inspect: one MODEL is needed");
    if (hw_bdh_model_load(argv[1], &model, &err) != 0)
        return command_failed("%s", err.msg);
    print_model(model);
    hw_bdh_model_destroy(&model);
    return command_finish_output();
}

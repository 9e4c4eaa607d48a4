/* engine/command_generate.c - `hatchway bdh generate`. */
#include <getopt.h>
#include <sodium.h>

#include "engine/command_parts.h"
#include "engine/generate.h"
#include "engine/prompt.h"
#include "engine/snapshot.h"
#include "engine/textout.h"

#define MAX_PROMPT_BYTES ((size_t)256 << 20)
#define CALLER_STOPS (HW_TEXTOUT_MAX_STOPS - 1) /* the template's end takes one */

static const char help[] =
    "usage: hatchway bdh generate MODEL --prompt TEXT [options]\n"
    "       hatchway bdh generate MODEL --load-state FILE [--prompt TEXT] [options]\n"
    "\n"
    "Prints what the model answers, as it comes. A model with a template is asked the prompt as a\n"
    "question; with --raw, and without a template, the text is continued.\n"
    "\n"
    "  --prompt TEXT       - reads it from stdin\n"
    "  --max-tokens N      at most N tokens (default 512; 0 only reads, for --save-state)\n"
    "  --temperature T     0 (default) takes the likeliest token each time\n"
    "  --top-k K           only the K likeliest (default 0: off)\n"
    "  --top-p P           only the likeliest whose probabilities reach P (default 1: off)\n"
    "  --min-p P           none below P times the likeliest's probability (default 0: off)\n"
    "  --repeat-penalty X  makes what came lately less likely (default 1: off)\n"
    "  --repeat-last N     lately: the last N tokens (default 64)\n"
    "  --seed S            the same seed draws the same text (default: a random one)\n"
    "  --greedy            temperature 0, whatever --temperature says\n"
    "  --stop TEXT         end before TEXT (up to 4 times)\n"
    "  --raw               no template\n"
    "  --precision P       f32 (default), or fast: weights and state in int8\n"
    "  --save-state FILE   sets aside what the model has read and said, to go on from; what\n"
    "                      --max-tokens cuts within a character, or within what may be a stop\n"
    "                      string, waits there too\n"
    "  --load-state FILE   goes on from there: with the same text as if the answer had been "
    "longer,\n"
    "                      or with --prompt as the conversation's next turn; draws go on too,\n"
    "                      unless --seed begins new ones\n";

struct request {
    const char *model, *prompt, *save, *load;
    enum hw_bdh_precision precision;
    struct hw_generation_conf conf;
    bool greedy, has_seed, raw;
    bool reads; /* --max-tokens 0: no answer */
};

static bool
take_float(const char *name, double max, float *out)
{
    double number;

    if (!command_number(name, optarg, 0.0, max, &number))
        return false;
    *out = (float)number;
    return true;
}

static bool
take_u32(const char *name, uint64_t max, uint32_t *out)
{
    uint64_t integer;

    if (!command_integer(name, optarg, 0, max, &integer))
        return false;
    *out = (uint32_t)integer;
    return true;
}

static bool
take_option(struct request *r, int option, char **argv)
{
    switch (option) {
    case 'p':
        r->prompt = optarg;
        return true;
    case 'n':
        if (!take_u32("--max-tokens", UINT32_MAX, &r->conf.max_tokens))
            return false;
        r->reads = r->conf.max_tokens == 0;
        return true;
    case 't':
        return take_float("--temperature", 1000.0, &r->conf.sampler.temperature);
    case 'k':
        return take_u32("--top-k", UINT32_MAX, &r->conf.sampler.top_k);
    case 'P':
        return take_float("--top-p", 1.0, &r->conf.sampler.top_p);
    case 'm':
        return take_float("--min-p", 1.0, &r->conf.sampler.min_p);
    case 'R':
        return take_float("--repeat-penalty", 100.0, &r->conf.sampler.repetition_penalty);
    case 'L':
        return take_u32("--repeat-last", HW_SAMPLER_MAX_REPEAT_LAST, &r->conf.sampler.repeat_last);
    case 's':
        r->has_seed = true;
        return command_integer("--seed", optarg, 0, UINT64_MAX, &r->conf.sampler.seed);
    case 'g':
        r->greedy = true;
        return true;
    case 'S':
        if (r->conf.stop_count == CALLER_STOPS || optarg[0] == '\0' ||
            strlen(optarg) > HW_TEXTOUT_MAX_STOP_BYTES) {
            command_usage_error("--stop: at most %d, each of 1 to %d bytes", CALLER_STOPS,
                                HW_TEXTOUT_MAX_STOP_BYTES);
            return false;
        }
        r->conf.stops[r->conf.stop_count++] = optarg;
        return true;
    case 'r':
        r->raw = true;
        return true;
    case 'c':
        return command_precision(optarg, &r->precision);
    case 'o':
        r->save = optarg;
        return true;
    case 'i':
        r->load = optarg;
        return true;
    default:
        command_bad_option("bdh generate", option, argv);
        return false;
    }
}

static int
add_prompt(struct hw_prompt *prompt, const struct request *r)
{
    enum hw_prompt_role role = r->raw ? HW_PROMPT_RAW : HW_PROMPT_USER;
    char chunk[65536];
    size_t n;
    int rc = 0;

    if (r->prompt == NULL)
        return 0;
    if (strcmp(r->prompt, "-") != 0)
        return hw_prompt_turn(prompt, role, false, r->prompt, strlen(r->prompt));
    while (rc == 0 && (n = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
        rc = hw_prompt_turn(prompt, role, true, chunk, n);
    return rc;
}

static int
print_answer(struct hw_generation *g, size_t prompt_len)
{
    struct hw_buf text;

    hw_buf_init(&text, 4096);
    hw_generation_prefill(g, prompt_len);
    while (hw_generation_state(g) == HW_GENERATION_DECODE) {
        hw_generation_decode(g, &text);
        if (text.len > 0 &&
            (fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout) != 0))
            break; /* nobody reads any more */
        hw_buf_clear(&text);
    }
    putchar('\n');
    hw_buf_free(&text);
    return command_finish_output();
}

/* The prompt as the model reads it: behind what a loaded state has read, or from the start. */
static int
write_prompt(struct hw_prompt *prompt, const struct request *r, const struct hw_bdh_saved *loaded)
{
    const char *end = prompt->tmpl->after_assistant;

    if (r->load != NULL && !r->raw && r->prompt != NULL)
        hw_prompt_follow(prompt, hw_bdh_snapshot_ends_with(loaded->snapshot, end, strlen(end)));
    if (add_prompt(prompt, r) != 0 || (r->prompt != NULL && hw_prompt_ask(prompt) != 0))
        return command_failed("the prompt is over %zu bytes", MAX_PROMPT_BYTES);
    return 0;
}

static int
load_state(struct request *r, const struct loaded *loaded, struct hw_bdh_saved *state)
{
    struct hw_err err = {{0}};

    if (r->load == NULL)
        return 0;
    if (hw_bdh_saved_read(loaded->engine, r->load, state, &err) != 0 ||
        hw_bdh_session_restore(loaded->session, state->snapshot, &err) != 0)
        return command_failed("%s", err.msg);
    r->conf.logits = state->logits;
    if (r->prompt == NULL)
        r->conf.waiting = &state->waiting;
    if (!r->has_seed)
        r->conf.generator = &state->generator;
    return 0;
}

/* It is printed when the answer goes on; who asks something else instead would never see it. */
static void
tell_of_waiting(const struct hw_textout_waiting *waiting, const char *path)
{
    if (waiting->len > 0)
        fprintf(stderr,
                "hatchway: the last %u bytes of the answer wait in %s for what follows them: ",
                waiting->len, path);
    for (uint32_t i = 0; i < waiting->len; i++)
        fprintf(stderr, waiting->bytes[i] >= ' ' && waiting->bytes[i] < 0x7f ? "%c" : "\\x%02x",
                waiting->bytes[i]);
    if (waiting->len > 0)
        fputc('\n', stderr);
}

static int
save_state(const struct request *r, const struct loaded *loaded, struct hw_generation *g)
{
    struct hw_bdh_saved state = {.logits = calloc(loaded->model->conf.vocab, sizeof(float))};
    struct hw_err err = {{0}};
    int rc = 0;

    if (state.logits == NULL)
        return command_failed("no memory for the logits");
    hw_generation_leave(g, &state.generator, state.logits, &state.waiting);
    tell_of_waiting(&state.waiting, r->save);
    if (hw_bdh_snapshot_take(loaded->session, &state.snapshot, &err) != 0 ||
        hw_bdh_saved_write(&state, r->save, &err) != 0)
        rc = command_failed("%s", err.msg);
    hw_bdh_saved_free(&state);
    return rc;
}

static int
answer(struct request *r, const struct loaded *loaded, const struct hw_prompt *prompt)
{
    const char *end = r->raw ? "" : hw_prompt_end(prompt);
    struct hw_generation *g = NULL;
    struct hw_err err = {{0}};

    r->conf.goes_on = r->save != NULL;
    if (end[0] != '\0')
        r->conf.stops[r->conf.stop_count++] = end;
    if (hw_generation_create(loaded->session, &loaded->model->conf, &r->conf, prompt->text.data,
                             prompt->text.len, &g, &err) != 0)
        return command_failed("%s", err.msg);
    int rc = 0;
    if (r->reads)
        hw_generation_prefill(g, prompt->text.len);
    else
        rc = print_answer(g, prompt->text.len);
    if (rc == 0 && r->save != NULL)
        rc = save_state(r, loaded, g);
    hw_generation_destroy(&g);
    return rc;
}

static int
generate(struct request *r)
{
    struct hw_bdh_saved state = {0};
    struct hw_prompt prompt;
    struct loaded loaded;
    int rc = EXIT_WORK;

    if (!command_load(r->model, r->precision, &loaded)) {
        command_unload(&loaded);
        return rc;
    }
    hw_prompt_init(&prompt, &loaded.model->tmpl, MAX_PROMPT_BYTES);
    rc = load_state(r, &loaded, &state);
    if (rc == 0)
        rc = write_prompt(&prompt, r, &state);
    if (rc == 0)
        rc = answer(r, &loaded, &prompt);
    hw_prompt_free(&prompt);
    hw_bdh_saved_free(&state);
    command_unload(&loaded);
    return rc;
}

int
command_generate(int argc, char **argv)
{
    static const struct option options[] = {
        {"prompt", required_argument, NULL, 'p'},
        {"max-tokens", required_argument, NULL, 'n'},
        {"temperature", required_argument, NULL, 't'},
        {"top-k", required_argument, NULL, 'k'},
        {"top-p", required_argument, NULL, 'P'},
        {"min-p", required_argument, NULL, 'm'},
        {"repeat-penalty", required_argument, NULL, 'R'},
        {"repeat-last", required_argument, NULL, 'L'},
        {"seed", required_argument, NULL, 's'},
        {"greedy", no_argument, NULL, 'g'},
        {"stop", required_argument, NULL, 'S'},
        {"raw", no_argument, NULL, 'r'},
        {"precision", required_argument, NULL, 'c'},
        {"save-state", required_argument, NULL, 'o'},
        {"load-state", required_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct request r = {.conf = {.sampler = {.top_p = 1.0f}}};
    int option;

    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return command_finish_output();
        }
        if (!take_option(&r, option, argv))
            return EXIT_USAGE;
    }
    if (argc - optind != 1 || (r.prompt == NULL && r.load == NULL))
        return command_usage_error("bdh generate: one MODEL and --prompt are needed (or "
                                   "--load-state)");
    r.model = argv[optind];
    if (r.greedy)
        r.conf.sampler.temperature = 0.0f;
    if (!r.has_seed)
        randombytes_buf(&r.conf.sampler.seed, sizeof(r.conf.sampler.seed));
    return generate(&r);
}

/* engine/command_bench.c - `hatchway bdh bench`: one command, one table. */
#include <getopt.h>

#include "engine/bench.h"
#include "engine/command_parts.h"
#include "engine/prompt.h"
#include "engine/train_rows.h"

enum { MAX_TEXT_BYTES = 1 << 20, LOSS_BYTES = 16384 };

static const char help[] =
    "usage: hatchway bdh bench MODEL [--seconds S] [--data FILE]\n"
    "\n"
    "Measures this model on one core, in f32 and fast (int8 encoder, bf16 rest): tokens a second "
    "of\n"
    "a single stream, of 16 sessions together and of a 4 KiB prompt; where a token's time goes; "
    "what\n"
    "fast costs in nats a byte; and the core's memory bandwidth and matrix product in the same "
    "run,\n"
    "to compare machines and hours by. Rates are by CPU time.\n"
    "\n"
    "  --seconds S    for each measurement (default 2)\n"
    "  --data FILE    text, or *.jsonl with questions and answers (held-out phrasings, if it has\n"
    "                 any): what the model reads, and what the loss is of\n";

static const char default_text[] =
    "A small model reads one byte after the other and keeps what it has read in a state of fixed "
    "size. Each layer asks which neurons fire, looks up what they remember, and writes down what "
    "it saw; nothing else is kept. So a long conversation costs the same memory as a short one, "
    "and the next byte takes as long as the first. What takes the time is not arithmetic but "
    "fetching: weights that every byte needs, and rows of the state that only some bytes need. "
    "Whoever wants it faster must move fewer bytes, or move them once for many.\n";

static const char *const stage_names[HW_BDH_STAGES] = {
    [HW_BDH_STAGE_ROPE] = "RoPE angles",  [HW_BDH_STAGE_ENCODER] = "encoder",
    [HW_BDH_STAGE_LISTS] = "relu, lists", [HW_BDH_STAGE_STATE] = "state",
    [HW_BDH_STAGE_GATHERS] = "gathers",   [HW_BDH_STAGE_NORMS] = "layer norms",
    [HW_BDH_STAGE_HEAD] = "lm_head",
};

static void
begin_segment(struct hw_bench_text *text)
{
    if (text->count < HW_BENCH_MAX_SEGMENTS)
        text->starts[text->count++] = text->bytes.len;
}

static void
add_pair(struct hw_bench_text *text, const struct hw_bdh_model *model, const char *question,
         const char *answer)
{
    struct hw_prompt prompt;

    hw_prompt_init(&prompt, &model->tmpl, MAX_TEXT_BYTES);
    if (hw_prompt_turn(&prompt, HW_PROMPT_USER, false, question, strlen(question)) == 0 &&
        hw_prompt_turn(&prompt, HW_PROMPT_ASSISTANT, false, answer, strlen(answer)) == 0 &&
        hw_prompt_ask(&prompt) == 0 && text->count < HW_BENCH_MAX_SEGMENTS) {
        begin_segment(text);
        hw_buf_append(&text->bytes, prompt.text.data, prompt.text.len);
    }
    hw_prompt_free(&prompt);
}

static int
read_pairs(const char *path, const struct hw_bdh_model *model, struct hw_bench_text *text,
           struct hw_err *err)
{
    struct hw_train_rows rows = {0};
    int rc = hw_train_rows_read(&rows, path, err);

    for (size_t r = 0; rc == 0 && r < rows.count; r++) {
        const struct hw_train_row *row = &rows.rows[r];
        add_pair(text, model, row->held_out_count > 0 ? row->held_out[0] : row->questions[0],
                 row->answer);
    }
    hw_train_rows_free(&rows);
    return rc;
}

static int
read_text(const char *path, const struct hw_bdh_model *model, struct hw_bench_text *text,
          struct hw_err *err)
{
    const char *dot = path != NULL ? strrchr(path, '.') : NULL;
    char *bytes = NULL;
    size_t len = 0;
    int rc = 0;

    hw_buf_init(&text->bytes, MAX_TEXT_BYTES);
    if (dot != NULL && strcmp(dot, ".jsonl") == 0) {
        rc = read_pairs(path, model, text, err);
    } else {
        begin_segment(text);
        if (path != NULL)
            rc = hw_train_read_file(path, &bytes, &len, err);
        if (rc == 0)
            hw_buf_append(&text->bytes, path != NULL ? bytes : default_text,
                          path == NULL                   ? strlen(default_text)
                          : len < (size_t)MAX_TEXT_BYTES ? len
                                                         : (size_t)MAX_TEXT_BYTES);
        free(bytes);
    }
    if (rc == 0 && text->bytes.len < 2)
        rc = hw_err_set(err, HW_EINVAL, "%s: no text to read", path);
    return rc;
}

static void
print_rates(const struct hw_bench_rates rates[2], double gb_s, double gflops)
{
    static const char *const names[HW_BENCH_WAYS] = {"single stream", "16 sessions, total",
                                                     "prefill of 4 KiB"};
    const double *f32 = rates[0].tokens_s, *fast = rates[1].tokens_s;

    printf("\n%-24s %12s %12s\n", "tokens/s", "f32", "fast");
    for (int way = 0; way < HW_BENCH_WAYS; way++)
        printf("%-24s %12.0f %12.0f\n", names[way], f32[way], fast[way]);
    for (int way = 0; way < HW_BENCH_WAYS; way++)
        if (way != HW_BENCH_SINGLE)
            printf("%-18s / one %12.2f %12.2f\n", names[way], f32[way] / f32[HW_BENCH_SINGLE],
                   fast[way] / fast[HW_BENCH_SINGLE]);
    printf("%-24s %12.1f %12.1f\n", "single / (GB/s)", f32[HW_BENCH_SINGLE] / gb_s,
           fast[HW_BENCH_SINGLE] / gb_s);
    printf("%-24s %12.1f %12.1f\n", "single / GFLOPS", f32[HW_BENCH_SINGLE] / gflops,
           fast[HW_BENCH_SINGLE] / gflops);
}

/* Where a token's time goes, each way of passing it. */
static void
print_stages(const struct hw_bench_rates rates[2])
{
    printf("\n%-16s %21s %21s %21s\n", "microseconds", "single stream", "16 sessions", "prefill");
    printf("%-16s %10s %10s %10s %10s %10s %10s\n", "a token", "f32", "fast", "f32", "fast", "f32",
           "fast");
    for (int i = 0; i < HW_BDH_STAGES; i++) {
        printf("%-16s", stage_names[i]);
        for (int way = 0; way < HW_BENCH_WAYS; way++)
            printf(" %10.1f %10.1f", rates[0].stage_us[way][i], rates[1].stage_us[way][i]);
        printf("\n");
    }
    printf("%-16s %10.1f %10.1f\n", "sampling", rates[0].sample_us, rates[1].sample_us);
}

static int
bench(const struct hw_bdh_model *model, const struct hw_bench_text *text, double seconds,
      struct hw_err *err)
{
    struct hw_bench_rates rates[2] = {0};
    double loss[2], gb_s, gflops;
    char blas[64];
    int rc;

    printf("model %s: %zu parameters, %.1f MiB of state a session\n", model->name,
           hw_bdh_param_count(&model->conf), (double)hw_bdh_state_bytes(&model->conf) / 1048576.0);
    if ((rc = hw_bench_machine(seconds / 2, &gb_s, &gflops, blas, err)) != 0)
        return rc;
    for (int i = 0; i < 2; i++) {
        struct hw_bdh_engine *engine = NULL;
        rc = hw_bdh_engine_create_as(model, i == 0 ? HW_BDH_F32 : HW_BDH_FAST, &engine, err);
        if (rc == 0 && i == 0) {
            printf("machine: %.1f GB/s read, %.0f GFLOPS (%s); kernels %s\n", gb_s, gflops, blas,
                   hw_bdh_engine_kernels(engine));
            fflush(stdout);
        }
        if (rc == 0)
            rc = hw_bench_engine(engine, text, seconds, &rates[i], err);
        if (rc == 0)
            rc = hw_bench_loss(engine, text, LOSS_BYTES, &loss[i], err);
        hw_bdh_engine_destroy(&engine);
        if (rc != 0)
            return rc;
    }
    print_rates(rates, gb_s, gflops);
    print_stages(rates);
    printf("\nloss, nats a byte: f32 %.6f, fast %.6f: fast costs %+.1e\n", loss[0], loss[1],
           loss[1] - loss[0]);
    return 0;
}

static int
run(const char *path, const char *data, double seconds)
{
    static struct hw_bench_text text;
    struct hw_bdh_model *model = NULL;
    struct hw_err err = {{0}};
    int rc = 0;

    if (hw_bdh_model_load(path, &model, &err) != 0 || read_text(data, model, &text, &err) != 0 ||
        bench(model, &text, seconds, &err) != 0)
        rc = command_failed("%s", err.msg);
    hw_buf_free(&text.bytes);
    hw_bdh_model_destroy(&model);
    return rc != 0 ? rc : command_finish_output();
}

int
command_bench(int argc, char **argv)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'},
        {"data", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *data = NULL;
    double seconds = 2.0;
    int option;

    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (option) {
        case 's':
            if (!command_number("--seconds", optarg, 0.01, 3600.0, &seconds))
                return EXIT_USAGE;
            break;
        case 'd':
            data = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return command_finish_output();
        default:
            return command_bad_option("bdh bench", option, argv);
        }
    }
    if (argc - optind != 1)
        return command_usage_error("bdh bench: one MODEL is needed");
    return run(argv[optind], data, seconds);
}

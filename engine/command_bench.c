/* engine/command_bench.c - `hatchway bdh bench`: one command, one table. */
#include <getopt.h>

#include "engine/bench.h"
#include "engine/bench_chat.h"
#include "engine/bench_model.h"
#include "engine/command_parts.h"
#include "engine/prompt.h"
#include "engine/train_rows.h"

enum { MAX_TEXT_BYTES = 1 << 20, LOSS_BYTES = 65536, ENOUGH_BYTES = 8192, CHAT_ROUNDS = 5 };

static const char help[] =
    "usage: hatchway bdh bench MODEL [--doubled] [--chat] [--seconds S] [--data FILE]\n"
    "       hatchway bdh bench --shape LAYERS,EMBD,HEADS,MULTIPLIER [--seconds S] [--data FILE]\n"
    "\n"
    "Measures a model on one core, in f32 and fast (weights and state in int8): tokens/s of a\n"
    "single stream, of 16 sessions together and of a 4 KiB prompt; where a token's time goes; "
    "what\n"
    "fast costs in nats a byte; and the core's memory bandwidth and matrix product in the same "
    "run,\n"
    "to compare machines and hours by. Rates are by CPU time.\n"
    "\n"
    "  --doubled      the model with every neuron twice, at half its weight: the same answers "
    "from\n"
    "                 twice the parameters, to measure a trained model of that shape\n"
    "  --shape L,D,H,M  random weights of that shape (6,256,4,128 is the published default)\n"
    "  --seconds S    for each measurement (default 2)\n"
    "  --chat         instead: what a conversation's tenth turn costs until its first token, read\n"
    "                 from the start, from a snapshot, and in the session of the turns before\n"
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

static const char *const way_names[HW_BENCH_WAYS] = {"single stream", "16 sessions, total",
                                                     "prefill of 4 KiB"};

static void
print_ratios(const struct hw_bench_rates rates[2], const char *by, double unit)
{
    for (int way = 0; way < HW_BENCH_WAYS; way++)
        printf("%-20s %-18s %9.1f %9.1f\n", way == 0 ? by : "", way_names[way],
               rates[0].tokens_s[way] / unit, rates[1].tokens_s[way] / unit);
}

static void
print_rates(const struct hw_bench_rates rates[2], double gb_s, double gflops)
{
    const double *f32 = rates[0].tokens_s, *fast = rates[1].tokens_s;

    printf("\n%-39s %9s %9s\n", "tokens/s", "f32", "fast");
    print_ratios(rates, "", 1.0);
    for (int way = HW_BENCH_BATCH; way < HW_BENCH_WAYS; way++)
        printf("%-20s %-18s %9.2f %9.2f\n", way == HW_BENCH_BATCH ? "of a single stream" : "",
               way_names[way], f32[way] / f32[HW_BENCH_SINGLE], fast[way] / fast[HW_BENCH_SINGLE]);
    print_ratios(rates, "per GB/s", gb_s);
    print_ratios(rates, "per GFLOPS", gflops);
}

/* Where a token's time goes, each way of passing it. */
static void
print_stages(const struct hw_bench_rates rates[2])
{
    printf("\n%-16s %21s %21s %21s\n", "microseconds", "single stream", "16 sessions",
           "prefill of 4 KiB");
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

    printf("model %s: %zu parameters, %.1f MiB of state a session in f32\n", model->name,
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
    printf("\na token reads %.0f %% of the state's rows\n", 100.0 * rates[0].touched);
    size_t bytes = text->bytes.len < LOSS_BYTES ? text->bytes.len : LOSS_BYTES;
    printf("loss over %zu bytes, nats a byte: f32 %.6f, fast %.6f: fast costs %+.1e%s\n", bytes,
           loss[0], loss[1], loss[1] - loss[0],
           bytes < ENOUGH_BYTES ? " (too few bytes to judge by: --data)" : "");
    return 0;
}

static void
print_chat(const struct hw_bench_chat chats[2])
{
    const struct hw_bench_chat *f32 = &chats[0], *fast = &chats[1];

    printf("\ntenth turn of a conversation: %d bytes before it, %d new ones\n", HW_BENCH_CHAT_KEPT,
           HW_BENCH_CHAT_ASKED);
    printf("%-39s %9s %9s\n", "CPU milliseconds to the first token", "f32", "fast");
    printf("%-39s %9.2f %9.2f\n", "read from the start", f32->cold_ms, fast->cold_ms);
    printf("%-39s %9.2f %9.2f\n", "from a snapshot", f32->snapshot_ms, fast->snapshot_ms);
    printf("%-39s %9.2f %9.2f\n", "in the session of the turns before", f32->session_ms,
           fast->session_ms);
    printf("%-39s %9.1f %9.1f\n", "times less: from a snapshot", f32->cold_ms / f32->snapshot_ms,
           fast->cold_ms / fast->snapshot_ms);
    printf("%-39s %9.1f %9.1f\n", "times less: in the session", f32->cold_ms / f32->session_ms,
           fast->cold_ms / fast->session_ms);
    printf("%-39s %9.2f %9.2f\n", "making the snapshot", f32->take_ms, fast->take_ms);
    printf("%-39s %9.1f %9.1f\n", "MiB of the snapshot", (double)f32->snapshot_bytes / 1048576.0,
           (double)fast->snapshot_bytes / 1048576.0);
}

static int
bench_chat(const struct hw_bdh_model *model, const struct hw_bench_text *text, struct hw_err *err)
{
    struct hw_bench_chat chats[2];
    int rc = 0;

    printf("model %s: %zu parameters\n", model->name, hw_bdh_param_count(&model->conf));
    for (int i = 0; rc == 0 && i < 2; i++) {
        struct hw_bdh_engine *engine = NULL;
        rc = hw_bdh_engine_create_as(model, i == 0 ? HW_BDH_F32 : HW_BDH_FAST, &engine, err);
        if (rc == 0)
            rc = hw_bench_chat(engine, text, CHAT_ROUNDS, &chats[i], err);
        hw_bdh_engine_destroy(&engine);
    }
    if (rc == 0)
        print_chat(chats);
    return rc;
}

struct bench_options {
    const char *model, *data;
    struct hw_bdh_config shape; /* n_layer 0: none was asked for */
    bool doubled, chat;
    double seconds;
};

static int
get_model(const struct bench_options *options, struct hw_bdh_model **out, struct hw_err *err)
{
    struct hw_bdh_model *model = NULL;

    if (options->shape.n_layer > 0)
        return hw_bench_model_random(&options->shape, out, err);
    int rc = hw_bdh_model_load(options->model, &model, err);
    if (rc == 0 && options->doubled) {
        rc = hw_bench_model_doubled(model, out, err);
        hw_bdh_model_destroy(&model);
    } else if (rc == 0) {
        *out = model;
    }
    return rc;
}

static int
run(const struct bench_options *options)
{
    static struct hw_bench_text text;
    struct hw_bdh_model *model = NULL;
    struct hw_err err = {{0}};
    int rc = 0;

    if (get_model(options, &model, &err) != 0 ||
        read_text(options->data, model, &text, &err) != 0 ||
        (options->chat ? bench_chat(model, &text, &err)
                       : bench(model, &text, options->seconds, &err)) != 0)
        rc = command_failed("%s", err.msg);
    hw_buf_free(&text.bytes);
    hw_bdh_model_destroy(&model);
    return rc != 0 ? rc : command_finish_output();
}

static bool
read_shape(const char *text, struct hw_bdh_config *shape)
{
    char end;

    *shape = (struct hw_bdh_config){.vocab = 256};
    if (strspn(text, "0123456789,") == strlen(text) &&
        sscanf(text, "%9u,%9u,%9u,%9u%c", &shape->n_layer, &shape->n_embd, &shape->n_head,
               &shape->multiplier, &end) == 4 &&
        shape->n_layer > 0)
        return true;
    command_usage_error("bdh bench: --shape takes LAYERS,EMBD,HEADS,MULTIPLIER");
    return false;
}

int
command_bench(int argc, char **argv)
{
    static const struct option names[] = {
        {"seconds", required_argument, NULL, 's'},
        {"data", required_argument, NULL, 'd'},
        {"shape", required_argument, NULL, 'p'},
        {"doubled", no_argument, NULL, '2'},
        {"chat", no_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct bench_options options = {.seconds = 2.0};
    int option;

    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, ":h", names, NULL)) != -1) {
        switch (option) {
        case 's':
            if (!command_number("--seconds", optarg, 0.01, 3600.0, &options.seconds))
                return EXIT_USAGE;
            break;
        case 'd':
            options.data = optarg;
            break;
        case 'p':
            if (!read_shape(optarg, &options.shape))
                return EXIT_USAGE;
            break;
        case '2':
            options.doubled = true;
            break;
        case 'c':
            options.chat = true;
            break;
        case 'h':
            fputs(help, stdout);
            return command_finish_output();
        default:
            return command_bad_option("bdh bench", option, argv);
        }
    }
    if (argc - optind != (options.shape.n_layer > 0 ? 0 : 1) ||
        (options.doubled && options.shape.n_layer > 0))
        return command_usage_error("bdh bench: one MODEL or a --shape is needed");
    options.model = argv[optind];
    return run(&options);
}

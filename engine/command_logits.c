/* engine/command_logits.c - `hatchway bdh logits`: for tests and comparisons with other engines. */
#include <getopt.h>

#include "engine/command_parts.h"

static const char help[] =
    "usage: hatchway bdh logits MODEL [--tokens bytes|u16]\n"
    "\n"
    "Reads tokens from stdin (bytes, or with `--tokens u16` 16-bit little-endian numbers) and "
    "writes\n"
    "for each the logits of the next token: little-endian float32, positions x vocab, on stdout.\n";

/* The next token of stdin: 1, 0 at its end, -1 when it ends inside one. */
static int
read_token(bool wide, uint32_t *token)
{
    int low = getchar();
    if (low == EOF)
        return 0;
    *token = (uint32_t)low;
    if (!wide)
        return 1;
    int high = getchar();
    if (high == EOF)
        return -1;
    *token |= (uint32_t)high << 8;
    return 1;
}

static int
write_logits(struct loaded *loaded, bool wide)
{
    uint32_t vocab = loaded->model->conf.vocab, token = 0;
    float *logits = malloc(vocab * sizeof(float));
    int rc = 0, got;

    if (logits == NULL)
        return command_failed("no memory for %u logits", vocab);
    while (rc == 0 && (got = read_token(wide, &token)) != 0) {
        if (got < 0)
            rc = command_failed("stdin ends inside a 16-bit token");
        else if (token >= vocab)
            rc =
                command_failed("token %u at position %llu is outside the vocabulary of %u", token,
                               (unsigned long long)hw_bdh_session_position(loaded->session), vocab);
        if (rc != 0)
            break;
        hw_bdh_session_step(loaded->session, token, logits);
        if (fwrite(logits, sizeof(float), vocab, stdout) != vocab)
            break; /* command_finish_output says so */
    }
    free(logits);
    if (rc == 0 && ferror(stdin))
        rc = command_failed("cannot read stdin");
    return rc != 0 ? rc : command_finish_output();
}

int
command_logits(int argc, char **argv)
{
    static const struct option options[] = {
        {"tokens", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct loaded loaded;
    bool wide = false;
    int option;

    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (option) {
        case 't':
            wide = strcmp(optarg, "u16") == 0;
            if (!wide && strcmp(optarg, "bytes") != 0)
                return command_usage_error("--tokens must be bytes or u16, got \"%s\"", optarg);
            break;
        case 'h':
            fputs(help, stdout);
            return command_finish_output();
        default:
            return command_bad_option("bdh logits", option, argv);
        }
    }
    if (argc - optind != 1)
        return command_usage_error("bdh logits: one MODEL is needed");
    int rc = EXIT_WORK;
    if (command_load(argv[optind], HW_BDH_F32, &loaded))
        rc = write_logits(&loaded, wide);
    command_unload(&loaded);
    return rc;
}

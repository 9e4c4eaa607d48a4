/* engine/command_worker.c - `hatchway worker`. */
#include <getopt.h>

#include "engine/command.h"
#include "engine/command_parts.h"
#include "engine/worker.h"

static const char help[] =
    "usage: hatchway worker --model PATH --socket PATH [--max-sessions N] [--memory MIB]\n"
    "                       [--state-cache MIB] [--precision f32|fast]\n"
    "\n"
    "Runs one BDH model for the gateway, which starts this itself. Listens on a Unix socket (made\n"
    "with mode 0600), speaks the frames of engine/frame.h, and leaves when its last connection\n"
    "closes, on SIGTERM, with its parent, or when nobody connects within 30 seconds.\n"
    "\n"
    "  --model PATH        safetensors file, or PyTorch's .pt\n"
    "  --model-fd N        the same file, open already\n"
    "  --trial-ask TEXT    a question to be answered first; without an answer the worker leaves\n"
    "  --trial-expect TEXT what the answer must have in it\n"
    "  --socket PATH       where to listen; a stale socket there is replaced\n"
    "  --max-sessions N    queries generated side by side (default 16); more wait\n"
    "  --memory MIB        for all sessions' states (default 1024): lowers --max-sessions\n"
    "  --state-cache MIB   for states kept of what was read (default 64, 0: none), so that a\n"
    "                      prompt that begins alike is read from there on\n"
    "  --precision P       f32 (default), or fast: weights and state in int8; a third\n"
    "                      of the memory a session, `hatchway bdh bench` says what it gains and "
    "costs\n";

int
hw_command_worker(int argc, char **argv)
{
    static const struct option options[] = {
        {"model", required_argument, NULL, 'm'},
        {"socket", required_argument, NULL, 's'},
        {"max-sessions", required_argument, NULL, 'n'},
        {"memory", required_argument, NULL, 'b'},
        {"state-cache", required_argument, NULL, 'c'},
        {"precision", required_argument, NULL, 'p'},
        {"model-fd", required_argument, NULL, 'f'},
        {"trial-ask", required_argument, NULL, 'a'},
        {"trial-expect", required_argument, NULL, 'e'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct hw_worker_conf conf = {.max_sessions = HW_WORKER_DEFAULT_SESSIONS,
                                  .memory_bytes = HW_WORKER_DEFAULT_MEMORY_BYTES,
                                  .state_cache_bytes = HW_WORKER_DEFAULT_STATE_CACHE_BYTES};
    enum hw_bdh_precision precision;
    struct hw_err err = {{0}};
    uint64_t value;
    int option;

    opterr = 0;
    optind = 0; /* main has looked at its own arguments before us */
    while ((option = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
        switch (option) {
        case 'm':
            conf.model_path = optarg;
            break;
        case 's':
            conf.socket_path = optarg;
            break;
        case 'n':
            if (!command_integer("--max-sessions", optarg, 1, 4096, &value))
                return EXIT_USAGE;
            conf.max_sessions = (uint32_t)value;
            break;
        case 'b':
            if (!command_integer("--memory", optarg, 0, 1u << 20, &value))
                return EXIT_USAGE;
            conf.memory_bytes = (size_t)value << 20;
            break;
        case 'c':
            if (!command_integer("--state-cache", optarg, 0, 1u << 20, &value))
                return EXIT_USAGE;
            conf.state_cache_bytes = (size_t)value << 20;
            break;
        case 'p':
            if (!command_precision(optarg, &precision))
                return EXIT_USAGE;
            conf.fast = precision == HW_BDH_FAST;
            break;
        case 'f':
            if (!command_integer("--model-fd", optarg, 0, 1u << 20, &value))
                return EXIT_USAGE;
            conf.model_fd = (int)value;
            break;
        case 'a':
            conf.trial_ask = optarg;
            break;
        case 'e':
            conf.trial_expect = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return command_finish_output();
        default:
            return command_bad_option("worker", option, argv);
        }
    }
    if (optind < argc)
        return command_usage_error("worker: unexpected \"%s\"; see `hatchway worker --help`",
                                   argv[optind]);
    if (conf.model_path == NULL || conf.socket_path == NULL)
        return command_usage_error("worker: --model and --socket are both needed");
    if (hw_worker_run(&conf, &err) != 0)
        return command_failed("%s", err.msg);
    return 0;
}

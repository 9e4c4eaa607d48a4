/* engine/command_convert.c - `hatchway bdh convert`. */
#include <getopt.h>

#include "engine/command_parts.h"

static const char help[] =
    "usage: hatchway bdh convert IN OUT [--dtype f32|bf16|int8] [--trained-context N]\n"
    "\n"
    "Reads a checkpoint (safetensors, or PyTorch's .pt without executing anything in it) and "
    "writes\n"
    "it as safetensors with its configuration in the metadata.\n"
    "\n"
    "  --dtype f32|bf16|int8  how weights are written (default f32); bf16 halves the file, int8\n"
    "                         (a scale a neuron) makes a quarter of it\n"
    "  --trained-context N    tokens of the longest sequence that it was trained on, for a file\n"
    "                         that does not say; 0: not known\n";

static const char *const dtypes[HW_BDH_DTYPES] = {"f32", "bf16", "int8"};

static int
convert(const char *in, const char *out, enum hw_bdh_dtype dtype, const uint64_t *trained_context)
{
    struct hw_bdh_model *model = NULL;
    struct hw_err err = {{0}};
    int rc = hw_bdh_model_load(in, &model, &err);

    if (rc == 0 && trained_context != NULL)
        model->trained_context = (uint32_t)*trained_context;
    if (rc != 0 || hw_bdh_model_save(model, out, dtype, &err) != 0)
        rc = command_failed("%s", err.msg);
    else
        printf("%s: %zu parameters, %s\n", out, hw_bdh_param_count(&model->conf), dtypes[dtype]);
    hw_bdh_model_destroy(&model);
    return rc != 0 ? rc : command_finish_output();
}

int
command_convert(int argc, char **argv)
{
    static const struct option options[] = {
        {"dtype", required_argument, NULL, 't'},
        {"trained-context", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    uint64_t trained_context = 0;
    int dtype = HW_BDH_DTYPE_F32;
    bool told = false;
    int option;

    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (option) {
        case 't':
            for (dtype = 0; dtype < HW_BDH_DTYPES && strcmp(optarg, dtypes[dtype]) != 0;)
                dtype++;
            if (dtype == HW_BDH_DTYPES)
                return command_usage_error("--dtype must be f32, bf16 or int8, got \"%s\"", optarg);
            break;
        case 'c':
            if (!command_integer("--trained-context", optarg, 0, UINT32_MAX, &trained_context))
                return EXIT_USAGE;
            told = true;
            break;
        case 'h':
            fputs(help, stdout);
            return command_finish_output();
        default:
            return command_bad_option("bdh convert", option, argv);
        }
    }
    if (argc - optind != 2)
        return command_usage_error("bdh convert: IN and OUT are needed");
    return convert(argv[optind], argv[optind + 1], (enum hw_bdh_dtype)dtype,
                   told ? &trained_context : NULL);
}

/* A trainer's checkpoint: a line of text that says what the run was, then parameters and both
 * moments as they lie in memory, then BLAKE2b over all before it. The text must match to the byte:
 * whatever decides the next step's numbers stands in it. */
#include "engine/trainer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "hatchway/assert.h"

enum { RUN_LINE = 512, DIGEST = 32 };

static void
describe_run(const struct hw_trainer *trainer, char line[RUN_LINE])
{
    const struct hw_trainer_conf *conf = &trainer->conf;

    memset(line, 0, RUN_LINE);
    snprintf(line, RUN_LINE,
             "hatchway training checkpoint 1: layers %u embd %u heads %u multiplier %u vocab %u "
             "batch %zu block %zu seed %llu threads %u optimiser %s\n",
             conf->shape.n_layer, conf->shape.n_embd, conf->shape.n_head, conf->shape.multiplier,
             conf->shape.vocab, conf->batch, conf->block, (unsigned long long)conf->seed,
             conf->threads, conf->muon ? "muon" : "adamw");
    if (conf->shape.decay != 0.0f)
        snprintf(line + strlen(line) - 1, RUN_LINE - strlen(line), " decay %.9g\n",
                 (double)conf->shape.decay);
    if (conf->shape.wide_phases)
        snprintf(line + strlen(line) - 1, RUN_LINE - strlen(line), " phases f64\n");
}

struct stream {
    FILE *file;
    crypto_generichash_state hash;
    bool failed;
};

static void
put(struct stream *out, const void *bytes, size_t len)
{
    crypto_generichash_update(&out->hash, bytes, len);
    out->failed = out->failed || fwrite(bytes, 1, len, out->file) != len;
}

static void
get(struct stream *in, void *bytes, size_t len)
{
    in->failed = in->failed || fread(bytes, 1, len, in->file) != len;
    if (!in->failed)
        crypto_generichash_update(&in->hash, bytes, len);
}

int
hw_trainer_save(const struct hw_trainer *trainer, const char *path, double elapsed_s,
                struct hw_err *err)
{
    char temporary[4096], line[RUN_LINE];
    unsigned char digest[DIGEST];
    size_t bytes = trainer->params.count * sizeof(float);

    int len = snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    if (len < 0 || (size_t)len >= sizeof(temporary))
        return hw_err_set(err, HW_EINVAL, "%.100s...: the path is too long", path);
    struct stream out = {.file = fopen(temporary, "wb")};
    if (out.file == NULL)
        return hw_err_set(err, HW_EIO, "%s: %s", temporary, strerror(errno));
    crypto_generichash_init(&out.hash, NULL, 0, DIGEST);
    describe_run(trainer, line);
    put(&out, line, sizeof(line));
    put(&out, &trainer->step, sizeof(trainer->step));
    put(&out, &elapsed_s, sizeof(elapsed_s));
    put(&out, trainer->freqs, trainer->conf.shape.n_neuron * sizeof(float));
    put(&out, trainer->params.all, bytes);
    put(&out, trainer->m.all, bytes);
    put(&out, trainer->v.all, bytes);
    crypto_generichash_final(&out.hash, digest, DIGEST);
    out.failed = out.failed || fwrite(digest, 1, DIGEST, out.file) != DIGEST;
    out.failed = out.failed || fflush(out.file) != 0 || fsync(fileno(out.file)) != 0;
    out.failed = fclose(out.file) != 0 || out.failed;
    if (out.failed || rename(temporary, path) != 0) {
        int code = errno;
        unlink(temporary);
        return hw_err_set(err, HW_EIO, "%s: cannot be written: %s", path, strerror(code));
    }
    return 0;
}

/* Where two lines part, the word before it included: it names the number. */
static size_t
find_difference(const char *a, const char *b)
{
    size_t at = 0;

    while (a[at] != '\0' && a[at] == b[at])
        at++;
    for (int spaces = 0; at > 0; at--)
        if (a[at - 1] == ' ' && ++spaces == 2)
            break;
    return at;
}

static int
load_state(struct hw_trainer *trainer, struct stream *in, double *elapsed_s, struct hw_err *err)
{
    char line[RUN_LINE], wanted[RUN_LINE];
    unsigned char digest[DIGEST], stored[DIGEST];
    size_t bytes = trainer->params.count * sizeof(float);

    describe_run(trainer, wanted);
    get(in, line, sizeof(line));
    if (!in->failed && memcmp(line, wanted, sizeof(line)) != 0) {
        line[sizeof(line) - 1] = '\0';
        line[strcspn(line, "\n")] = wanted[strcspn(wanted, "\n")] = '\0';
        size_t same = find_difference(line, wanted);
        return hw_err_set(err, HW_EINVAL, "is of another run: it has \"%.180s\", wanted \"%.180s\"",
                          line + same, wanted + same);
    }
    get(in, &trainer->step, sizeof(trainer->step));
    get(in, elapsed_s, sizeof(*elapsed_s));
    float *freqs = hw_xcalloc(trainer->conf.shape.n_neuron, sizeof(float));
    get(in, freqs, trainer->conf.shape.n_neuron * sizeof(float));
    bool same_freqs =
        memcmp(freqs, trainer->freqs, trainer->conf.shape.n_neuron * sizeof(float)) == 0;
    free(freqs);
    if (!in->failed && !same_freqs)
        return hw_err_set(err, HW_EINVAL, "has other frequencies; give the run's --init again");
    get(in, trainer->params.all, bytes);
    get(in, trainer->m.all, bytes);
    get(in, trainer->v.all, bytes);
    crypto_generichash_final(&in->hash, digest, DIGEST);
    if (in->failed || fread(stored, 1, DIGEST, in->file) != DIGEST ||
        memcmp(digest, stored, DIGEST) != 0)
        return hw_err_set(err, HW_EINVAL, "is cut short or damaged");
    return 0;
}

int
hw_trainer_load(struct hw_trainer *trainer, const char *path, double *elapsed_s, struct hw_err *err)
{
    struct stream in = {.file = fopen(path, "rb")};

    if (in.file == NULL)
        return hw_err_set(err, errno == ENOENT ? HW_ENOTFOUND : HW_EIO, "%s: %s", path,
                          strerror(errno));
    crypto_generichash_init(&in.hash, NULL, 0, DIGEST);
    int rc = load_state(trainer, &in, elapsed_s, err);
    fclose(in.file);
    if (rc != 0)
        hw_err_prefix(err, "%s", path);
    return rc;
}

/* engine/snapshot_file.c - a snapshot and its generator in a file. Whoever wrote it may lie about
 * anything: every size follows from the engine's own shape and is only compared with the file's. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/file_read.h"
#include "engine/file_write.h"
#include "engine/snapshot_parts.h"

#define VERSION 3u
#define DIGEST_BYTES 32u
#define MAX_POSITION (UINT64_C(1) << 48)

/* As in the file: no padding. */
struct head {
    char magic[8];
    uint32_t version, precision;
    uint8_t digest[32];
    uint64_t position;
    uint8_t chain[HW_HISTORY_BYTES];
    uint16_t recent[HW_HISTORY_RECENT];
    uint32_t vocab, pair_bytes;
    uint64_t pairs, kept, body_bytes;
    uint64_t random[4];
    uint32_t lately_count, waiting_bytes;
};
_Static_assert(sizeof(struct head) == 192, "the file's head has no padding");

static const char magic[8] = {'H', 'W', 'S', 'T', 'A', 'T', 'E', '\n'};

/* --- writing --- */

struct output {
    FILE *file;
    crypto_generichash_state hash;
    bool failed;
};

static void
put(struct output *out, const void *bytes, size_t len)
{
    crypto_generichash_update(&out->hash, bytes, len);
    out->failed = out->failed || fwrite(bytes, 1, len, out->file) != len;
}

static int
write_saved(FILE *file, const void *what)
{
    const struct hw_bdh_saved *saved = what;
    const struct hw_bdh_snapshot *s = saved->snapshot;
    struct output out = {.file = file};
    uint8_t digest[DIGEST_BYTES];
    struct head head = {
        .version = VERSION,
        .precision = (uint32_t)s->precision,
        .position = s->position,
        .vocab = s->vocab,
        .pair_bytes = s->pair_bytes,
        .pairs = s->pairs,
        .kept = s->kept,
        .body_bytes = s->body_bytes,
        .lately_count = saved->generator.lately_count,
        .waiting_bytes = saved->waiting.len,
    };

    memcpy(head.magic, magic, sizeof(magic));
    memcpy(head.digest, s->digest, sizeof(head.digest));
    memcpy(head.chain, s->history.chain, sizeof(head.chain));
    memcpy(head.recent, s->history.recent, sizeof(head.recent));
    memcpy(head.random, saved->generator.random, sizeof(head.random));
    crypto_generichash_init(&out.hash, NULL, 0, DIGEST_BYTES);
    put(&out, &head, sizeof(head));
    put(&out, saved->generator.lately, head.lately_count * sizeof(saved->generator.lately[0]));
    put(&out, saved->waiting.bytes, head.waiting_bytes);
    put(&out, saved->logits, s->vocab * sizeof(float));
    put(&out, s->body, s->body_bytes);
    crypto_generichash_final(&out.hash, digest, sizeof(digest));
    put(&out, digest, sizeof(digest));
    return out.failed ? HW_EIO : 0;
}

int
hw_bdh_saved_write(const struct hw_bdh_saved *saved, const char *path, struct hw_err *err)
{
    return hw_file_write(path, write_saved, saved, err);
}

void
hw_bdh_saved_free(struct hw_bdh_saved *saved)
{
    hw_bdh_snapshot_unref(&saved->snapshot);
    free(saved->logits);
    saved->logits = NULL;
}

/* --- reading --- */

struct input {
    int fd;
    uint64_t bytes, at;
    crypto_generichash_state hash;
};

static int
take(struct input *in, void *bytes, size_t len, struct hw_err *err)
{
    int rc = hw_file_read(in->fd, bytes, len, in->at, err);

    if (rc == 0)
        crypto_generichash_update(&in->hash, bytes, len);
    in->at += len;
    return rc;
}

static const char *
precision_name(uint32_t precision)
{
    return precision == HW_BDH_FAST ? "fast" : "f32";
}

/* What the head says against what this engine's state must be. */
static int
check_head(const struct head *h, const struct hw_bdh_engine *e, uint64_t file_bytes,
           struct hw_err *err)
{
    if (memcmp(h->magic, magic, sizeof(magic)) != 0)
        return hw_err_set(err, HW_EINVAL, "is no saved state");
    if (h->version != VERSION)
        return hw_err_set(err, HW_EINVAL, "is of version %u, known is %u: have the text read again",
                          h->version, VERSION);
    if (h->precision != HW_BDH_F32 && h->precision != HW_BDH_FAST)
        return hw_err_set(err, HW_EINVAL, "is of an unknown precision %u", h->precision);
    if (h->precision != (uint32_t)e->precision)
        return hw_err_set(err, HW_EINVAL, "is of a session in %s, this one is in %s",
                          precision_name(h->precision), precision_name(e->precision));
    if (memcmp(h->digest, e->digest, sizeof(h->digest)) != 0)
        return hw_err_set(err, HW_EINVAL,
                          "is of another model: digest %02x%02x%02x%02x..., this "
                          "model's is %02x%02x%02x%02x...",
                          h->digest[0], h->digest[1], h->digest[2], h->digest[3], e->digest[0],
                          e->digest[1], e->digest[2], e->digest[3]);
    if (h->position > MAX_POSITION || h->waiting_bytes > HW_TEXTOUT_MAX_WAITING ||
        h->lately_count > HW_SAMPLER_MAX_REPEAT_LAST ||
        (h->random[0] | h->random[1] | h->random[2] | h->random[3]) == 0)
        return hw_err_set(err, HW_EINVAL, "has a broken head");
    const struct hw_snapshot_shape shape = hw_snapshot_measure(e, h->position);
    if (h->vocab != e->conf.vocab || h->pair_bytes != shape.pair_bytes || h->pairs != shape.pairs ||
        h->kept > shape.pairs ||
        h->body_bytes != shape.map_bytes + h->kept * shape.pair_bytes + shape.open_bytes)
        return hw_err_set(err, HW_EINVAL, "has sizes that are not this model's");
    uint64_t wanted = sizeof(*h) + h->lately_count * sizeof(uint32_t) + h->waiting_bytes +
                      h->vocab * sizeof(float) + h->body_bytes + DIGEST_BYTES;
    if (file_bytes != wanted)
        return hw_err_set(err, HW_EINVAL, "has %llu bytes where its head says %llu",
                          (unsigned long long)file_bytes, (unsigned long long)wanted);
    return 0;
}

static int
check_generator(const struct hw_sampler_state *generator, uint32_t vocab, struct hw_err *err)
{
    for (uint32_t i = 0; i < generator->lately_count; i++)
        if (generator->lately[i] >= vocab)
            return hw_err_set(err, HW_EINVAL, "has a token %u, outside the vocabulary of %u",
                              generator->lately[i], vocab);
    return 0;
}

/* The map must have as many bits as there are pairs, and none behind them. */
static int
check_map(const struct hw_bdh_snapshot *s, const struct hw_snapshot_shape *shape,
          struct hw_err *err)
{
    size_t bits = 0;

    for (size_t i = 0; i < shape->map_bytes; i++)
        bits += (size_t)__builtin_popcount(s->body[i]);
    if (bits != s->kept ||
        (shape->pairs % 8 != 0 && s->body[shape->map_bytes - 1] >> shape->pairs % 8 != 0))
        return hw_err_set(err, HW_EINVAL, "has a map of %zu pairs of rows where it holds %zu", bits,
                          s->kept);
    return 0;
}

/* A scale is a size as fold8 writes it. */
static int
check_scales(const struct hw_bdh_snapshot *s, const struct hw_snapshot_shape *shape,
             struct hw_err *err)
{
    const uint8_t *pair = s->body + shape->map_bytes;

    for (size_t i = 0; s->precision == HW_BDH_FAST && i < s->kept; i++) {
        float scale;
        memcpy(&scale, pair + shape->row_bytes, sizeof(scale));
        if (!(scale > 0.0f && scale <= HW_MAX_SCALE8))
            return hw_err_set(err, HW_EINVAL, "has a pair of rows whose scale is %g",
                              (double)scale);
        pair += shape->pair_bytes;
    }
    return 0;
}

/* Pairs are touched by tokens of the open block: by no others, whose q and x would be read. */
static int
check_touched(const struct hw_bdh_snapshot *s, const struct hw_snapshot_shape *shape,
              struct hw_err *err)
{
    size_t bytes = shape->slots > 0 ? shape->places * shape->touched_bytes : 0;

    for (size_t at = s->body_bytes - bytes; at < s->body_bytes; at += sizeof(uint32_t)) {
        uint32_t touched;
        memcpy(&touched, s->body + at, sizeof(touched));
        if (touched >> shape->slots != 0)
            return hw_err_set(err, HW_EINVAL, "has pairs touched by more than its %zu open tokens",
                              shape->slots);
    }
    return 0;
}

static int
read_body(struct input *in, const struct hw_bdh_engine *e, const struct head *h,
          struct hw_bdh_saved *out, struct hw_err *err)
{
    const struct hw_snapshot_shape shape = hw_snapshot_measure(e, h->position);
    uint8_t stored[DIGEST_BYTES], digest[DIGEST_BYTES];

    out->logits = malloc(h->vocab * sizeof(float));
    out->snapshot = hw_snapshot_make(e, h->position, (size_t)h->kept);
    if (out->logits == NULL || out->snapshot == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for a state of %llu bytes",
                          (unsigned long long)h->body_bytes);
    memcpy(out->snapshot->history.chain, h->chain, sizeof(h->chain));
    memcpy(out->snapshot->history.recent, h->recent, sizeof(h->recent));
    memcpy(out->generator.random, h->random, sizeof(h->random));
    out->generator.lately_count = h->lately_count;
    out->waiting.len = h->waiting_bytes;
    int rc = take(in, out->generator.lately, h->lately_count * sizeof(uint32_t), err);
    if (rc == 0)
        rc = take(in, out->waiting.bytes, h->waiting_bytes, err);
    if (rc == 0)
        rc = take(in, out->logits, h->vocab * sizeof(float), err);
    if (rc == 0)
        rc = take(in, out->snapshot->body, (size_t)h->body_bytes, err);
    if (rc == 0)
        rc = hw_file_read(in->fd, stored, sizeof(stored), in->at, err);
    if (rc != 0)
        return rc;
    crypto_generichash_final(&in->hash, digest, sizeof(digest));
    if (memcmp(stored, digest, sizeof(digest)) != 0)
        return hw_err_set(err, HW_EINVAL, "is damaged: its checksum does not fit");
    if ((rc = check_generator(&out->generator, h->vocab, err)) != 0)
        return rc;
    if ((rc = check_map(out->snapshot, &shape, err)) != 0 ||
        (rc = check_scales(out->snapshot, &shape, err)) != 0)
        return rc;
    return check_touched(out->snapshot, &shape, err);
}

static int
read_saved(int fd, const struct hw_bdh_engine *e, struct hw_bdh_saved *out, struct hw_err *err)
{
    struct input in = {.fd = fd};
    struct stat st;
    struct head head;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return hw_err_set(err, HW_EINVAL, "is no regular file");
    in.bytes = (uint64_t)st.st_size;
    crypto_generichash_init(&in.hash, NULL, 0, DIGEST_BYTES);
    if (in.bytes < sizeof(head))
        return hw_err_set(err, HW_EINVAL, "is no saved state");
    int rc = take(&in, &head, sizeof(head), err);
    if (rc == 0)
        rc = check_head(&head, e, in.bytes, err);
    return rc == 0 ? read_body(&in, e, &head, out, err) : rc;
}

int
hw_bdh_saved_read(const struct hw_bdh_engine *engine, const char *path, struct hw_bdh_saved *out,
                  struct hw_err *err)
{
    struct hw_bdh_saved saved = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
    int rc = fd < 0 ? hw_err_set(err, errno == ENOENT ? HW_ENOTFOUND : HW_EIO, "cannot open: %s",
                                 strerror(errno))
                    : read_saved(fd, engine, &saved, err);

    if (fd >= 0)
        close(fd);
    if (rc != 0) {
        hw_bdh_saved_free(&saved);
        hw_err_prefix(err, "%s", path);
        return rc;
    }
    *out = saved;
    return 0;
}

/* policies/learn_file.c - a model as bytes, and back.
 *
 *     "hatchlrn"  u32 version  u32 bits  u32 classes  u32 idf^2 of the unseen  u32 features
 *     f32 scale  f32 threshold  f32 slope  f32 offset
 *     classes times: u16 length, label
 *     f32 bias [classes]
 *     rows [2^bits][stride]: i8 head [3], i8 weight [classes], zeros up to a multiple of 16
 *         (the head: HW_LEARN_ROW_HEAD in learn_private.h)
 *
 * `features` is the version of how a text becomes buckets: they mean nothing in another.
 *
 * All little-endian. The file is as long as its header says and not a byte longer; every number is
 * checked, so that whatever passes can be answered with. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policies/learn_private.h"

#define MAGIC "hatchlrn"
#define MAGIC_BYTES 8
#define VERSION 3u

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "rows are written as they lie in memory"
#endif

int
hw_learned_write(const struct hw_learned *learned, struct hw_buf *out)
{
    uint32_t head[5] = {VERSION, learned->bits, (uint32_t)learned->class_count, learned->unseen,
                        HW_FEATURES_VERSION};
    float curve[4] = {learned->scale, learned->threshold, learned->slope, learned->offset};

    hw_buf_append(out, MAGIC, MAGIC_BYTES);
    hw_buf_append(out, head, sizeof(head));
    hw_buf_append(out, curve, sizeof(curve));
    for (size_t c = 0; c < learned->class_count; c++) {
        uint16_t len = (uint16_t)strlen(learned->labels[c]);
        hw_buf_append(out, &len, sizeof(len));
        hw_buf_append(out, learned->labels[c], len);
    }
    hw_buf_append(out, learned->bias, learned->class_count * sizeof(float));
    hw_buf_append(out, learned->rows, learned->stride << learned->bits);
    return out->failed ? HW_ELIMIT : 0;
}

struct source {
    const uint8_t *at;
    size_t left;
};

static bool
take(struct source *source, void *to, size_t len)
{
    if (source->left < len)
        return false;
    memcpy(to, source->at, len);
    source->at += len;
    source->left -= len;
    return true;
}

static bool
take_labels(struct source *source, struct hw_learned *learned)
{
    for (size_t c = 0; c < learned->class_count; c++) {
        uint16_t len;
        if (!take(source, &len, sizeof(len)) || source->left < len ||
            !hw_learn_label_ok((const char *)source->at, len))
            return false;
        learned->labels[c] = calloc((size_t)len + 1, 1);
        if (learned->labels[c] == NULL || !take(source, learned->labels[c], len))
            return false;
    }
    return true;
}

static bool
take_body(struct source *source, struct hw_learned *learned)
{
    size_t rows = learned->stride << learned->bits;

    if (!take_labels(source, learned) ||
        !take(source, learned->bias, learned->class_count * sizeof(float)))
        return false;
    for (size_t c = 0; c < learned->class_count; c++)
        if (!isfinite(learned->bias[c]))
            return false;
    return source->left == rows && take(source, learned->rows, rows);
}

int
hw_learned_read(const void *bytes, size_t len, struct hw_learned **out, struct hw_err *err)
{
    struct source source = {bytes, len};
    char magic[MAGIC_BYTES];
    uint32_t head[5];
    float curve[4];

    if (!take(&source, magic, sizeof(magic)) || memcmp(magic, MAGIC, MAGIC_BYTES) != 0)
        return hw_err_set(err, HW_EINVAL, "this is no model of `hatchway policy train`");
    if (!take(&source, head, sizeof(head)) || !take(&source, curve, sizeof(curve)))
        return hw_err_set(err, HW_EINVAL, "the model is cut off");
    if (head[0] != VERSION)
        return hw_err_set(err, HW_EINVAL, "the model has version %u, this program reads %u",
                          head[0], VERSION);
    if (head[4] != HW_FEATURES_VERSION)
        return hw_err_set(err, HW_EINVAL, "another version read the model's texts; train it again");
    if (head[1] < HW_FEATURE_BITS_MIN || head[1] > HW_FEATURE_BITS_MAX || head[2] == 0 ||
        head[2] > HW_LEARN_CLASSES_MAX || head[3] > UINT16_MAX || !isfinite(curve[0]) ||
        isnan(curve[1]) || !isfinite(curve[2]) || !isfinite(curve[3]))
        return hw_err_set(err, HW_EINVAL, "the model's header is damaged");
    /* Before memory is taken: a short file may not ask for much. */
    if (source.left < hw_learned_stride(head[2]) << head[1])
        return hw_err_set(err, HW_EINVAL, "the model is cut off");
    struct hw_learned *learned = hw_learned_create(head[1], head[2]);
    if (learned == NULL)
        return hw_err_set(err, HW_ENOMEM, "no memory for a model of %u classes", head[2]);
    learned->unseen = (uint16_t)head[3];
    learned->scale = curve[0];
    learned->threshold = curve[1];
    learned->slope = curve[2];
    learned->offset = curve[3];
    if (!take_body(&source, learned)) {
        hw_learned_destroy(&learned);
        return hw_err_set(err, HW_EINVAL, "the model is damaged or has bytes too many");
    }
    *out = learned;
    return 0;
}

/* config/fit.h - whether a model fits the device it is to run on. Pure.
 *
 * What it needs is parameters x bits / 8 x 1.2: the fifth on top is for what a runtime keeps beside
 * the weights (activations, a context of ordinary length). An estimate to decide by, no promise. */
#ifndef HW_CONFIG_FIT_H
#define HW_CONFIG_FIT_H

#include "config/snapshot.h"

/* From a name such as qwen2.5:14b, llama3.1:8b-q4_K_M, mixtral-8x7b-awq. False: it gives no size.
 * *bits is 0 when it gives none. */
bool hw_fit_read_name(const char *name, double *parameters, double *bits);

struct hw_fit {
    const char *model;
    const struct hw_conf_device *device;
    double parameters, bits;
    double need_bytes, have_bytes; /* have: of all devices that it is split over */
    uint32_t split;                /* over so many it is; 1 */
    uint32_t split_needed;         /* over so many of this memory it would have to be */
    uint32_t devices_there;        /* of the class, with a memory like this one's or more */
    bool fits;
};

/* False: the size of the model or the memory of the device is not known. parameters: 0 when only
 * the model's name or the YAML can tell. */
bool hw_fit_compute(const struct hw_snapshot *snapshot, const struct hw_conf_backend *backend,
                    const char *model, double parameters, struct hw_fit *out);
/* The decision that the numbers call for: one device, split over n, or smaller specialists. */
void hw_fit_tell(const struct hw_fit *fit, char *out, size_t size);

#endif

/* config/fit.c - see fit.h. */
#include "config/fit.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define OVERHEAD 1.2
#define GIB (1024.0 * 1024 * 1024)
#define TOKENS "-_:/.@ "

/* --- names ----------------------------------------------------------------------------------- */

/* "14b" "3.8B" "135m" "8x7b" */
static bool
read_size(const char *text, size_t len, double *parameters)
{
    char *end;
    double n = strtod(text, &end), factor = 1;
    if (end == text || !isdigit((unsigned char)*text))
        return false;
    if (*end == 'x' || *end == 'X') {
        factor = n;
        char *rest = end + 1;
        n = strtod(rest, &end);
        if (end == rest || !isdigit((unsigned char)*rest))
            return false;
    }
    if (end + 1 != text + len || n <= 0 || n > 1e6 || factor <= 0 || factor > 1e4)
        return false;
    if (strchr("bB", *end) != NULL)
        *parameters = n * factor * 1e9;
    else if (strchr("mM", *end) != NULL)
        *parameters = n * factor * 1e6;
    else
        return false;
    return true;
}

/* "q4" "iq3" "fp8" "int8" "bf16" "f16" "awq" "mxfp4" */
static bool
read_bits(const char *text, size_t len, double *bits)
{
    static const struct {
        const char *word;
        double bits; /* 0: the number behind it */
    } words[] = {{"awq", 4}, {"gptq", 4}, {"iq", 0},    {"q", 0}, {"mxfp", 0}, {"nvfp", 0},
                 {"fp", 0},  {"bf", 0},   {"float", 0}, {"f", 0}, {"int", 0},  {"w", 0}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t word = strlen(words[i].word);
        if (len < word || strncasecmp(text, words[i].word, word) != 0)
            continue;
        if (words[i].bits > 0) {
            *bits = words[i].bits;
            return len == word;
        }
        char *end;
        long n = strtol(text + word, &end, 10);
        if (!isdigit((unsigned char)text[word]) || n < 1 || n > 32)
            continue;
        *bits = (double)n;
        return end == text + len || (*text == 'w' && *end == 'a'); /* w4a16 */
    }
    return false;
}

bool
hw_fit_read_name(const char *name, double *parameters, double *bits)
{
    double size = 0;
    *bits = 0;
    *parameters = 0;
    for (const char *at = name; *at != '\0';) {
        size_t len = strcspn(at, "-_:/@ ");
        if (size == 0 && !read_size(at, len, &size))
            size = 0;
        if (*bits == 0 && !read_bits(at, len, bits))
            *bits = 0;
        at += len;
        at += strspn(at, TOKENS);
    }
    *parameters = size;
    return size > 0;
}

/* --- the decision ---------------------------------------------------------------------------- */

/* When neither the name nor the YAML says: what each kind runs by default. */
static double
usual_bits(const struct hw_conf_backend *backend)
{
    static const double bits[HW_KIND_COUNT] = {
        [HW_KIND_BDH] = 32, [HW_KIND_OLLAMA] = 4, [HW_KIND_OPENAI] = 16};
    return bits[backend->kind];
}

bool
hw_fit_compute(const struct hw_snapshot *snapshot, const struct hw_conf_backend *backend,
               const char *model, double parameters, struct hw_fit *out)
{
    const struct hw_conf_device *device = backend->on;
    double named = 0, bits = 0;
    if (device == NULL || device->memory == 0)
        return false;
    hw_fit_read_name(model, &named, &bits);
    if (backend->model != NULL) /* a worker holds it in f32, whatever the file has */
        bits = 0;
    if (backend->parameters > 0)
        parameters = backend->parameters;
    if (parameters <= 0)
        parameters = named;
    if (parameters <= 0)
        return false;
    if (backend->bits > 0)
        bits = backend->bits;
    *out = (struct hw_fit){.model = model,
                           .device = device,
                           .parameters = parameters,
                           .bits = bits > 0 ? bits : usual_bits(backend),
                           .split = backend->split > 0 ? backend->split : 1};
    out->need_bytes = parameters * out->bits / 8 * OVERHEAD;
    out->have_bytes = (double)device->memory * out->split;
    out->split_needed = (uint32_t)fmin(ceil(out->need_bytes / (double)device->memory), 1e6);
    for (size_t i = 0; i < snapshot->device_count; i++)
        out->devices_there += snapshot->devices[i].class == device->class &&
                              snapshot->devices[i].memory >= device->memory;
    out->fits = out->need_bytes <= out->have_bytes;
    return true;
}

static const char *
show_parameters(double parameters, char out[24])
{
    if (parameters < 1e9)
        snprintf(out, 24, "%.0fM", parameters / 1e6);
    else
        snprintf(out, 24, "%.3gB", parameters / 1e9);
    return out;
}

/* Fewer bits by which it would fit after all; 0: none that anybody uses. */
static double
fewer_bits(const struct hw_fit *fit)
{
    static const double used[] = {16, 8, 4};
    for (size_t i = 0; i < sizeof(used) / sizeof(used[0]); i++)
        if (used[i] < fit->bits && fit->parameters * used[i] / 8 * OVERHEAD <= fit->have_bytes)
            return used[i];
    return 0;
}

void
hw_fit_tell(const struct hw_fit *fit, char *out, size_t size)
{
    const char *name = fit->device->name, *class = hw_device_names[fit->device->class];
    char parameters[24], most[24];
    double bits = fewer_bits(fit);
    int n =
        snprintf(out, size,
                 "'%.60s' needs %.1f GiB (%s parameters x %g bits x 1.2), %.60s has "
                 "%.1f GiB: ",
                 fit->model, fit->need_bytes / GIB, show_parameters(fit->parameters, parameters),
                 fit->bits, name, (double)fit->device->memory / GIB);
    if (n < 0 || (size_t)n >= size)
        return;
    out += n;
    size -= (size_t)n;
    if (fit->fits && fit->split == 1) {
        snprintf(out, size, "one device");
        return;
    }
    if (fit->fits) {
        snprintf(out, size, "split over %u, as it says", fit->split);
        return;
    }
    if (fit->split_needed <= fit->devices_there)
        n = snprintf(out, size, "split it over %u of the %u %s devices (split: %u)",
                     fit->split_needed, fit->devices_there, class, fit->split_needed);
    else
        n = snprintf(out, size,
                     "it would take %u such devices and there %s %u: smaller specialists instead, "
                     "to %s parameters a device",
                     fit->split_needed, fit->devices_there == 1 ? "is" : "are", fit->devices_there,
                     show_parameters((double)fit->device->memory * 8 / fit->bits / OVERHEAD, most));
    if (bits > 0 && n > 0 && (size_t)n < size)
        snprintf(out + n, size - (size_t)n, "; with %g bits it fits as it is", bits);
}

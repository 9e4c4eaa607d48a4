/* policies/usual.c - see usual.h.
 *
 * The first samples are only learned from: a prior is no usual. After that each moves the memory by
 * a fiftieth, and an outlier by no more than one of four times the usual would: what has become
 * slow for good is the new usual after a hundred answers or so. */
#include "policies/usual.h"

#define LEARNING 20
#define ALPHA 0.02
#define OUTLIER 4.0
#define PATIENCE_MS 1000.0

bool
hw_usual_late(struct hw_usual *usual, double first_ms, double ahead_ms, uint32_t times)
{
    double start_ms = first_ms > ahead_ms ? first_ms - ahead_ms : 0;
    bool known = usual->samples >= LEARNING;
    bool late = known && times > 0 && first_ms > times * (usual->start_ms + ahead_ms) &&
                first_ms > usual->start_ms + ahead_ms + PATIENCE_MS;
    double alpha = known ? ALPHA : 1.0 / (double)(usual->samples + 1);

    if (known && start_ms > usual->start_ms * OUTLIER)
        start_ms = usual->start_ms * OUTLIER;
    usual->start_ms += alpha * (start_ms - usual->start_ms);
    usual->samples++;
    return late;
}

/* engine/train_muon.h - Muon, an optimiser for matrices: momentum, orthogonalised.
 *
 * The momentum of a matrix is replaced by the nearest matrix with all singular values about 1
 * (Newton-Schulz iterations), so that rare directions of the gradient, such as those of one fact
 * among hundreds, count as much as common ones. Jordan et al. 2024; scaled by 0.2 sqrt(max(rows,
 * columns)) as in Liu et al. 2025, so that AdamW's learning rates and weight decay carry over. */
#ifndef HW_ENGINE_TRAIN_MUON_H
#define HW_ENGINE_TRAIN_MUON_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/blas.h"
#include "hatchway/err.h"

struct hw_muon; /* one thread's scratch for matrices of one size */

int hw_muon_create(size_t rows, size_t columns, const struct hw_blas *blas, struct hw_muon **out,
                   struct hw_err *err);
void hw_muon_destroy(struct hw_muon **muon); /* NULL-safe, nulls it */

struct hw_muon_step {
    float lr, momentum, decay;
};
/* One step of a matrix [rows, columns], or with `transposed` of one that lies as [columns, rows].
 */
void hw_muon_step(struct hw_muon *muon, bool transposed, const struct hw_muon_step *step, float *w,
                  const float *grad, float *m);

#endif

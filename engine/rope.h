/* engine/rope.h - rotary position: the angles of one position.
 *
 * BDH turns each pair of neurons (2i, 2i+1) by freqs * position turns. The phase is taken as the
 * reference takes it: in f32, rounded once after the product. */
#ifndef HW_ENGINE_ROPE_H
#define HW_ENGINE_ROPE_H

#include <stddef.h>
#include <stdint.h>

/* freqs [n] in turns per position, n even; fills cosines [n] and sines [n]. */
void hw_rope_angles(const float *freqs, size_t n, uint64_t position, float *cosines, float *sines);
/* The same with the product in double, which far out (beyond some 100,000 positions) is another
 * phase than the reference's, and the right one. */
void hw_rope_angles_wide(const float *freqs, size_t n, uint64_t position, float *cosines,
                         float *sines);

#endif

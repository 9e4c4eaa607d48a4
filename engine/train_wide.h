/* engine/train_wide.h - marks a loop to be compiled for the wide vector units too.
 *
 * Not under the sanitizers, since an ifunc's resolver runs before they are up; clang spells the
 * feature differently: there the plain build must do. sqrtf that may set errno would not
 * vectorise. */
#ifndef HW_ENGINE_TRAIN_WIDE_H
#define HW_ENGINE_TRAIN_WIDE_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HW_WIDE                                                                                    \
    __attribute__((target_clones("avx512f", "avx2", "default"),                                    \
                   optimize("no-math-errno", "no-trapping-math")))
#else
#define HW_WIDE
#endif

/* Before a loop whose arrays do not overlap, where `restrict` gets lost in inlining. */
#ifdef __clang__
#define HW_NO_OVERLAP _Pragma("clang loop vectorize(assume_safety)")
#else
#define HW_NO_OVERLAP _Pragma("GCC ivdep")
#endif

#endif

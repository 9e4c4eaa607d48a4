/* config/digest.h - what a part of a configuration is, as a number: parts with the same digest are
 * taken for the same. */
#ifndef HW_CONFIG_DIGEST_H
#define HW_CONFIG_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* FNV-1a, 64 bits, chained. Start with HW_CONF_DIGEST_START. A NULL text differs from an empty one.
 */
#define HW_CONF_DIGEST_START 0xcbf29ce484222325u
uint64_t hw_conf_digest_bytes(uint64_t digest, const void *bytes, size_t len);
uint64_t hw_conf_digest_text(uint64_t digest, const char *text);
uint64_t hw_conf_digest_number(uint64_t digest, uint64_t number);

#endif

/* Expectations beside a policy: what is taken is whole, what is not says why. */
#include <stdint.h>

#include "config/expectations.h"
#include "hatchway/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hw_expectations *all = NULL;
    struct hw_diags diags;
    int rc = hw_expectations_parse("/etc/hw/p.test.yaml", (const char *)data, size, &all, &diags);

    HW_ASSERT((rc == 0) == (diags.errors == 0) && (rc == 0) == (all != NULL));
    for (size_t i = 0; all != NULL && i < all->count; i++) {
        const struct hw_expectation *item = &all->items[i];
        HW_ASSERT((item->query == NULL) != (item->body == NULL) && item->line > 0);
        for (size_t j = 0; j < item->expect.role.count; j++)
            HW_ASSERT(item->expect.role.items[j].text != NULL);
    }
    HW_ASSERT(all == NULL || (all->policy != NULL && all->count > 0));
    hw_diags_free(&diags);
    hw_expectations_free(&all);
    return 0;
}

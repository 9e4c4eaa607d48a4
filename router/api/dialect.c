/* router/api/dialect.c - which dialect a path speaks. */
#include "router/api/dialect.h"

#include <string.h>

const struct hw_dialect *
hw_dialect_of_path(const char *path, size_t len)
{
    static const char bdh[] = "/api/bdh/";

    if (len >= sizeof(bdh) - 1 && memcmp(path, bdh, sizeof(bdh) - 1) == 0)
        return &hw_dialect_bdh;
    return &hw_dialect_openai;
}

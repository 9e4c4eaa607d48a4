/* tests/fuzz/replay.c - runs a fuzz target over the files of a folder, and over every prefix of
 * each.
 *
 * Each input is a block of exactly its size, so that a sanitizer sees a read behind its end. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SEED_BYTES (1L << 20)
#define MAX_PREFIXES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
run_one(const uint8_t *bytes, size_t len)
{
    uint8_t *input = malloc(len > 0 ? len : 1);
    if (input == NULL)
        abort();
    memcpy(input, bytes, len);
    LLVMFuzzerTestOneInput(input, len);
    free(input);
}

/* A large seed is cut at MAX_PREFIXES places, spread evenly. */
static void
run_prefixes(const uint8_t *bytes, size_t len)
{
    size_t step = len / MAX_PREFIXES + 1;
    for (size_t cut = 0; cut < len; cut += step)
        run_one(bytes, cut);
    run_one(bytes, len);
}

static int
replay_file(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(MAX_SEED_BYTES);
    if (file == NULL || bytes == NULL) {
        perror(path);
        return -1;
    }
    size_t len = fread(bytes, 1, MAX_SEED_BYTES, file);
    fclose(file);
    run_prefixes(bytes, len);
    free(bytes);
    return 0;
}

int
main(int argc, char **argv)
{
    int seeds = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (folder == NULL) {
            perror(argv[i]);
            return 1;
        }
        struct dirent *entry;
        while ((entry = readdir(folder)) != NULL) {
            if (entry->d_name[0] == '.')
                continue;
            if (replay_file(argv[i], entry->d_name) != 0)
                return 1;
            seeds++;
        }
        closedir(folder);
    }
    printf("%d seeds replayed\n", seeds);
    return seeds > 0 ? 0 : 1;
}

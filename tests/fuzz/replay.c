/*
 * Goal: a fuzz driver runs without libFuzzer, so that its corpus is part of `make test`.
 *
 * Gives each file named on the command line, or found in a folder named there, to
 * LLVMFuzzerTestOneInput; a fault ends the program.  The last line says how many there were.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
die(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(1);
}

/*
 * The bytes are in a block of exactly their size, so that the sanitizer sees a read past the end.
 */
static void
replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        die(path);
    const long size = ftell(file);
    if (size < 0)
        die(path);
    rewind(file);

    uint8_t *bytes = malloc(size > 0 ? (size_t)size : 1);
    if (bytes == NULL || fread(bytes, 1, (size_t)size, file) != (size_t)size)
        die(path);
    fclose(file);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(bytes, (size_t)size);
    free(bytes);
}

static int
replay(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);

    if (folder == NULL) {
        replay_file(path);
        return 1;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char name[4096];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        replay_file(name);
        count++;
    }
    closedir(folder);
    return count;
}

int
main(int argc, char **argv)
{
    int count = 0;

    for (int i = 1; i < argc; i++)
        count += replay(argv[i]);
    printf("%d passed, 0 failed, 0 skipped\n", count);
    return 0;
}

/* Images as text, for the program tests.
 * pixels write F.png CHANNELS HEIGHT WIDTH VALUE... (the values are repeated to fill the image), pixels print F: the sizes
 * "CHANNELS HEIGHT WIDTH", then a line a row. */
#include "fovea.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *sentence) {
    fprintf(stderr, "pixels: %s\n", sentence);
    return 1;
}

static int print_image(fv_context *c, const char *path) {
    fv_image i;
    if (fv_image_read(c, path, FV_IMAGE_STORED, &i) != FV_OK) return fail(fv_last_error());
    printf("%d %d %d\n", i.channels, i.height, i.width);
    for (int32_t y = 0; y < i.height; y++)
        for (int32_t x = 0; x < i.width * i.channels; x++)
            printf("%d%c", i.pixels[y * i.width * i.channels + x], x + 1 < i.width * i.channels ? ' ' : '\n');
    fv_image_free(&i);
    return 0;
}

static int write_image(fv_context *c, int argc, char **argv) {
    fv_image i = {.channels = atoi(argv[3]), .height = atoi(argv[4]), .width = atoi(argv[5])};
    const size_t count = (size_t)i.channels * (size_t)i.height * (size_t)i.width;
    i.pixels = malloc(count ? count : 1);
    if (!i.pixels) return fail("out of memory");
    for (size_t k = 0; k < count; k++) i.pixels[k] = (uint8_t)atoi(argv[6 + k % (size_t)(argc - 6)]);
    const fv_status status = fv_image_write_png(c, argv[2], &i);
    free(i.pixels);
    return status == FV_OK ? 0 : fail(fv_last_error());
}

int main(int argc, char **argv) {
    fv_context *c = NULL;
    if (fv_context_create(NULL, &c) != FV_OK) return fail(fv_last_error());
    int status = 2;
    if (argc == 3 && strcmp(argv[1], "print") == 0) status = print_image(c, argv[2]);
    if (argc > 6 && strcmp(argv[1], "write") == 0) status = write_image(c, argc, argv);
    fv_context_free(c);
    return status;
}

/* A PNG or JPEG file, with every number of channels. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fv_context *c = fuzz_enter();
    const char *path = fuzz_file("i.png", data, size);
    for (int32_t channels = FV_IMAGE_STORED; channels <= 4; channels++) {
        fv_image i = {0};
        if (fv_image_read(c, path, channels, &i) != FV_OK) continue;
        unsigned sum = 0;
        for (size_t k = 0; k < (size_t)i.height * (size_t)i.width * (size_t)i.channels; k++) sum += i.pixels[k];
        fuzz_check(i.channels >= 1 && i.channels <= 4 && sum < UINT32_MAX, "an image without channels");
        fv_image_free(&i);
    }
    fuzz_leave(c);
    return 0;
}

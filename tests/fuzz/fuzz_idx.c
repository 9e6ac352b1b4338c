/* A data set: two bytes say where labels end and images begin; as IDX files and as CIFAR-10 batches. */
#include "fuzz.h"

static void look(fv_context *c, const char *kind) {
    char spec[128];
    fv_dataset_settings settings;
    fv_dataset *d = NULL;
    fv_dataset_info info;
    fv_dataset_settings_default(&settings);
    settings.test = true;
    snprintf(spec, sizeof spec, "%s:%s", kind, fuzz_folder);
    if (fv_dataset_open(c, spec, &settings, &d) != FV_OK) return;
    fuzz_check(fv_dataset_get_info(d, &info) == FV_OK && info.count > 0, "an empty data set");
    for (int64_t i = 0; i < info.count; i++) {
        const uint8_t *pixels;
        int32_t label;
        unsigned sum = 0;
        fuzz_check(fv_dataset_item(d, i, &pixels, &label) == FV_OK && label >= 0 && label < info.classes, "a label out of range");
        for (size_t k = 0; k < (size_t)info.height * (size_t)info.width * (size_t)info.channels; k++) sum += pixels[k];
        fuzz_check(sum < UINT32_MAX, "pixels");
    }
    fv_dataset_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    fv_context *c = fuzz_enter();
    size_t labels = data[0] + 256u * data[1];
    data += 2;
    size -= 2;
    if (labels > size) labels = size;
    fuzz_file("t10k-labels-idx1-ubyte", data, labels);
    fuzz_file("t10k-images-idx3-ubyte", data + labels, size - labels);
    fuzz_file("test_batch.bin", data, size);
    look(c, "idx");
    look(c, "cifar10");
    fuzz_leave(c);
    return 0;
}

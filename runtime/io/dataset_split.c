/* What is made from a data set: two parts of it, and the moments of its channels. */
#include "core/rng.h"
#include "io/dataset.h"

#include <math.h>
#include <string.h>

/* ---- two parts ---- */

/* Marks `part` of `count` images: the first of a Fisher-Yates shuffle. */
static fv_status choose(const fv_dataset *d, int64_t part, uint64_t seed, bool **out) {
    const uint32_t count = (uint32_t)d->info.count;
    uint32_t *order = NULL;
    FV_FORWARD(fv_alloc_array(d->context, count, sizeof *order, "the order of images", (void **)&order));
    const fv_status status = fv_alloc_array(d->context, count, sizeof **out, "a part of a data set", (void **)out);
    for (uint32_t i = 0; status == FV_OK && i < count; i++) {
        order[i] = i;
        (*out)[i] = false;
    }
    for (uint32_t i = 0; status == FV_OK && i < (uint32_t)part; i++) {
        const uint32_t k = i + fv_rng_below(seed, FV_PURPOSE_SPLIT, 0, i, count - i), kept = order[k];
        order[k] = order[i];
        (*out)[kept] = true;
    }
    fv_release(d->context, order);
    return status;
}

static fv_status copy_marked(const fv_dataset *d, const bool *marks, bool wanted, int64_t count, fv_dataset **out) {
    fv_dataset *part = NULL;
    FV_FORWARD(fv_alloc_zero(d->context, sizeof *part, "a data set", (void **)&part));
    part->context = fv_context_retain(d->context);
    atomic_init(&part->references, 1);
    fv_status status = fv_dataset_allocate(part, (size_t)count, d->info.height, d->info.width, d->info.channels);
    if (status == FV_OK) status = fv_dataset_set_names(part, (const char *const *)d->names, (size_t)d->info.classes);
    const size_t bytes = fv_dataset_image_bytes(d);
    for (int64_t i = 0, to = 0; status == FV_OK && i < d->info.count; i++) {
        if (marks[i] != wanted) continue;
        memcpy(part->pixels + (size_t)to * bytes, d->pixels + (size_t)i * bytes, bytes);
        part->labels[to++] = d->labels[i];
    }
    if (status == FV_OK)
        *out = part;
    else
        fv_dataset_free(part);
    return status;
}

fv_status fv_dataset_split(const fv_dataset *d, double share, uint64_t seed, fv_dataset **rest, fv_dataset **part) {
    FV_RETURN_IF(!d || !rest || !part, FV_ERR_ARGUMENT, "fv_dataset_split needs a data set and places for two");
    FV_RETURN_IF(!(share > 0 && share < 1), FV_ERR_ARGUMENT, "a share of %g; it lies between 0 and 1", share);
    const int64_t count = d->info.count, wanted = (int64_t)floor(share * (double)count + 0.5);
    FV_RETURN_IF(wanted < 1 || wanted >= count, FV_ERR_ARGUMENT, "a share of %g leaves one part of %lld images empty",
                 share, (long long)count);
    bool *marks = NULL;
    fv_dataset *large = NULL, *small = NULL;
    fv_status status = choose(d, wanted, seed, &marks);
    if (status == FV_OK) status = copy_marked(d, marks, false, count - wanted, &large);
    if (status == FV_OK) status = copy_marked(d, marks, true, wanted, &small);
    fv_release(d->context, marks);
    if (status != FV_OK) {
        fv_dataset_free(large);
        return status;
    }
    *rest = large;
    *part = small;
    return FV_OK;
}

/* ---- moments ---- */

/* Sums of bytes and their squares are exact: at most 2^32 images of 2^26 pixels would pass 2^64, and memory ends
 * before. */
fv_status fv_dataset_moments(const fv_dataset *d, float *mean, float *deviation) {
    FV_RETURN_IF(!d || !mean || !deviation, FV_ERR_ARGUMENT,
                 "fv_dataset_moments needs a data set and places for the values");
    const size_t channels = (size_t)d->info.channels, bytes = fv_dataset_image_bytes(d) * (size_t)d->info.count;
    const double pixels = (double)(bytes / channels);
    for (size_t c = 0; c < channels; c++) {
        uint64_t sum = 0, squares = 0;
        for (size_t i = c; i < bytes; i += channels) {
            sum += d->pixels[i];
            squares += (uint64_t)d->pixels[i] * d->pixels[i];
        }
        const double m = (double)sum / pixels, variance = (double)squares / pixels - m * m;
        mean[c] = (float)(m / 255);
        deviation[c] = variance > 0 ? (float)(sqrt(variance) / 255) : 1;
    }
    return FV_OK;
}

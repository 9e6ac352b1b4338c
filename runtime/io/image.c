#include "io/image.h"

#include "core/file.h"

#include <string.h>

/* ---- making one ---- */

fv_status fv_image_check(uint64_t height, uint64_t width) {
    FV_RETURN_IF(height < 1 || width < 1 || height > fv_largest_image || width > fv_largest_image ||
                     height * width > fv_largest_image,
                 FV_ERR_LIMIT, "an image of %llux%llu; 1 to %d pixels are allowed", (unsigned long long)height,
                 (unsigned long long)width, fv_largest_image);
    return FV_OK;
}

fv_status fv_image_allocate(const fv_context *c, int32_t height, int32_t width, int32_t channels, fv_image *out) {
    fv_image image = {.height = height, .width = width, .channels = channels};
    FV_FORWARD(fv_image_check((uint64_t)height, (uint64_t)width));
    FV_FORWARD(fv_alloc(c, (size_t)height * (size_t)width * (size_t)channels, "an image", (void **)&image.pixels));
    image.owner = fv_context_retain(c);
    *out = image;
    return FV_OK;
}

void fv_image_free(fv_image *i) {
    if (!i || !i->owner) return;
    fv_release(i->owner, i->pixels);
    fv_context_free(i->owner);
    *i = (fv_image){0};
}

/* ---- reading ---- */

static const struct {
    uint8_t first[8];
    size_t bytes;
    fv_image_decoder decode;
} formats[] = {
    {{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, 8, fv_image_decode_png},
    {{0xff, 0xd8, 0xff}, 3, fv_image_decode_jpeg},
};

static fv_status decode(const fv_context *c, const char *path, bool only_header, fv_image *out) {
    fv_mapping file;
    FV_FORWARD(fv_map_file(path, &file));
    fv_status status = fv_fail(FV_ERR_UNSUPPORTED, "neither a PNG nor a JPEG file by its first bytes");
    for (size_t i = 0; i < FV_ARRAY_SIZE(formats); i++)
        if (file.bytes >= formats[i].bytes && memcmp(file.data, formats[i].first, formats[i].bytes) == 0)
            status = formats[i].decode(c, file.data, file.bytes, only_header, out);
    if (status == FV_OK && (status = fv_check_mapping(&file, "the file")) != FV_OK && !only_header) fv_image_free(out);
    fv_unmap_file(&file);
    return status == FV_OK ? FV_OK : fv_fail_within(status, "%s", path);
}

fv_status fv_image_probe(const fv_context *c, const char *path, fv_image *out) { return decode(c, path, true, out); }

static bool has_alpha(int32_t channels) { return channels == 2 || channels == 4; }
static int32_t without_alpha(int32_t channels) { return channels - has_alpha(channels); }

/* One pixel to `to` channels: where they have no alpha, what the pixel's leaves of it on black. */
static void convert_pixel(const uint8_t *in, int32_t from, int32_t to, uint8_t *out) {
    const int32_t colors = without_alpha(from);
    const uint32_t alpha = has_alpha(from) ? in[colors] : 255u;
    uint8_t v[3];
    for (int32_t c = 0; c < 3; c++) {
        v[c] = in[colors == 3 ? c : 0];
        if (!has_alpha(to)) v[c] = (uint8_t)((v[c] * alpha + 127u) / 255u);
    }
    if (without_alpha(to) == 3)
        memcpy(out, v, 3);
    else
        *out = colors == 1 ? *v : (uint8_t)((299u * v[0] + 587u * v[1] + 114u * v[2] + 500u) / 1000u);
    if (has_alpha(to)) out[to - 1] = (uint8_t)alpha;
}

static void convert(const fv_image *in, fv_image *out) {
    const size_t pixels = (size_t)in->height * (size_t)in->width, from = (size_t)in->channels,
                 to = (size_t)out->channels;
    for (size_t i = 0; i < pixels; i++)
        convert_pixel(in->pixels + i * from, in->channels, out->channels, out->pixels + i * to);
}

fv_status fv_image_read(fv_context *c, const char *path, int32_t channels, fv_image *out) {
    FV_RETURN_IF(!c || !path || !out, FV_ERR_ARGUMENT,
                 "fv_image_read needs a context, a path and a place for the image");
    FV_RETURN_IF(channels < FV_IMAGE_STORED || channels > 4, FV_ERR_ARGUMENT, "images have 1 to 4 channels, not %d",
                 channels);
    fv_image read, converted;
    FV_FORWARD(decode(c, path, false, &read));
    if (channels == 0) channels = without_alpha(read.channels);
    if (channels == FV_IMAGE_STORED || channels == read.channels) {
        *out = read;
        return FV_OK;
    }
    const fv_status status = fv_image_allocate(c, read.height, read.width, channels, &converted);
    if (status == FV_OK) {
        convert(&read, &converted);
        *out = converted;
    }
    fv_image_free(&read);
    return status;
}

/* ---- resizing ---- */

/* One axis in whole numbers: output i is the sum of weight(j) * input j over [begin, end), divided by `total`.
 * Down: output i covers [i*in, (i+1)*in) and input j [j*out, (j+1)*out) of in*out units; the weight is the overlap.
 * Up: the centre of output i lies between two inputs' centres, in units of 1/(2*out); beyond the edge counts the edge.
 */
typedef struct axis {
    uint64_t in, out, total;
} axis;

typedef struct span {
    uint64_t begin, end, first_weight, last_weight; /* those between weigh `out` (down only) */
} span;

static axis axis_of(int32_t in, int32_t out) {
    return (axis){(uint64_t)in, (uint64_t)out, out < in ? (uint64_t)in : 2 * (uint64_t)out};
}

static span span_of(const axis *a, uint64_t i) {
    if (a->out < a->in) {
        const uint64_t from = i * a->in, to = from + a->in;
        const uint64_t begin = from / a->out, end = (to + a->out - 1) / a->out; /* at least two inputs */
        return (span){begin, end, (begin + 1) * a->out - from, to - (end - 1) * a->out};
    }
    const uint64_t centre = (2 * i + 1) * a->in;
    if (centre < a->out) return (span){0, 1, a->total, 0};
    const uint64_t at = centre - a->out, low = at / a->total, rest = at % a->total;
    if (rest == 0 || low + 1 >= a->in) return (span){low, low + 1, a->total, 0};
    return (span){low, low + 2, a->total - rest, rest};
}

static inline uint64_t weight_of(const axis *a, const span *s, uint64_t j) {
    return j == s->begin ? s->first_weight : j + 1 == s->end ? s->last_weight : a->out;
}

static void add_row(const axis *a, const uint8_t *row, uint64_t channels, uint64_t weight, uint64_t *sums) {
    for (uint64_t x = 0; x < a->out; x++) {
        const span s = span_of(a, x);
        for (uint64_t c = 0; c < channels; c++) {
            uint64_t sum = 0;
            for (uint64_t j = s.begin; j < s.end; j++) sum += weight_of(a, &s, j) * row[j * channels + c];
            sums[x * channels + c] += weight * sum;
        }
    }
}

/* sums: [width*channels]. At most 2^27 * 2^27 * 255 < 2^62. */
static void resize(const fv_image *in, fv_image *out, uint64_t *sums) {
    const axis vertical = axis_of(in->height, out->height), horizontal = axis_of(in->width, out->width);
    const uint64_t channels = (uint64_t)in->channels, total = vertical.total * horizontal.total;
    const size_t in_row = (size_t)in->width * channels, out_row = (size_t)out->width * channels;
    for (uint64_t y = 0; y < vertical.out; y++) {
        const span s = span_of(&vertical, y);
        memset(sums, 0, out_row * sizeof *sums);
        for (uint64_t j = s.begin; j < s.end; j++)
            add_row(&horizontal, in->pixels + j * in_row, channels, weight_of(&vertical, &s, j), sums);
        for (size_t i = 0; i < out_row; i++) out->pixels[y * out_row + i] = (uint8_t)((sums[i] + total / 2) / total);
    }
}

static fv_status check_image(const char *function, const fv_image *i) {
    FV_RETURN_IF(!i->pixels || (i->channels != 1 && i->channels != 3), FV_ERR_ARGUMENT,
                 "%s: the image has no pixels or %d channels", function, i->channels);
    return fv_image_check(i->height < 0 ? 0 : (uint64_t)i->height, i->width < 0 ? 0 : (uint64_t)i->width);
}

fv_status fv_image_resize(fv_context *c, const fv_image *in, int32_t height, int32_t width, fv_image *out) {
    FV_RETURN_IF(!c || !in || !out, FV_ERR_ARGUMENT,
                 "fv_image_resize needs a context, an image and a place for the new one");
    FV_FORWARD(check_image("fv_image_resize", in));
    FV_FORWARD(fv_image_check(height < 0 ? 0 : (uint64_t)height, width < 0 ? 0 : (uint64_t)width));
    uint64_t *sums;
    fv_image scaled;
    FV_FORWARD(fv_alloc_array(c, (size_t)width * (size_t)in->channels, sizeof *sums, "a row of sums", (void **)&sums));
    const fv_status status = fv_image_allocate(c, height, width, in->channels, &scaled);
    if (status == FV_OK) {
        if (in->height == height && in->width == width)
            memcpy(scaled.pixels, in->pixels, (size_t)height * (size_t)width * (size_t)in->channels);
        else
            resize(in, &scaled, sums);
        *out = scaled;
    }
    fv_release(c, sums);
    return status;
}

#include "core/file.h"
#include "io/image.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

enum { chunk_bytes = 8 << 20, deflate_ratio = 1032 };

/* Everything both sides of setjmp look at. */
typedef struct png_work {
    const fv_context *context;
    const uint8_t *data; /* reading */
    size_t bytes, at;
    fv_writer *writer; /* writing */
    png_structp png;
    png_infop info;
    fv_image image;
    fv_status status; /* of a failure that is not the file's */
    char why[128];
} png_work;

static void *png_alloc(png_structp png, png_alloc_size_t bytes) {
    png_work *w = png_get_mem_ptr(png);
    void *memory = NULL;
    const fv_status status = fv_alloc(w->context, bytes, "a PNG image", &memory);
    if (status != FV_OK) w->status = status;
    return memory;
}

static void png_release(png_structp png, void *memory) {
    const png_work *w = png_get_mem_ptr(png);
    fv_release(w->context, memory);
}

static void on_error(png_structp png, png_const_charp message) {
    png_work *w = png_get_error_ptr(png);
    snprintf(w->why, sizeof w->why, "%s", message);
    longjmp(png_jmpbuf(png), 1);
}

static void on_warning(png_structp png, png_const_charp message) { (void)png, (void)message; }

/* ---- reading ---- */

static void read_bytes(png_structp png, png_bytep to, size_t bytes) {
    png_work *w = png_get_io_ptr(png);
    if (bytes > w->bytes - w->at) png_error(png, "the file is truncated");
    memcpy(to, w->data + w->at, bytes);
    w->at += bytes;
}

/* Everything becomes 8-bit grey, grey and alpha, RGB or RGBA. */
static void set_conversions(png_work *w) {
    png_set_expand(w->png); /* palettes, fewer than 8 bits, a transparent colour */
    png_set_scale_16(w->png);
    png_set_interlace_handling(w->png);
    png_read_update_info(w->png, w->info);
}

static bool read_header(png_work *w, bool only_header) {
    png_set_read_fn(w->png, w, read_bytes);
    png_set_user_limits(w->png, fv_largest_image, fv_largest_image);
    png_set_chunk_malloc_max(w->png, chunk_bytes);
    png_read_info(w->png, w->info);
    const uint32_t height = png_get_image_height(w->png, w->info), width = png_get_image_width(w->png, w->info);
    w->image.channels = png_get_color_type(w->png, w->info) & PNG_COLOR_MASK_COLOR ? 3 : 1;
    if ((w->status = fv_image_check(height, width)) != FV_OK) return false;
    w->image.height = (int32_t)height;
    w->image.width = (int32_t)width;
    /* What the file cannot hold, however well it is packed, is not allocated. */
    if (!only_header && png_get_rowbytes(w->png, w->info) * height / deflate_ratio > w->bytes)
        png_error(w->png, "the file is truncated");
    return true;
}

static bool read_pixels(png_work *w) {
    set_conversions(w);
    const size_t row = png_get_rowbytes(w->png, w->info), height = (size_t)w->image.height;
    const size_t stored = png_get_channels(w->png, w->info);
    if (row != stored * (size_t)w->image.width || stored < 1 || stored > 4)
        png_error(w->png, "an unknown pixel format");
    w->status = fv_image_allocate(w->context, w->image.height, w->image.width, (int32_t)stored, &w->image);
    if (w->status != FV_OK) return false;
    const int passes = png_get_interlace_type(w->png, w->info) == PNG_INTERLACE_NONE ? 1 : PNG_INTERLACE_ADAM7_PASSES;
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < height; y++) png_read_row(w->png, w->image.pixels + y * row, NULL);
    png_read_end(w->png, NULL);
    return true;
}

static bool decode(png_work *w, bool only_header) {
    if (setjmp(png_jmpbuf(w->png))) return false;
    return read_header(w, only_header) && (only_header || read_pixels(w));
}

/* The sentence of a failed decode or encode. */
static fv_status failure(const png_work *w, const char *what) {
    return w->status != FV_OK ? w->status : fv_fail(FV_ERR_FORMAT, "%s: %s", what, w->why);
}

fv_status fv_image_decode_png(const fv_context *c, const uint8_t *data, size_t bytes, bool only_header, fv_image *out) {
    png_work w = {.context = c, .data = data, .bytes = bytes};
    w.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &w, on_error, on_warning, &w, png_alloc, png_release);
    w.info = w.png ? png_create_info_struct(w.png) : NULL;
    fv_status status = FV_OK;
    if (!w.info)
        status = fv_fail(FV_ERR_MEMORY, "out of memory for a PNG image");
    else if (!decode(&w, only_header))
        status = failure(&w, "damaged PNG");
    png_destroy_read_struct(&w.png, &w.info, NULL);
    if (status == FV_OK)
        *out = w.image;
    else
        fv_image_free(&w.image);
    return status;
}

/* ---- writing ---- */

static void write_bytes(png_structp png, png_bytep from, size_t bytes) {
    png_work *w = png_get_io_ptr(png);
    w->status = fv_writer_write(w->writer, from, bytes);
    if (w->status != FV_OK) png_error(png, "cannot write");
}

static void flush_nothing(png_structp png) { (void)png; }

static bool encode(png_work *w) {
    const fv_image *i = &w->image;
    if (setjmp(png_jmpbuf(w->png))) return false;
    png_set_user_limits(w->png, fv_largest_image, fv_largest_image);
    png_set_write_fn(w->png, w, write_bytes, flush_nothing);
    static const int kinds[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                PNG_COLOR_TYPE_RGB_ALPHA};
    png_set_IHDR(w->png, w->info, (uint32_t)i->width, (uint32_t)i->height, 8, kinds[i->channels - 1],
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    const size_t row = (size_t)i->width * (size_t)i->channels;
    for (int32_t y = 0; y < i->height; y++) png_write_row(w->png, i->pixels + (size_t)y * row);
    png_write_end(w->png, NULL);
    return true;
}

fv_status fv_image_write_png(fv_context *c, const char *path, const fv_image *i) {
    FV_RETURN_IF(!c || !path || !i, FV_ERR_ARGUMENT, "fv_image_write_png needs a context, a path and an image");
    FV_RETURN_IF(!i->pixels || i->channels < 1 || i->channels > 4, FV_ERR_ARGUMENT,
                 "%s: a PNG file takes pixels of 1 to 4 channels, not %d", path, i->channels);
    FV_FORWARD(fv_image_check(i->height < 0 ? 0 : (uint64_t)i->height, i->width < 0 ? 0 : (uint64_t)i->width));
    png_work w = {.context = c, .image = *i};
    FV_FORWARD(fv_writer_open(c, path, &w.writer));
    w.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &w, on_error, on_warning, &w, png_alloc, png_release);
    w.info = w.png ? png_create_info_struct(w.png) : NULL;
    fv_status status = FV_OK;
    if (!w.info)
        status = fv_fail(FV_ERR_MEMORY, "out of memory for a PNG image");
    else if (!encode(&w))
        status = failure(&w, path);
    png_destroy_write_struct(&w.png, &w.info);
    if (status == FV_OK) return fv_writer_commit(w.writer);
    fv_writer_abandon(w.writer);
    return status;
}

#include "io/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

enum { largest_scan = 500 }; /* a progressive file with more is made to keep us busy */

/* Everything both sides of setjmp look at. */
typedef struct jpeg_work {
    struct jpeg_decompress_struct jpeg; /* first: callbacks get a pointer to it */
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf out;
    const fv_context *context;
    const uint8_t *data;
    size_t bytes;
    fv_image image;
    fv_status status;
    char why[JMSG_LENGTH_MAX];
} jpeg_work;

static void on_error(j_common_ptr jpeg) {
    jpeg_work *w = (jpeg_work *)jpeg;
    jpeg->err->format_message(jpeg, w->why);
    longjmp(w->out, 1);
}

/* Missing data is an error here; other warnings are left alone. */
static void on_message(j_common_ptr jpeg, int level) {
    if (level < 0 && (jpeg->err->msg_code == JWRN_JPEG_EOF || jpeg->err->msg_code == JWRN_HIT_MARKER)) on_error(jpeg);
}

static void say_nothing(j_common_ptr jpeg) { (void)jpeg; }

static void on_progress(j_common_ptr jpeg) {
    jpeg_work *w = (jpeg_work *)jpeg;
    if (w->jpeg.input_scan_number <= largest_scan) return;
    snprintf(w->why, sizeof w->why, "more than %d scans", largest_scan);
    longjmp(w->out, 1);
}

static bool read_header(jpeg_work *w) {
    jpeg_create_decompress(&w->jpeg);
    w->jpeg.progress = &w->progress;
    jpeg_mem_src(&w->jpeg, w->data, w->bytes);
    jpeg_read_header(&w->jpeg, TRUE);
    const J_COLOR_SPACE space = w->jpeg.jpeg_color_space;
    if (space == JCS_CMYK || space == JCS_YCCK) {
        w->status = fv_fail(FV_ERR_UNSUPPORTED, "a JPEG in CMYK; grey and RGB are read");
        return false;
    }
    w->jpeg.out_color_space = space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
    w->jpeg.dct_method = JDCT_ISLOW;
    if ((w->status = fv_image_check(w->jpeg.image_height, w->jpeg.image_width)) != FV_OK) return false;
    w->image.height = (int32_t)w->jpeg.image_height;
    w->image.width = (int32_t)w->jpeg.image_width;
    w->image.channels = space == JCS_GRAYSCALE ? 1 : 3;
    return true;
}

static bool read_pixels(jpeg_work *w) {
    jpeg_start_decompress(&w->jpeg);
    w->status = fv_image_allocate(w->context, w->image.height, w->image.width, w->image.channels, &w->image);
    if (w->status != FV_OK) return false;
    const size_t row = (size_t)w->image.width * (size_t)w->image.channels;
    while (w->jpeg.output_scanline < w->jpeg.output_height) {
        JSAMPROW to = w->image.pixels + w->jpeg.output_scanline * row;
        jpeg_read_scanlines(&w->jpeg, &to, 1);
    }
    jpeg_finish_decompress(&w->jpeg);
    return true;
}

static bool decode(jpeg_work *w, bool only_header) {
    if (setjmp(w->out)) return false;
    return read_header(w) && (only_header || read_pixels(w));
}

fv_status fv_image_decode_jpeg(const fv_context *c, const uint8_t *data, size_t bytes, bool only_header,
                               fv_image *out) {
    jpeg_work w = {.context = c, .data = data, .bytes = bytes};
    w.jpeg.err = jpeg_std_error(&w.errors);
    w.errors.error_exit = on_error;
    w.errors.emit_message = on_message;
    w.errors.output_message = say_nothing;
    w.progress.progress_monitor = on_progress;
    fv_status status = FV_OK;
    if (!decode(&w, only_header))
        status = w.status != FV_OK ? w.status : fv_fail(FV_ERR_FORMAT, "damaged JPEG: %s", w.why);
    jpeg_destroy_decompress(&w.jpeg);
    if (status == FV_OK)
        *out = w.image;
    else
        fv_image_free(&w.image);
    return status;
}

#include "core/file.h"
#include "io/image.h"

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

enum { buffer_bytes = 16384, largest_side = 65500 /* JPEG_MAX_DIMENSION */ };

/* Everything both sides of setjmp look at. */
typedef struct jpeg_work {
    struct jpeg_compress_struct jpeg; /* first: callbacks get a pointer to it */
    struct jpeg_error_mgr errors;
    struct jpeg_destination_mgr destination;
    jmp_buf out;
    fv_writer *writer;
    const fv_image *image;
    int quality;
    fv_status status;
    char why[JMSG_LENGTH_MAX];
    JOCTET buffer[buffer_bytes];
} jpeg_work;

static void on_error(j_common_ptr jpeg) {
    jpeg_work *w = (jpeg_work *)jpeg;
    jpeg->err->format_message(jpeg, w->why);
    longjmp(w->out, 1);
}

static void say_nothing(j_common_ptr jpeg) { (void)jpeg; }

static void empty(j_compress_ptr jpeg) {
    jpeg_work *w = (jpeg_work *)jpeg;
    w->destination.next_output_byte = w->buffer;
    w->destination.free_in_buffer = sizeof w->buffer;
}

static void write_bytes(jpeg_work *w, size_t bytes) {
    w->status = fv_writer_write(w->writer, w->buffer, bytes);
    if (w->status != FV_OK) longjmp(w->out, 1);
}

static boolean write_buffer(j_compress_ptr jpeg) {
    write_bytes((jpeg_work *)jpeg, buffer_bytes);
    empty(jpeg);
    return TRUE;
}

static void write_rest(j_compress_ptr jpeg) {
    jpeg_work *w = (jpeg_work *)jpeg;
    write_bytes(w, buffer_bytes - w->destination.free_in_buffer);
}

static bool encode(jpeg_work *w) {
    if (setjmp(w->out)) return false;
    const fv_image *i = w->image;
    jpeg_create_compress(&w->jpeg);
    w->destination = (struct jpeg_destination_mgr){
        .init_destination = empty, .empty_output_buffer = write_buffer, .term_destination = write_rest};
    w->jpeg.dest = &w->destination;
    w->jpeg.image_width = (JDIMENSION)i->width;
    w->jpeg.image_height = (JDIMENSION)i->height;
    w->jpeg.input_components = i->channels;
    w->jpeg.in_color_space = i->channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(&w->jpeg);
    jpeg_set_quality(&w->jpeg, w->quality, TRUE);
    w->jpeg.dct_method = JDCT_ISLOW;
    jpeg_start_compress(&w->jpeg, TRUE);
    const size_t row = (size_t)i->width * (size_t)i->channels;
    while (w->jpeg.next_scanline < w->jpeg.image_height) {
        JSAMPROW from = i->pixels + w->jpeg.next_scanline * row;
        jpeg_write_scanlines(&w->jpeg, &from, 1);
    }
    jpeg_finish_compress(&w->jpeg);
    return true;
}

fv_status fv_image_write_jpeg(fv_context *c, const char *path, const fv_image *i, int32_t quality) {
    FV_RETURN_IF(!c || !path || !i, FV_ERR_ARGUMENT, "fv_image_write_jpeg needs a context, a path and an image");
    FV_RETURN_IF(!i->pixels || (i->channels != 1 && i->channels != 3), FV_ERR_ARGUMENT,
                 "%s: a JPEG file takes pixels of 1 or 3 channels, not %d", path, i->channels);
    FV_RETURN_IF(quality < 1 || quality > 100, FV_ERR_ARGUMENT, "%s: a JPEG quality of %d; it lies in 1 to 100", path,
                 quality);
    FV_FORWARD(fv_image_check(i->height < 0 ? 0 : (uint64_t)i->height, i->width < 0 ? 0 : (uint64_t)i->width));
    FV_RETURN_IF(i->height > largest_side || i->width > largest_side, FV_ERR_LIMIT,
                 "%s: an image of %dx%d; a side of a JPEG file has at most %d pixels", path, i->height, i->width,
                 largest_side);
    jpeg_work w = {.image = i, .quality = quality};
    FV_FORWARD(fv_writer_open(c, path, &w.writer));
    w.jpeg.err = jpeg_std_error(&w.errors);
    w.errors.error_exit = on_error;
    w.errors.output_message = say_nothing;
    fv_status status = FV_OK;
    if (!encode(&w)) status = w.status != FV_OK ? w.status : fv_fail(FV_ERR_IO, "%s: %s", path, w.why);
    jpeg_destroy_compress(&w.jpeg);
    if (status == FV_OK) return fv_writer_commit(w.writer);
    fv_writer_abandon(w.writer);
    return status;
}

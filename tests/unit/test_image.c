/* fv_image_*: PNG in every kind libpng writes, JPEG, damaged files and bombs, conversion and resizing by value. */
#include "files.h"

#include <setjmp.h>

#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

/* ---- files made by libpng and libjpeg themselves ---- */

typedef struct png_kind {
    int width, height, depth, color, interlace;
    const png_color *palette;
    int palette_count;
    const uint8_t *transparent; /* alpha of the palette's first entries */
    int transparent_count;
    const png_color_16 *transparent_color;
} png_kind;

static void put_png(const char *name, const png_kind *k, const uint8_t *rows, size_t row_bytes) {
    FILE *f = fopen(at(name), "wb");
    ck_assert_ptr_nonnull(f);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, f);
    png_set_IHDR(png, info, (uint32_t)k->width, (uint32_t)k->height, k->depth, k->color, k->interlace,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (k->palette) png_set_PLTE(png, info, k->palette, k->palette_count);
    if (k->transparent) png_set_tRNS(png, info, k->transparent, k->transparent_count, NULL);
    if (k->transparent_color) png_set_tRNS(png, info, NULL, 0, k->transparent_color);
    png_write_info(png, info);
    const int passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < k->height; y++) png_write_row(png, rows + (size_t)y * row_bytes);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(f);
}

static void put_jpeg(const char *name, int width, int height, int channels, J_COLOR_SPACE space, const uint8_t *rows,
                     bool progressive) {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    FILE *f = fopen(at(name), "wb");
    ck_assert_ptr_nonnull(f);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, f);
    jpeg.image_width = (JDIMENSION)width;
    jpeg.image_height = (JDIMENSION)height;
    jpeg.input_components = channels;
    jpeg.in_color_space = space;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 100, TRUE);
    if (progressive) jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < jpeg.image_height) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(rows + jpeg.next_scanline * (size_t)(width * channels));
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    fclose(f);
}

/* Reads and compares; `wanted` is height*width*channels bytes, each within `off`. */
static void holds(const char *name, int32_t as, int height, int width, int channels, const uint8_t *wanted, int off) {
    fv_image i;
    ok(fv_image_read(context, at(name), as, &i));
    ck_assert_int_eq(i.height, height);
    ck_assert_int_eq(i.width, width);
    ck_assert_int_eq(i.channels, channels);
    for (int p = 0; p < height * width * channels; p++)
        ck_assert_msg(abs(i.pixels[p] - wanted[p]) <= off, "%s: byte %d is %d, not %d", name, p, i.pixels[p],
                      wanted[p]);
    fv_image_free(&i);
    ck_assert_ptr_null(i.pixels);
    fv_image_free(&i);
}

/* ---- PNG ---- */

START_TEST(grey_and_rgb_come_back) {
    uint8_t bytes[7 * 5 * 3];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 41);
    enter();
    for (int channels = 1; channels <= 3; channels += 2) {
        const fv_image image = {.height = 7, .width = 5, .channels = channels, .pixels = bytes};
        ok(fv_image_write_png(context, at("x.png"), &image));
        holds("x.png", 0, 7, 5, channels, bytes, 0);
        holds("x.png", channels, 7, 5, channels, bytes, 0);
    }
    ck_assert_int_eq(entries(), 1);
    leave();
}
END_TEST

START_TEST(grey_to_rgb_and_back) {
    const uint8_t rgb[12] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 31};
    const uint8_t grey[4] = {76, 150, 29, 18}, twice[12] = {76, 76, 76, 150, 150, 150, 29, 29, 29, 18, 18, 18};
    enter();
    put_png("rgb.png", &(png_kind){2, 2, 8, PNG_COLOR_TYPE_RGB, 0, .palette = NULL}, rgb, 6);
    holds("rgb.png", 1, 2, 2, 1, grey, 0);
    put_png("grey.png", &(png_kind){2, 2, 8, PNG_COLOR_TYPE_GRAY, 0, .palette = NULL}, grey, 2);
    holds("grey.png", 3, 2, 2, 3, twice, 0);
    leave();
}
END_TEST

START_TEST(sixteen_bits_become_eight) {
    const uint8_t wide[8] = {0x12, 0x34, 0xff, 0xff, 0x00, 0x80, 0x00, 0x81};
    const uint8_t narrow[4] = {0x12, 0xff, 0, 1}; /* v * 255 / 65535, rounded: 0x80 / 257 is just below a half */
    enter();
    put_png("x.png", &(png_kind){4, 1, 16, PNG_COLOR_TYPE_GRAY, 0, .palette = NULL}, wide, 8);
    holds("x.png", 0, 1, 4, 1, narrow, 0);
    leave();
}
END_TEST

START_TEST(few_bits_and_palettes_are_expanded) {
    static const png_color palette[3] = {{10, 20, 30}, {40, 50, 60}, {255, 0, 7}};
    const uint8_t two_bits[1] = {0x1b}, expanded[4] = {0, 85, 170, 255};
    const uint8_t indices[3] = {2, 0, 1}, colors[9] = {255, 0, 7, 10, 20, 30, 40, 50, 60};
    const uint8_t alpha[1] = {128}, on_black[9] = {255, 0, 7, 5, 10, 15, 40, 50, 60};
    enter();
    put_png("two.png", &(png_kind){4, 1, 2, PNG_COLOR_TYPE_GRAY, 0, .palette = NULL}, two_bits, 1);
    holds("two.png", 0, 1, 4, 1, expanded, 0);
    put_png("palette.png", &(png_kind){3, 1, 8, PNG_COLOR_TYPE_PALETTE, 0, palette, 3, .transparent = NULL}, indices,
            3);
    holds("palette.png", 0, 1, 3, 3, colors, 0);
    put_png("clear.png", &(png_kind){3, 1, 8, PNG_COLOR_TYPE_PALETTE, 0, palette, 3, alpha, 1, NULL}, indices, 3);
    holds("clear.png", 0, 1, 3, 3, on_black, 0);
    leave();
}
END_TEST

START_TEST(alpha_is_blended_on_black) {
    const uint8_t rgba[8] = {200, 100, 50, 255, 200, 100, 51, 51}, rgb[6] = {200, 100, 50, 40, 20, 10};
    const uint8_t ga[4] = {200, 0, 100, 128}, grey[2] = {0, 50}, keyed[2] = {7, 8}, kept[2] = {0, 8};
    const png_color_16 seven = {.gray = 7};
    enter();
    put_png("rgba.png", &(png_kind){2, 1, 8, PNG_COLOR_TYPE_RGB_ALPHA, 0, .palette = NULL}, rgba, 8);
    holds("rgba.png", 0, 1, 2, 3, rgb, 0);
    put_png("ga.png", &(png_kind){2, 1, 8, PNG_COLOR_TYPE_GRAY_ALPHA, 0, .palette = NULL}, ga, 4);
    holds("ga.png", 0, 1, 2, 1, grey, 0);
    put_png("key.png", &(png_kind){2, 1, 8, PNG_COLOR_TYPE_GRAY, 0, .transparent_color = &seven}, keyed, 2);
    holds("key.png", 0, 1, 2, 1, kept, 0);
    leave();
}
END_TEST

START_TEST(alpha_is_kept_where_asked_for) {
    const uint8_t rgba[8] = {200, 100, 50, 255, 200, 100, 51, 51}, ga[4] = {124, 255, 124, 51};
    const uint8_t grey[2] = {9, 200}, opaque[8] = {9, 9, 9, 255, 200, 200, 200, 255}, grey_opaque[4] = {9, 255, 200, 255};
    enter();
    put_png("rgba.png", &(png_kind){2, 1, 8, PNG_COLOR_TYPE_RGB_ALPHA, 0, .palette = NULL}, rgba, 8);
    holds("rgba.png", FV_IMAGE_STORED, 1, 2, 4, rgba, 0);
    holds("rgba.png", 4, 1, 2, 4, rgba, 0);
    holds("rgba.png", 2, 1, 2, 2, ga, 0);
    put_png("grey.png", &(png_kind){2, 1, 8, PNG_COLOR_TYPE_GRAY, 0, .palette = NULL}, grey, 2);
    holds("grey.png", FV_IMAGE_STORED, 1, 2, 1, grey, 0);
    holds("grey.png", 4, 1, 2, 4, opaque, 0);
    holds("grey.png", 2, 1, 2, 2, grey_opaque, 0);
    for (int32_t channels = 2; channels <= 4; channels += 2) { /* and written */
        uint8_t *pixels = (uint8_t *)(uintptr_t)(channels == 2 ? ga : rgba);
        const fv_image i = {.height = 1, .width = 2, .channels = channels, .pixels = pixels};
        ok(fv_image_write_png(context, at("w.png"), &i));
        holds("w.png", FV_IMAGE_STORED, 1, 2, channels, pixels, 0);
    }
    leave();
}
END_TEST

START_TEST(jpeg_files_are_written) {
    static uint8_t flat[40 * 70 * 3];
    enter();
    for (int32_t channels = 1; channels <= 3; channels += 2) {
        const fv_image i = {.height = 40, .width = 70, .channels = channels, .pixels = flat};
        for (size_t k = 0; k < sizeof flat; k++) flat[k] = (uint8_t)(channels == 1 ? k / 70 * 5 : 90 + 30 * (k % 3));
        ok(fv_image_write_jpeg(context, at("w.jpg"), &i, 100));
        holds("w.jpg", 0, 40, 70, channels, flat, 3);
    }
    static uint8_t noise[400 * 300]; /* more than one buffer */
    uint32_t state = 1;
    for (size_t k = 0; k < sizeof noise; k++) noise[k] = (uint8_t)(draw_u32(&state) >> 24);
    fv_image i = {.height = 300, .width = 400, .channels = 1, .pixels = noise};
    ok(fv_image_write_jpeg(context, at("w.jpg"), &i, 100));
    holds("w.jpg", 0, 300, 400, 1, noise, 6);
    fails(fv_image_write_jpeg(context, at("w.jpg"), &i, 0), FV_ERR_ARGUMENT, "quality of 0");
    fails(fv_image_write_jpeg(context, at("none/w.jpg"), &i, 90), FV_ERR_NOT_FOUND, "none/w.jpg");
    i.channels = 4;
    fails(fv_image_write_jpeg(context, at("w.jpg"), &i, 90), FV_ERR_ARGUMENT, "not 4");
    i = (fv_image){.height = 1, .width = 65501, .channels = 1, .pixels = noise};
    fails(fv_image_write_jpeg(context, at("w.jpg"), &i, 90), FV_ERR_LIMIT, "65500");
    ck_assert_int_eq(entries(), 1);
    leave();
}
END_TEST

START_TEST(interlaced) {
    uint8_t rows[11 * 13 * 4], wanted[11 * 13 * 3];
    enter();
    for (size_t i = 0; i < sizeof rows; i++) rows[i] = (uint8_t)(i * 73);
    for (size_t i = 0; i < 11 * 13; i++) rows[4 * i + 3] = 255;
    for (size_t i = 0; i < sizeof wanted; i++) wanted[i] = rows[i / 3 * 4 + i % 3];
    put_png("rgba.png", &(png_kind){13, 11, 8, PNG_COLOR_TYPE_RGB_ALPHA, PNG_INTERLACE_ADAM7, .palette = NULL}, rows,
            13 * 4);
    holds("rgba.png", 0, 11, 13, 3, wanted, 0);
    put_png("rgb.png", &(png_kind){13, 11, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_ADAM7, .palette = NULL}, wanted,
            13 * 3);
    holds("rgb.png", 0, 11, 13, 3, wanted, 0);
    leave();
}
END_TEST

static fv_status read_x(void) {
    fv_image i;
    const fv_status status = fv_image_read(context, at("x.png"), 3, &i);
    if (status == FV_OK) fv_image_free(&i);
    return status;
}

START_TEST(damaged_png_files) {
    uint8_t rows[9 * 8 * 4];
    for (size_t i = 0; i < sizeof rows; i++) rows[i] = (uint8_t)(i * 73);
    enter();
    for (int interlace = 0; interlace < 2; interlace++) {
        put_png("x.png", &(png_kind){8, 9, 8, PNG_COLOR_TYPE_RGB_ALPHA, interlace, .palette = NULL}, rows, 32);
        every_prefix_fails("x.png", read_x);
    }
    every_allocation_may_fail(read_x);
    size_t count;
    uint8_t *bytes = get("x.png", &count);
    for (size_t i = 8; i < count; i++) { /* every flipped byte meets a check sum */
        bytes[i] ^= 0x55;
        put("x.png", bytes, count);
        const fv_status status = read_x();
        if (status != FV_OK) ck_assert_ptr_nonnull(strstr(fv_last_error(), "x.png"));
        ck_assert_int_eq(atomic_load(&memory.blocks), 1); /* the context */
        bytes[i] ^= 0x55;
    }
    free(bytes);
    leave();
}
END_TEST

static void big_endian(uint8_t *to, uint32_t v) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* A PNG of one header chunk (its check sum right) that claims this size. */
static void put_claim(const char *name, uint32_t width, uint32_t height) {
    uint8_t bytes[33 + 12] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    big_endian(bytes + 16, width);
    big_endian(bytes + 20, height);
    bytes[24] = 8;
    bytes[25] = PNG_COLOR_TYPE_RGB;
    big_endian(bytes + 29, (uint32_t)crc32(0, bytes + 12, 17));
    memcpy(bytes + 37, "IDAT", 4);
    big_endian(bytes + 41, (uint32_t)crc32(0, bytes + 37, 4));
    put(name, bytes, sizeof bytes);
}

START_TEST(bombs_are_refused_before_memory_is_asked_for) {
    enter();
    put_claim("x.png", 8193, 8192);
    fails(read_x(), FV_ERR_LIMIT, "8192x8193");
    put_claim("x.png", 1u << 30, 1);
    ck_assert_int_ne(read_x(), FV_OK);
    put_claim("x.png", 8192, 8192);
    fails(read_x(), FV_ERR_FORMAT, "truncated");
    put_claim("x.png", 0, 5);
    ck_assert_int_ne(read_x(), FV_OK);
    ck_assert_uint_lt(memory.largest, 1 << 20);
    leave();
}
END_TEST

/* ---- JPEG ---- */

static uint8_t smooth[16 * 24 * 4];
static void make_smooth(int channels) {
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 24; x++)
            for (int c = 0; c < channels; c++)
                smooth[(y * 24 + x) * channels + c] = (uint8_t)(40 + 6 * x + 3 * y + 10 * c);
}

START_TEST(jpeg_files) {
    enter();
    for (int progressive = 0; progressive < 2; progressive++) {
        make_smooth(1);
        put_jpeg("grey.jpg", 24, 16, 1, JCS_GRAYSCALE, smooth, progressive);
        holds("grey.jpg", 0, 16, 24, 1, smooth, 2);
        make_smooth(3);
        put_jpeg("rgb.jpg", 24, 16, 3, JCS_RGB, smooth, progressive);
        holds("rgb.jpg", 0, 16, 24, 3, smooth, 6);
    }
    leave();
}
END_TEST

START_TEST(cmyk_is_refused) {
    fv_image i;
    enter();
    make_smooth(4);
    put_jpeg("x.jpg", 24, 16, 4, JCS_CMYK, smooth, false);
    fails(fv_image_read(context, at("x.jpg"), 0, &i), FV_ERR_UNSUPPORTED, "CMYK");
    leave();
}
END_TEST

/* A JPEG cut within its end marker, the last two bytes, has all its pixels: libjpeg adds the marker with a warning,
 * which is an error here. */
START_TEST(damaged_jpeg_files) {
    enter();
    for (int progressive = 0; progressive < 2; progressive++) {
        make_smooth(3);
        put_jpeg("x.png", 24, 16, 3, JCS_RGB, smooth, progressive); /* by its first bytes, not its name */
        every_prefix_fails("x.png", read_x);
    }
    every_allocation_may_fail(read_x);
    size_t count;
    uint8_t *bytes = get("x.png", &count);
    for (size_t i = 0; i + 9 < count; i++)
        if (bytes[i] == 0xff && (bytes[i + 1] == 0xc0 || bytes[i + 1] == 0xc2))
            memset(bytes + i + 5, 0xff, 4); /* 65535x65535 */
    put("x.png", bytes, count);
    ck_assert_int_ne(read_x(), FV_OK);
    ck_assert_uint_lt(memory.largest, 1 << 20);
    free(bytes);
    leave();
}
END_TEST

/* ---- resizing ---- */

static void resized(int h, int w, int channels, const uint8_t *from, int to_h, int to_w, const uint8_t *wanted) {
    const fv_image in = {.height = h, .width = w, .channels = channels, .pixels = (uint8_t *)(uintptr_t)from};
    fv_image out;
    ok(fv_image_resize(context, &in, to_h, to_w, &out));
    ck_assert_int_eq(out.height, to_h);
    ck_assert_int_eq(out.width, to_w);
    ck_assert_int_eq(out.channels, channels);
    ck_assert_mem_eq(out.pixels, wanted, (size_t)(to_h * to_w * channels));
    fv_image_free(&out);
}

START_TEST(resizing_by_value) {
    const uint8_t four[8] = {0, 10, 20, 30, 40, 50, 60, 70};
    enter();
    resized(2, 4, 1, four, 2, 4, four);
    resized(2, 4, 1, four, 1, 2, (const uint8_t[]){25, 45});
    resized(1, 4, 2 - 1, four, 1, 1, (const uint8_t[]){15});
    resized(1, 3, 1, four, 1, 2, (const uint8_t[]){3, 17});              /* (0*2 + 10)/3, (10 + 20*2)/3 */
    resized(1, 2, 1, four + 1, 1, 4, (const uint8_t[]){10, 13, 18, 20}); /* 10, 12.5, 17.5, 20: halves go up */
    resized(2, 1, 1, four + 1, 4, 1, (const uint8_t[]){10, 13, 18, 20});
    resized(1, 2, 3, (const uint8_t[]){0, 100, 255, 10, 200, 255}, 1, 1, (const uint8_t[]){5, 150, 255});
    resized(1, 1, 3, (const uint8_t[]){1, 2, 3}, 2, 1, (const uint8_t[]){1, 2, 3, 1, 2, 3});
    resized(1, 4, 1, four, 2, 2, (const uint8_t[]){5, 25, 5, 25}); /* down and up at once */
    leave();
}
END_TEST

START_TEST(resizing_keeps_a_plain_image_plain) {
    uint8_t plain[17 * 23], out[40 * 40];
    memset(plain, 201, sizeof plain);
    memset(out, 201, sizeof out);
    enter();
    for (int h = 1; h <= 40; h++)
        for (int w = 1; w <= 40; w++) resized(17, 23, 1, plain, h, w, out);
    leave();
}
END_TEST

/* ---- misuse ---- */

START_TEST(misuse) {
    uint8_t pixel[3] = {1, 2, 3};
    fv_image i = {.height = 1, .width = 1, .channels = 3, .pixels = pixel}, out;
    enter();
    fails(fv_image_read(context, at("none.png"), 0, &out), FV_ERR_NOT_FOUND, "none.png");
    fails(fv_image_read(context, folder, 0, &out), FV_ERR_IO, folder);
    put("x.png", "GIF89a", 6);
    fails(read_x(), FV_ERR_UNSUPPORTED, "x.png: neither a PNG");
    fails(fv_image_read(context, at("x.png"), 5, &out), FV_ERR_ARGUMENT, "channels");
    fails(fv_image_read(NULL, "x", 0, &out), FV_ERR_ARGUMENT, "needs");
    fails(fv_image_resize(context, &i, 0, 1, &out), FV_ERR_LIMIT, "0x1");
    fails(fv_image_resize(context, &i, -1, 1, &out), FV_ERR_LIMIT, "0x1");
    fails(fv_image_resize(context, &i, 1 << 14, 1 << 14, &out), FV_ERR_LIMIT, "16384x16384");
    i.channels = 2;
    fails(fv_image_resize(context, &i, 1, 1, &out), FV_ERR_ARGUMENT, "2 channels");
    i.channels = 5;
    fails(fv_image_write_png(context, at("y.png"), &i), FV_ERR_ARGUMENT, "not 5");
    i.channels = 3;
    fails(fv_image_write_png(context, at("none/y.png"), &i), FV_ERR_NOT_FOUND, "none/y.png");
    ck_assert_int_eq(entries(), 1);
    fv_image_free(NULL);
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {grey_and_rgb_come_back,
                                  grey_to_rgb_and_back,
                                  sixteen_bits_become_eight,
                                  few_bits_and_palettes_are_expanded,
                                  alpha_is_blended_on_black,
                                  alpha_is_kept_where_asked_for,
                                  jpeg_files_are_written,
                                  interlaced,
                                  damaged_png_files,
                                  bombs_are_refused_before_memory_is_asked_for,
                                  jpeg_files,
                                  cmyk_is_refused,
                                  damaged_jpeg_files,
                                  resizing_by_value,
                                  resizing_keeps_a_plain_image_plain,
                                  misuse,
                                  NULL};
    return run_tests("image", tests, 120);
}

/* Decoders behind fv_image_read. */
#ifndef FV_IO_IMAGE_H
#define FV_IO_IMAGE_H

#include "core/context.h"

enum { fv_largest_image = 1 << 26 /* pixels */ };

/* A decoder works on a whole file in memory and gives every channel there is, alpha too. `only_header`: height, width
 * and channels (1 or 3, alpha not counted) are set, no pixels are read. On failure nothing is left allocated; sentences
 * do not name the file, the caller does. */
typedef fv_status (*fv_image_decoder)(const fv_context *c, const uint8_t *data, size_t bytes, bool only_header,
                                      fv_image *out);
fv_status fv_image_decode_png(const fv_context *c, const uint8_t *data, size_t bytes, bool only_header, fv_image *out);
fv_status fv_image_decode_jpeg(const fv_context *c, const uint8_t *data, size_t bytes, bool only_header, fv_image *out);

/* Sets sizes and allocates pixels, checking the cap. */
fv_status fv_image_check(uint64_t height, uint64_t width);
fv_status fv_image_allocate(const fv_context *c, int32_t height, int32_t width, int32_t channels, fv_image *out);
/* Sizes and channels of a PNG or JPEG without decoding; FV_ERR_UNSUPPORTED where the first bytes are neither's. */
fv_status fv_image_probe(const fv_context *c, const char *path, fv_image *out);

#endif

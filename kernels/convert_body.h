/* Bytes to floats over a vector wrapper; included by (isa)/convert_(isa).c, which has the transposed tile: transpose_block. */

enum { tile = VW };

/* Rows in steps of `tile`, each a run of tiles down the columns; what is left over goes element by element. */
static void transpose(const float *x, ptrdiff_t x_pitch, float *y, ptrdiff_t y_pitch, size_t columns, fv_range rows) {
    size_t r = rows.begin;
    for (; r + tile <= rows.end; r += tile) {
        size_t c = 0;
        const float *in = x + (ptrdiff_t)r * x_pitch;
        for (; c + tile <= columns; c += tile) transpose_block(in + c, x_pitch, y + (ptrdiff_t)c * y_pitch + r, y_pitch);
        for (; c < columns; c++)
            for (size_t k = 0; k < tile; k++) y[(ptrdiff_t)c * y_pitch + (ptrdiff_t)(r + k)] = in[(ptrdiff_t)k * x_pitch + (ptrdiff_t)c];
    }
    for (; r < rows.end; r++)
        for (size_t c = 0; c < columns; c++) y[(ptrdiff_t)c * y_pitch + (ptrdiff_t)r] = x[(ptrdiff_t)r * x_pitch + (ptrdiff_t)c];
}

/* With one channel the factors are the same for all values; else they repeat along the channels. */
static void u8_to_real(const uint8_t *x, float *y, size_t pixels, size_t channels, const float *scale, const float *shift) {
    const size_t run = channels == 1 ? pixels : channels, runs = channels == 1 ? 1 : pixels;
    for (size_t p = 0; p < runs; p++, x += run, y += run) {
        size_t i = 0;
        for (; i + 8 <= run; i += VW) { /* a vector reads at most 8 bytes */
            const vf s = channels == 1 ? v_set(scale[0]) : v_load(scale + i);
            const vf d = channels == 1 ? v_set(shift[0]) : v_load(shift + i);
            v_store(y + i, v_add(v_mul(v_from_u8(x + i), s), d));
        }
        for (; i < run; i++) y[i] = (float)x[i] * scale[channels == 1 ? 0 : i] + shift[channels == 1 ? 0 : i];
    }
}

static void init_convert(fv_convert_kernels *k) { *k = (fv_convert_kernels){transpose, u8_to_real}; }

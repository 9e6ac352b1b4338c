/* Gradients of pooling, and unpooling, over a vector wrapper; included after pool_body.h. Gather form: the windows that
 * an input pixel lies in are a box of output pixels, of one window where windows lie apart. */

typedef enum grad_step { GRAD_MAX, GRAD_AVERAGE, GRAD_ABS, GRAD_SQUARES, GRAD_CUBES, GRAD_LP, GRAD_WEIGHTED } grad_step;

typedef struct grad_call {
    const fv_pool_desc *d;
    const int32_t *index;
    const float *dy, *y, *x, *weight;
    float *dx, p;
    size_t readable, writable; /* elements of dense dy (and y), of dx up to the call's end; else 0 */
} grad_call;

/* One window an input pixel lies in. */
typedef struct grad_window {
    ptrdiff_t out; /* its place in dy */
    const int32_t *index;
    int32_t name, tap; /* the pixel's, to max pooling and in the window */
    float share;       /* average: 1 over its divisor */
} grad_window;

/* What a window holds for a vector of channels. */
typedef struct grad_read {
    vf dy, y;
    vi at;
} grad_read;

FV_ALWAYS_INLINE grad_read read_window(const grad_step step, const grad_call *g, const grad_window *w, size_t c,
                                       size_t n) {
    grad_read r = {load_channels(g->dy + w->out + (ptrdiff_t)c, n), v_zero(), vi_set(0)};
    if (step == GRAD_MAX) r.at = n == VW ? vi_load(w->index + c) : vi_load_part(w->index + c, n);
    if (step == GRAD_ABS || step == GRAD_SQUARES || step == GRAD_CUBES || step == GRAD_LP)
        r.y = load_channels(g->y + w->out + (ptrdiff_t)c, n);
    return r;
}

/* name, tap: the pixel's in the window. */
FV_ALWAYS_INLINE vf add_share(const grad_step step, const grad_call *g, const grad_read *r, int32_t name, int32_t tap,
                              float share, vf x, vf sum) {
    if (step == GRAD_MAX) return v_add(sum, v_where(vi_eq(r->at, vi_set(name)), r->dy));
    if (step == GRAD_AVERAGE) return v_fma(r->dy, v_set(share), sum);
    if (step == GRAD_WEIGHTED) return v_fma(r->dy, v_set(g->weight[tap]), sum);
    const vf zero = v_zero(), one = v_set(1.0f);
    vf part;
    if (step == GRAD_ABS) part = v_sub(v_where(v_gt(x, zero), one), v_where(v_lt(x, zero), one));
    if (step == GRAD_SQUARES) part = v_div(x, r->y);
    if (step == GRAD_CUBES) part = v_mul(v_div(x, r->y), v_abs(v_div(x, r->y)));
    if (step == GRAD_LP) part = v_or(v_power(v_div(v_abs(x), r->y), v_set(g->p - 1)), v_sign(x));
    return v_fma(r->dy, v_select(v_eq(r->y, zero), zero, part), sum);
}

FV_ALWAYS_INLINE vf add_window_share(const grad_step step, const grad_call *g, const grad_window *w, vf x, size_t c,
                                     size_t n, vf sum) {
    const grad_read r = read_window(step, g, w, c, n);
    return add_share(step, g, &r, w->name, w->tap, w->share, x, sum);
}

static inline bool reads_x(grad_step step) { return step >= GRAD_ABS && step <= GRAD_LP; }

enum { LIST = 32 }; /* windows worked out at once */

/* All channels of the input pixel at element `at`, over so many windows in ascending order; more: they come on top of
 * what stands there. */
FV_ALWAYS_INLINE void gather(const grad_step step, const grad_call *g, const grad_window *windows, const size_t count,
                             ptrdiff_t at, const bool more) {
    const size_t channels = (size_t)g->d->channels, last = count ? (size_t)windows[count - 1].out : 0;
    size_t c = 0;
    for (; c + VW <= channels; c += VW) {
        const vf x = reads_x(step) ? v_load(g->x + at + c) : v_zero();
        vf sum = more ? v_load(g->dx + at + c) : v_zero();
        for (size_t k = 0; k < count; k++) sum = add_window_share(step, g, &windows[k], x, c, VW, sum);
        v_store(g->dx + at + c, sum);
    }
    for (; c < channels; c += VW) {
        const bool whole = last + c + VW <= g->readable && (size_t)at + c + VW <= g->writable && !more;
        const size_t n = whole ? VW : fv_min_size(channels - c, VW);
        const vf x = reads_x(step) ? load_channels(g->x + at + c, n) : v_zero();
        vf sum = more ? load_channels(g->dx + at + c, n) : v_zero();
        for (size_t k = 0; k < count; k++) sum = add_window_share(step, g, &windows[k], x, c, n, sum);
        store_channels(g->dx + at + c, sum, n);
    }
}

static grad_window describe(const grad_call *g, const fv_pool_pixel *i, const fv_pool_window *w, bool average) {
    const fv_pool_desc *d = g->d;
    grad_window one = {
        .out = fv_pool_window_offset(d, i, w), .tap = fv_pool_window_index(d, w), .name = fv_pool_window_name(d, i, w)};
    if (g->index) one.index = g->index + fv_pool_window_pixel(d, i, w) * (size_t)d->channels;
    if (average)
        one.share = 1.0f / (float)(fv_pool_counted(d, 0, w->at[0]) * fv_pool_counted(d, 1, w->at[1]) *
                                   fv_pool_counted(d, 2, w->at[2]));
    return one;
}

/* Windows listed so far, and whether others were gathered before them. */
typedef struct window_list {
    grad_window at[LIST];
    size_t count;
    bool more;
} window_list;

FV_ALWAYS_INLINE void add_window(const grad_step step, const grad_call *g, window_list *l, const grad_window *one,
                                 ptrdiff_t at) {
    l->at[l->count++] = *one;
    if (l->count < LIST) return;
    gather(step, g, l->at, LIST, at, l->more);
    l->more = true;
    l->count = 0;
}

/* The windows of a box of output pixels that pixel i lies in, all its channels. Dilated windows may step over it. */
FV_ALWAYS_INLINE void gather_pixel(const grad_step step, const grad_call *g, const fv_pool_pixel *i,
                                   const fv_pool_window *box) {
    const fv_pool_desc *d = g->d;
    const ptrdiff_t at = fv_pool_offset(d->in_pitch, i);
    const int32_t place = fv_pool_place(d, i->at);
    window_list l;
    l.count = 0;
    l.more = false;
    for (int32_t z = box->low[0]; z < box->high[0]; z++)
        for (int32_t y = box->low[1]; y < box->high[1]; y++) {
            const fv_pool_window first = {.at = {z, y, 0},
                                          .tap = {i->at[0] + d->pad[0] - z * d->stride[0],
                                                  i->at[1] + d->pad[1] - y * d->stride[1], i->at[2] + d->pad[2]}};
            const ptrdiff_t out = fv_pool_window_offset(d, i, &first);
            const size_t pixel = fv_pool_window_pixel(d, i, &first);
            const int32_t tap = fv_pool_window_index(d, &first),
                          counted = step == GRAD_AVERAGE ? fv_pool_counted(d, 0, z) * fv_pool_counted(d, 1, y) : 0;
            for (int32_t x = box->low[2]; x < box->high[2]; x++) {
                grad_window one = {.out = out + x * d->out_pitch[3], .tap = tap - x * d->stride[2]};
                one.name = d->places ? place : one.tap;
                if (step == GRAD_MAX) one.index = g->index + (pixel + (size_t)x) * (size_t)d->channels;
                if (step == GRAD_AVERAGE) one.share = 1.0f / (float)(counted * fv_pool_counted(d, 2, x));
                add_window(step, g, &l, &one, at);
            }
        }
    if (l.count || !l.more) gather(step, g, l.at, l.count, at, l.more);
}

FV_ALWAYS_INLINE void gather_dilated(const grad_step step, const grad_call *g, const fv_pool_pixel *i) {
    const fv_pool_desc *d = g->d;
    const ptrdiff_t at = fv_pool_offset(d->in_pitch, i);
    window_list l;
    l.count = 0;
    l.more = false;
    for (fv_pool_window w = fv_pool_first_window(d, i); fv_pool_has_window(&w); fv_pool_next_window(d, &w)) {
        if (!fv_pool_window_taps(d, i, &w)) continue;
        const grad_window one = describe(g, i, &w, step == GRAD_AVERAGE);
        add_window(step, g, &l, &one, at);
    }
    if (l.count || !l.more) gather(step, g, l.at, l.count, at, l.more);
}

static bool apart(const fv_pool_desc *d) {
    for (int a = 0; a < 3; a++)
        if (d->stride[a] != d->window[a] || d->dilation[a] != 1 || d->pad[a] != 0 ||
            d->out[a] * d->window[a] > d->in[a])
            return false;
    return true;
}

/* n channels from c on of the pixels of one window's row. */
FV_ALWAYS_INLINE void spread_vector(const grad_step step, const grad_call *g, const grad_window *w, ptrdiff_t at,
                                    const int32_t width, size_t c, const size_t n) {
    const grad_read r = read_window(step, g, w, c, n);
    const ptrdiff_t pitch = g->d->in_pitch[3];
    for (int32_t u = 0; u < width; u++) {
        const ptrdiff_t to = at + u * pitch + (ptrdiff_t)c;
        const vf x = reads_x(step) ? load_channels(g->x + to, n) : v_zero();
        store_channels(g->dx + to, add_share(step, g, &r, w->name + u, w->tap + u, w->share, x, v_zero()), n);
    }
}

/* The pixels of one window's row, of windows apart: `width` of them from element `at` on, the first named as w says. Of
 * more than VW channels the last vector overlaps the one before. */
FV_ALWAYS_INLINE void spread_window(const grad_step step, const grad_call *g, const grad_window *w, ptrdiff_t at,
                                    const int32_t width) {
    const size_t channels = (size_t)g->d->channels;
    const ptrdiff_t last = at + (width - 1) * g->d->in_pitch[3];
    if (channels >= VW) {
        size_t c = 0;
        for (; c + VW <= channels; c += VW) spread_vector(step, g, w, at, width, c, VW);
        if (c < channels) spread_vector(step, g, w, at, width, channels - VW, VW);
    } else if ((size_t)w->out + VW <= g->readable && (size_t)last + VW <= g->writable) {
        spread_vector(step, g, w, at, width, 0, VW);
    } else {
        spread_vector(step, g, w, at, width, 0, channels);
    }
}

/* Input pixels of one row from `i` to column `end`, windows apart: at most one a pixel. */
FV_ALWAYS_INLINE void gather_row_apart(const grad_step step, const grad_call *g, const fv_pool_pixel *i, int32_t end) {
    const fv_pool_desc *d = g->d;
    const size_t channels = (size_t)d->channels;
    const int32_t places = fv_pool_place(d, i->at) - i->at[2], width = d->stride[2];
    fv_pool_window w = {.at = {i->at[0] / d->stride[0], i->at[1] / d->stride[1], 0}};
    const bool covered = w.at[0] < d->out[0] && w.at[1] < d->out[1];
    for (int a = 0; a < 2; a++) w.tap[a] = i->at[a] - w.at[a] * d->stride[a];
    const fv_pool_pixel start = {i->image, {i->at[0], i->at[1], 0}};
    grad_window one = covered ? describe(g, &start, &w, step == GRAD_AVERAGE) : (grad_window){0};
    const int32_t first_tap = one.tap;
    int32_t window = i->at[2] / width, inside = i->at[2] % width;
    one.out += window * d->out_pitch[3];
    if (one.index) one.index += (size_t)window * channels;
    ptrdiff_t at = fv_pool_offset(d->in_pitch, i);
    for (int32_t column = i->at[2]; column < end;) {
        const bool has_window = covered && window < d->out[2];
        const int32_t count = inside == 0 && has_window && end - column >= width ? width : 1;
        one.tap = first_tap + inside;
        one.name = d->places ? places + column : one.tap;
        if (count == 2)
            spread_window(step, g, &one, at, 2);
        else if (has_window)
            spread_window(step, g, &one, at, count);
        else
            gather(step, g, NULL, 0, at, false);
        column += count;
        at += count * d->in_pitch[3];
        inside += count;
        if (inside < width) continue;
        inside = 0;
        window++;
        one.out += d->out_pitch[3];
        if (one.index) one.index += channels;
    }
}

/* ---- windows of 2x2 side by side, with nothing between or beside them ---- */

/* Where a window's values and the first of its pixels stand. */
typedef struct cell {
    grad_window window;
    ptrdiff_t at;
} cell;

/* n channels from c on of all four pixels. */
FV_ALWAYS_INLINE void spread_cell(const grad_step step, const grad_call *g, const cell *w, ptrdiff_t row_pitch,
                                  ptrdiff_t pixel_pitch, const int32_t *names, size_t c, const size_t n) {
    const grad_read r = read_window(step, g, &w->window, c, n);
    const ptrdiff_t to = w->at + (ptrdiff_t)c;
    const vf zero = v_zero();
    for (int k = 0; k < 4; k++) {
        const ptrdiff_t k_at = to + (k >> 1) * row_pitch + (k & 1) * pixel_pitch;
        const vf x = reads_x(step) ? load_channels(g->x + k_at, n) : zero;
        store_channels(g->dx + k_at, add_share(step, g, &r, w->window.name + names[k], k, w->window.share, x, zero), n);
    }
}

static bool in_cells(const fv_pool_desc *d) {
    return apart(d) && d->window[0] == 1 && d->window[1] == 2 && d->window[2] == 2 && 2 * d->out[2] == d->in[2];
}

/* `rows` rows of windows from the one on whose first pixel is i. Of fewer than VW channels a row's last window writes
 * them alone: behind it pixels of the row below stand already. */
FV_ALWAYS_INLINE void spread_cells(const grad_step step, const grad_call *given, const fv_pool_pixel *i, size_t rows) {
    const fv_pool_desc *d = given->d;
    const grad_call own = *given, *const g = &own;
    const ptrdiff_t pixel_pitch = d->in_pitch[3], out_pitch = d->out_pitch[3], out_row = d->out_pitch[2];
    const int32_t last = d->out[2] - 1, names_apart = d->places ? 2 : 0, names_row = d->places ? 2 * d->in[2] : 0;
    const size_t channels = (size_t)d->channels, whole = channels / VW * VW;
    const ptrdiff_t row_pitch = d->in_pitch[2];
    const int32_t names[4] = {0, 1, d->places ? d->in[2] : 2, d->places ? d->in[2] + 1 : 3};
    const bool dense = g->readable && g->writable;
    const size_t row_values = (size_t)(last + 1) * channels; /* of windows: a vector that ends there ends in its row of pixels too */
    const fv_pool_window first = {.at = {i->at[0], i->at[1] / 2, 0}};
    cell row = {describe(given, i, &first, step == GRAD_AVERAGE), fv_pool_offset(d->in_pitch, i)};
    for (size_t j = 0; j < rows; j++) {
        cell w = row;
        for (int32_t x = 0; x <= last; x++) {
            if (channels < VW && dense && (size_t)x * channels + VW <= row_values) {
                spread_cell(step, g, &w, row_pitch, pixel_pitch, names, 0, VW);
            } else if (channels < VW) {
                spread_cell(step, g, &w, row_pitch, pixel_pitch, names, 0, channels);
            } else {
                for (size_t c = 0; c < whole; c += VW) spread_cell(step, g, &w, row_pitch, pixel_pitch, names, c, VW);
                if (whole < channels) spread_cell(step, g, &w, row_pitch, pixel_pitch, names, channels - VW, VW);
            }
            w.at += 2 * pixel_pitch;
            w.window.out += out_pitch;
            if (step == GRAD_MAX) w.window.index += channels;
            w.window.name += names_apart;
        }
        row.at += 2 * row_pitch;
        row.window.out += out_row;
        if (step == GRAD_MAX) row.window.index += (size_t)d->out[2] * channels;
        row.window.name += names_row;
    }
}

/* ---- windows of three at a stride of two along a row: every second pixel lies in two of them, the others in one ----
 */

/* The window that lies left of a pair of pixels, in one row of windows; the one to the right stands beside it. */
typedef struct pair_row {
    grad_window left;
    float right_share;
} pair_row;

/* What a pixel takes of a window, but for the channel. */
typedef struct window_share {
    const float *dy, *y;
    const int32_t *index;
    vf factor;
    vi name;
} window_share;

FV_ALWAYS_INLINE window_share share_of_window(const grad_step step, const grad_call *g, const grad_window *w) {
    window_share s = {g->dy + w->out, NULL, NULL, v_zero(), vi_set(0)};
    if (reads_x(step)) s.y = g->y + w->out;
    if (step == GRAD_MAX) s.index = w->index, s.name = vi_set(w->name);
    if (step == GRAD_AVERAGE) s.factor = v_set(w->share);
    if (step == GRAD_WEIGHTED) s.factor = v_set(g->weight[w->tap]);
    return s;
}

/* The vector of channels from c on. */
FV_ALWAYS_INLINE vf gather_vector(const grad_step step, const grad_call *g, const window_share *s, const int count,
                                  const float *x, size_t c) {
    vf sum = v_zero();
    for (int k = 0; k < count; k++) {
        const vf dy = v_load(s[k].dy + c);
        if (step == GRAD_MAX) {
            sum = v_add(sum, v_where(vi_eq(vi_load(s[k].index + c), s[k].name), dy));
        } else if (reads_x(step)) {
            const grad_read r = {dy, v_load(s[k].y + c), s[k].name};
            sum = add_share(step, g, &r, 0, 0, 0, v_load(x + c), sum);
        } else {
            sum = v_fma(dy, s[k].factor, sum);
        }
    }
    return sum;
}

/* All channels, VW or more, of the pixel at element `at`: one to four windows. */
FV_ALWAYS_INLINE void gather_few(const grad_step step, const grad_call *g, const grad_window *windows, const int count,
                                 ptrdiff_t at) {
    const size_t channels = (size_t)g->d->channels;
    const float *x = reads_x(step) ? g->x + at : NULL;
    float *dx = g->dx + at;
    window_share s[4];
    for (int k = 0; k < count; k++) s[k] = share_of_window(step, g, &windows[k]);
    size_t c = 0;
    for (; c + 2 * VW <= channels; c += 2 * VW) {
        v_store(dx + c, gather_vector(step, g, s, count, x, c));
        v_store(dx + c + VW, gather_vector(step, g, s, count, x, c + VW));
    }
    for (; c < channels; c += VW) {
        c = fv_min_size(c, channels - VW);
        v_store(dx + c, gather_vector(step, g, s, count, x, c));
    }
}

/* Two pixels side by side from element `at` on: the first lies in both windows of each row, the second in the right
 * one. */
FV_ALWAYS_INLINE void gather_pair(const grad_step step, const grad_call *given, const pair_row *w, ptrdiff_t at,
                                  const bool places, const int rows) {
    const grad_call own = *given, *const g = &own; /* stores of vectors may change anything but what is our own */
    grad_window first[4], second[2];
    for (int r = 0; r < rows; r++) {
        first[2 * r] = first[2 * r + 1] = w[r].left;
        grad_window *right = &first[2 * r + 1];
        right->out += g->d->out_pitch[3];
        if (step == GRAD_MAX) right->index += g->d->channels;
        right->tap -= 2;
        right->name -= places ? 0 : 2;
        right->share = w[r].right_share;
        second[r] = *right;
        second[r].tap++;
        second[r].name++;
    }
    gather_few(step, g, first, 2 * rows, at);
    gather_few(step, g, second, rows, at + g->d->in_pitch[3]);
}

static bool in_pairs(const fv_pool_desc *d) {
    return d->window[0] == 1 && d->stride[0] == 1 && d->pad[0] == 0 && d->window[1] <= 4 && d->stride[1] == 2 &&
           d->window[2] == 3 && d->stride[2] == 2 && d->channels >= VW;
}

/* 1 over what the average of the window divides by. */
static float share_of(const fv_pool_desc *d, int32_t row, int32_t column) {
    return 1.0f / (float)(fv_pool_counted(d, 0, 0) * fv_pool_counted(d, 1, row) * fv_pool_counted(d, 2, column));
}

/* Pairs from pixel i on until the row's windows or `end` are reached; rows: of windows, from box's first on. */
FV_ALWAYS_INLINE void gather_pairs_of(const grad_step step, const grad_call *given, fv_pool_pixel *i, int32_t end,
                                      const fv_pool_window *box, const int rows) {
    const fv_pool_desc *d = given->d;
    const grad_call own = *given, *const g = &own; /* stores of vectors may change anything but what is our own */
    const int32_t first_right = (i->at[2] + d->pad[2]) / 2, windows = d->out[2];
    const int32_t names_apart = d->places ? 2 : 0;
    const ptrdiff_t pixels_apart = 2 * d->in_pitch[3], windows_apart = d->out_pitch[3];
    int32_t inner_begin, inner_end, column = i->at[2], right = first_right;
    inner_pixels(d, 2, &inner_begin, &inner_end);
    pair_row w[2];
    for (int r = 0; r < rows; r++) {
        fv_pool_window one = {.at = {i->at[0], box->low[1] + r, right - 1}};
        (void)fv_pool_window_taps(d, i, &one);
        w[r].left = describe(given, i, &one, step == GRAD_AVERAGE);
        w[r].right_share = step == GRAD_AVERAGE ? share_of(d, box->low[1] + r, right) : 0;
    }
    for (ptrdiff_t at = fv_pool_offset(d->in_pitch, i);; at += pixels_apart) {
        gather_pair(step, g, w, at, names_apart != 0, rows);
        column += 2;
        if (++right >= windows || column + 2 > end) break;
        for (int r = 0; r < rows; r++) {
            w[r].left.out += windows_apart;
            if (step == GRAD_MAX) w[r].left.index += g->d->channels;
            w[r].left.name += names_apart;
            w[r].left.share = w[r].right_share;
            if (step == GRAD_AVERAGE && (right <= inner_begin || right >= inner_end))
                w[r].right_share = share_of(d, box->low[1] + r, right);
        }
    }
    i->at[2] = column;
}

/* Pixels of i's row as long as there are pairs before column `end`; returns whether there was one. box: the windows'
 * rows, one or two. */
FV_ALWAYS_INLINE bool gather_pairs(const grad_step step, const grad_call *g, fv_pool_pixel *i, int32_t end,
                                   const fv_pool_window *box) {
    const fv_pool_desc *d = g->d;
    const int32_t reach = i->at[2] + d->pad[2], rows = box->high[1] - box->low[1], right = reach / 2;
    if (reach % 2 != 0 || right < 1 || right >= d->out[2] || i->at[2] + 2 > end || rows < 1 || rows > 2) return false;
    if (rows == 1)
        gather_pairs_of(step, g, i, end, box, 1);
    else
        gather_pairs_of(step, g, i, end, box, 2);
    return true;
}

FV_ALWAYS_INLINE void gather_pixels(const grad_step step, const grad_call *given, fv_range pixels) {
    const fv_pool_desc desc = *given->d, *const d =
                                             &desc; /* stores of vectors may change anything but what is our own */
    grad_call own = *given, *const g = &own;
    own.d = d;
    const bool simple = apart(d), cells = in_cells(d), pairs = in_pairs(d),
               dilated = d->dilation[0] * d->dilation[1] * d->dilation[2] != 1;
    g->readable = dense_size(d->out_pitch, d->out, d->images, d->channels);
    g->writable = dense_size(d->in_pitch, d->in, d->images, d->channels) ? pixels.end * (size_t)d->channels : 0;
    fv_pool_pixel i = fv_pool_in_pixel(d, pixels.begin);
    for (size_t p = pixels.begin; p < pixels.end; fv_pool_next_row(d->in, &i)) {
        const size_t two_rows = 2 * (size_t)d->in[2];
        if (cells && i.at[2] == 0 && i.at[1] % 2 == 0 && i.at[1] < 2 * d->out[1] && pixels.end - p >= two_rows) {
            const size_t rows = fv_min_size((size_t)(d->out[1] - i.at[1] / 2), (pixels.end - p) / two_rows);
            spread_cells(step, g, &i, rows);
            p += rows * two_rows;
            i.at[1] += 2 * (int32_t)rows - 1;
            continue;
        }
        const size_t count = fv_min_size((size_t)(d->in[2] - i.at[2]), pixels.end - p);
        p += count;
        if (simple) {
            gather_row_apart(step, g, &i, i.at[2] + (int32_t)count);
            continue;
        }
        fv_pool_window box;
        for (int a = 0; a < 2; a++) fv_pool_window_range(d, a, i.at[a], &box.low[a], &box.high[a]);
        for (const int32_t end = i.at[2] + (int32_t)count; i.at[2] < end; i.at[2]++) {
            if (dilated) {
                gather_dilated(step, g, &i);
                continue;
            }
            if (pairs && gather_pairs(step, g, &i, end, &box)) {
                i.at[2]--;
                continue;
            }
            fv_pool_window_range(d, 2, i.at[2], &box.low[2], &box.high[2]);
            gather_pixel(step, g, &i, &box);
        }
    }
}

static void pool_max_grad(const fv_pool_desc *d, const int32_t *index, const float *dy, float *dx, fv_range pixels) {
    gather_pixels(GRAD_MAX, &(grad_call){.d = d, .index = index, .dy = dy, .dx = dx}, pixels);
}

static void pool_average_grad(const fv_pool_desc *d, const float *dy, float *dx, fv_range pixels) {
    gather_pixels(GRAD_AVERAGE, &(grad_call){.d = d, .dy = dy, .dx = dx}, pixels);
}

static void pool_lp_grad(const fv_pool_desc *d, float p, const float *x, const float *y, const float *dy, float *dx,
                         fv_range pixels) {
    grad_call g = {.d = d, .x = x, .y = y, .dy = dy, .dx = dx, .p = p};
    if (p == 1)
        gather_pixels(GRAD_ABS, &g, pixels);
    else if (p == 2)
        gather_pixels(GRAD_SQUARES, &g, pixels);
    else if (p == 3)
        gather_pixels(GRAD_CUBES, &g, pixels);
    else
        gather_pixels(GRAD_LP, &g, pixels);
}

static void pool_weighted_grad(const fv_pool_desc *d, const float *weight, const float *dy, float *dx,
                               fv_range pixels) {
    gather_pixels(GRAD_WEIGHTED, &(grad_call){.d = d, .weight = weight, .dy = dy, .dx = dx}, pixels);
}

/* ---- unpooling: rows of channels are cleared and read as vectors, values go to their places one by one ---- */

static inline bool stays_inside(const fv_unpool_desc *d, int32_t place) {
    return place >= 0 && (size_t)place < d->pixels;
}

/* A map whose rows and columns are whole multiples of the pooled one's falls apart into cells, one a value. */
typedef struct unpool_cells {
    size_t height, width; /* of a cell; 0: no cells */
} unpool_cells;

static unpool_cells find_cells(const fv_unpool_desc *d) {
    const unpool_cells none = {0, 0};
    if (!d->pooled_width || !d->width || d->width % d->pooled_width || d->pixels % d->width || d->pixels > INT32_MAX ||
        d->pooled % d->pooled_width || !d->pooled)
        return none;
    const size_t rows = d->pixels / d->width, pooled_rows = d->pooled / d->pooled_width;
    const unpool_cells c = {rows / pooled_rows, d->width / d->pooled_width};
    return rows % pooled_rows || !c.height || c.height * c.width > 16 ? none : c;
}

/* n channels of one value's cell, whose first pixel is `first`: each of its pixels is the value or 0. Returns whether
 * every channel has its place in the cell. */
FV_ALWAYS_INLINE bool fill_cell(const fv_unpool_desc *d, vf x, vi place, float *y, size_t first, const size_t height,
                                const size_t width, const size_t n) {
    vm found = v_lt(v_zero(), v_zero());
    for (size_t v = 0; v < height; v++)
        for (size_t u = 0; u < width; u++) {
            const vm here = vi_eq(place, vi_set((int32_t)(first + v * d->width + u)));
            store_channels(y + (v * d->width + u) * d->channels, v_where(here, x), n);
            found = v_either(found, here);
        }
    const unsigned all = (1u << n) - 1;
    return (v_lanes(found) & all) == all;
}

/* One pass that writes every pixel once; false as soon as a value has its place outside its own cell. */
FV_ALWAYS_INLINE bool unpool_by_cells(const fv_unpool_desc *given, const float *x, const int32_t *place, float *y,
                                      size_t width, const size_t cell_height, const size_t cell_width) {
    const fv_unpool_desc own = *given, *const d = &own; /* stores of vectors may change anything but what is our own */
    for (size_t i = 0; i < d->pooled; i++, x += d->channels, place += d->channels) {
        const size_t first = i / d->pooled_width * cell_height * d->width + i % d->pooled_width * cell_width;
        float *to = y + first * d->channels;
        size_t c = 0;
        for (; c + VW <= width; c += VW)
            if (!fill_cell(d, v_load(x + c), vi_load(place + c), to + c, first, cell_height, cell_width, VW))
                return false;
        if (c < width && !fill_cell(d, v_load_part(x + c, width - c), vi_load_part(place + c, width - c), to + c, first,
                                    cell_height, cell_width, width - c))
            return false;
    }
    return true;
}

static void unpool(const fv_unpool_desc *d, const float *x, const int32_t *place, float *y, fv_range channels) {
    const size_t width = channels.end - channels.begin;
    const unpool_cells cells = find_cells(d);
    x += channels.begin, place += channels.begin, y += channels.begin;
    if (cells.height == 2 && cells.width == 2 && unpool_by_cells(d, x, place, y, width, 2, 2)) return;
    if (cells.height && cells.height * cells.width != 4 &&
        unpool_by_cells(d, x, place, y, width, cells.height, cells.width))
        return;
    for (size_t p = 0; p < d->pixels; p++)
        for (size_t c = 0; c < width; c += VW)
            store_channels(y + p * d->channels + c, v_zero(), fv_min_size(width - c, VW));
    for (size_t i = 0; i < d->pooled; i++, x += d->channels, place += d->channels)
        for (size_t c = 0; c < width; c++)
            if (stays_inside(d, place[c])) y[(size_t)place[c] * d->channels + c] = x[c];
}

/* A bit a channel says that a later value has the place. */
static void unpool_grad(const fv_unpool_desc *d, const int32_t *place, const float *dy, float *dx, fv_range channels,
                        void *scratch) {
    const size_t width = channels.end - channels.begin;
    uint16_t *taken = scratch;
    for (size_t p = 0; p < d->pixels; p++) taken[p] = 0;
    dy += channels.begin;
    for (size_t i = d->pooled; i-- > 0;) {
        const size_t row = i * d->channels + channels.begin;
        for (size_t c = 0; c < width; c++) {
            const int32_t to = place[row + c];
            const bool stayed = stays_inside(d, to) && !(taken[to] >> c & 1);
            dx[row + c] = stayed ? dy[(size_t)to * d->channels + c] : 0;
            if (stayed) taken[to] = (uint16_t)(taken[to] | 1u << c);
        }
    }
}

static void init_pool(fv_pool_kernels *k) {
    *k = (fv_pool_kernels){pool_max,      pool_max_grad,      pool_average, pool_average_grad, pool_lp, pool_lp_grad,
                           pool_weighted, pool_weighted_grad, unpool,       unpool_grad};
}

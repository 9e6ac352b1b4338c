#include "kernels/check/engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* A quiet NaN nobody computes. */
static const uint32_t canary = 0x7fd5a5a5u;

/* ---- memory ---- */

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

bool fv_check_memory_create(fv_check_memory **out) {
    const size_t page = page_size(), span = FV_CHECK_BUFFER_BYTES + page;
    const size_t total = FV_CHECK_BUFFERS * span + page;
    fv_check_memory *m = calloc(1, sizeof *m);
    if (!m) return false;
    unsigned char *map = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    m->plain =
        mmap(NULL, FV_CHECK_PLAIN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *out = m;
    for (size_t i = 0; map != MAP_FAILED && i < FV_CHECK_BUFFERS; i++) {
        m->buffer[i].region = map + page + i * span;
        if (mprotect(m->buffer[i].region, FV_CHECK_BUFFER_BYTES, PROT_READ | PROT_WRITE) != 0) map = MAP_FAILED;
    }
    if (map != MAP_FAILED && m->plain != MAP_FAILED) return true;
    fv_check_memory_free(m);
    *out = NULL;
    return false;
}

void fv_check_memory_free(fv_check_memory *m) {
    if (!m) return;
    const size_t page = page_size();
    if (m->buffer[0].region)
        munmap(m->buffer[0].region - page, FV_CHECK_BUFFERS * (FV_CHECK_BUFFER_BYTES + page) + page);
    if (m->plain != MAP_FAILED) munmap(m->plain, FV_CHECK_PLAIN_BYTES);
    free(m);
}

void fv_check_memory_reset(fv_check_memory *m) {
    m->used = 0;
    m->plain_used = 0;
}

static uint64_t checksum(const unsigned char *data, size_t bytes) {
    uint64_t sum = 14695981039346656037u;
    size_t i = 0;
    for (; i + 8 <= bytes; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        sum = (sum ^ word) * 1099511628211u;
        sum ^= sum >> 29;
    }
    for (; i < bytes; i++) sum = (sum ^ data[i]) * 1099511628211u;
    return sum;
}

static void fill_canary(unsigned char *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 4) memcpy(data + i, &canary, bytes - i < 4 ? bytes - i : 4);
}

/* Margins of a buffer inside its region, before and behind. */
static size_t margin_before(const fv_check_buffer *b) {
    return fv_min_size((size_t)(b->data - b->region), FV_CHECK_MARGIN);
}
static size_t margin_behind(const fv_check_buffer *b) {
    return fv_min_size((size_t)(b->region + FV_CHECK_BUFFER_BYTES - (b->data + b->bytes)), FV_CHECK_MARGIN);
}

void *fv_check_place(fv_case *c, const char *name, size_t bytes, size_t alignment, bool input) {
    fv_check_memory *m = c->memory;
    if (m->used == FV_CHECK_BUFFERS || bytes + 4096 + 2 * FV_CHECK_MARGIN > FV_CHECK_BUFFER_BYTES) abort();
    fv_check_buffer *b = &m->buffer[m->used++];
    const size_t place = check_below(&c->random, 3), end = FV_CHECK_BUFFER_BYTES - bytes;
    size_t offset = 0;                                                                  /* against the page before it */
    if (place == 1) offset = end / alignment * alignment;                               /* against the page behind it */
    if (place == 2) offset = FV_CHECK_MARGIN + check_below(&c->random, 64) * alignment; /* between canaries */
    b->data = b->region + offset;
    b->bytes = bytes;
    b->input = input;
    b->name = name;
    fill_canary(b->data - margin_before(b), margin_before(b));
    fill_canary(b->data + bytes, margin_behind(b));
    return b->data;
}

float *fv_check_input(fv_case *c, const char *name, size_t n) {
    float *x = fv_check_place(c, name, n * sizeof(float), sizeof(float), true);
    fv_check_fill(c, x, n);
    return x;
}

float *fv_check_output(fv_case *c, const char *name, size_t n) {
    float *y = fv_check_place(c, name, n * sizeof(float), sizeof(float), false);
    fill_canary((unsigned char *)y, n * sizeof(float));
    return y;
}

float *fv_check_copy(fv_case *c, const char *name, const float *x, size_t n) {
    float *y = fv_check_place(c, name, n * sizeof(float), sizeof(float), false);
    memcpy(y, x, n * sizeof(float));
    return y;
}

void *fv_check_scratch(fv_case *c, size_t bytes) {
    if (bytes == 0) return NULL;
    unsigned char *s = fv_check_place(c, "scratch", bytes, FV_ALIGNMENT, false);
    memset(s, check_chance(&c->random, 0.5) ? 0xff : 0x7b, bytes); /* NaN, or about 1e36 */
    return s;
}

void *fv_check_plain(fv_case *c, size_t bytes) {
    fv_check_memory *m = c->memory;
    const size_t at = fv_round_up(m->plain_used, FV_ALIGNMENT);
    if (at + bytes > FV_CHECK_PLAIN_BYTES) abort();
    m->plain_used = at + bytes;
    memset(m->plain + at, 0, bytes);
    return m->plain + at;
}

void fv_check_freeze(fv_case *c) {
    for (int i = 0; i < c->memory->used; i++) {
        fv_check_buffer *b = &c->memory->buffer[i];
        if (b->input) b->sum = checksum(b->data, b->bytes);
    }
}

static bool is_canary(const unsigned char *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 4)
        if (memcmp(data + i, &canary, bytes - i < 4 ? bytes - i : 4) != 0) return false;
    return true;
}

void fv_check_memory_verify(fv_case *c) {
    for (int i = 0; i < c->memory->used; i++) {
        const fv_check_buffer *b = &c->memory->buffer[i];
        if (!is_canary(b->data - margin_before(b), margin_before(b)))
            fv_check_fail(c, "bytes before %s were written", b->name);
        if (!is_canary(b->data + b->bytes, margin_behind(b))) fv_check_fail(c, "bytes behind %s were written", b->name);
        if (b->input && checksum(b->data, b->bytes) != b->sum) fv_check_fail(c, "input %s was written", b->name);
    }
}

/* ---- values ---- */

size_t fv_check_length(fv_check_random *r, size_t most) {
    size_t n;
    switch (check_below(r, 4)) {
    case 0:
        n = 1 + check_below(r, 4);
        break;
    case 1:
        n = 8 * (1 + check_below(r, 8)) + check_below(r, 3) - 1;
        break;
    case 2:
        n = 1 + check_below(r, fv_min_size(most, 40));
        break;
    default:
        n = 1 + check_below(r, most);
    }
    return fv_min_size(n, most);
}

static float nasty(fv_check_random *r) {
    const float sign = check_chance(r, 0.5) ? -1.0f : 1.0f;
    switch (check_below(r, 6)) {
    case 0:
        return sign * 0.0f;
    case 1:
        return sign * (float)(1 + check_below(r, 100)) * FLT_TRUE_MIN;
    case 2:
        return sign * check_uniform(r, 1e-30f, 1e-18f);
    case 3:
        return sign * check_uniform(r, 1e6f, 1e15f);
    default:
        return check_uniform(r, -1, 1);
    }
}

void fv_check_fill(fv_case *c, float *x, size_t n) {
    fv_check_random *r = &c->random;
    for (size_t i = 0; i < n; i++) {
        switch (c->values) {
        case FV_VALUES_INTEGER: {
            const int32_t k = check_between(r, -4, 3);
            x[i] = (float)(k >= 0 ? k + 1 : k);
            break;
        }
        case FV_VALUES_NASTY:
            x[i] = nasty(r);
            break;
        default:
            x[i] = check_uniform(r, -1, 1);
        }
    }
    if (c->values != FV_VALUES_NONFINITE || n == 0) return;
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    for (size_t k = check_below(r, 3); k < 3; k++) x[check_below(r, n)] = odd[check_below(r, 3)];
}

/* ---- comparing ---- */

void fv_check_shape(fv_case *c, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(c->shape, sizeof c->shape, format, list);
    va_end(list);
}

void fv_check_fail(fv_case *c, const char *format, ...) {
    if (c->failed) return;
    c->failed = true;
    va_list list;
    va_start(list, format);
    vsnprintf(c->message, sizeof c->message, format, list);
    va_end(list);
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static bool same_value(float a, float b) { return bits_of(a) == bits_of(b) || (a != a && b != b); }

uint64_t fv_check_ulp(float a, float b) {
    if (a != a || b != b) return a != a && b != b ? 0 : UINT64_MAX;
    int64_t i[2] = {bits_of(a), bits_of(b)};
    for (int k = 0; k < 2; k++)
        if (i[k] & 0x80000000) i[k] = 0x80000000 - i[k];
    return (uint64_t)(i[0] > i[1] ? i[0] - i[1] : i[1] - i[0]);
}

static const double untouched = -1; /* in fv_approx.error */

fv_approx *fv_check_expected(fv_case *c, size_t n) {
    fv_approx *e = fv_check_plain(c, n * sizeof *e);
    for (size_t i = 0; i < n; i++) e[i] = (fv_approx){0, untouched};
    return e;
}

static double flush(double x) { return fabs(x) < FLT_MIN ? 0 : x; }

/* Error over bound; infinity where no bound can excuse it. */
static double error_ratio(double got, double want, double bound) {
    if (want != want) return got != got ? 0 : INFINITY;
    if (got == want || flush(got) == flush(want)) return 0;
    if (isinf(want) || !isfinite(got)) {
        /* Results at the edge of overflow may fall on either side of it. */
        const bool edge = fabs(want) + bound > FLT_MAX && fabs(got) + bound > FLT_MAX && (got > 0) == (want > 0);
        return edge && isfinite(want) ? 0 : INFINITY;
    }
    const double error = fabs(got - want);
    return bound > 0 ? error / bound : INFINITY;
}

void fv_check_compare(fv_case *c, const char *name, const float *got, const float *scalar, const fv_approx *expected,
                      size_t n) {
    for (size_t i = 0; i < n; i++) {
        const fv_approx *e = &expected[i];
        if (e->error == untouched) {
            if (bits_of(got[i]) != canary) {
                fv_check_fail(c, "%s[%zu]: got %.9g where nothing is to be written", name, i, (double)got[i]);
                return;
            }
            continue;
        }
        if (bits_of(got[i]) == canary) {
            fv_check_fail(c, "%s[%zu]: not written, expected %.9g", name, i, e->value);
            return;
        }
        const double ratio = error_ratio(got[i], e->value, e->error);
        if (!(ratio <= 1)) {
            fv_check_fail(c, "%s[%zu]: got %.9g, expected %.9g, bound %.3g", name, i, (double)got[i], e->value,
                          e->error);
            return;
        }
        c->worst_ratio = fmax(c->worst_ratio, ratio);
        if (!scalar) continue;
        const double slack = c->same_as_scalar ? 0 : 2 * e->error;
        if (c->same_as_scalar ? !same_value(got[i], scalar[i]) : !(error_ratio(got[i], scalar[i], slack) <= 1)) {
            fv_check_fail(c, "%s[%zu]: got %.9g, scalar %.9g, bound %.3g", name, i, (double)got[i], (double)scalar[i],
                          slack);
            return;
        }
        if (fabs(e->value) >= FLT_MIN && isfinite(e->value)) {
            const uint64_t ulp = fv_check_ulp(got[i], scalar[i]);
            if (ulp > c->worst_ulp) c->worst_ulp = ulp;
        }
    }
}

static void fail_at(fv_case *c, const char *name, size_t i, float got, float want) {
    fv_check_fail(c, "%s[%zu]: got %.9g (%08x), expected %.9g (%08x)", name, i, (double)got, (unsigned)bits_of(got),
                  (double)want, (unsigned)bits_of(want));
}

void fv_check_same_bits(fv_case *c, const char *name, const void *got, const void *want, size_t n) {
    if (memcmp(got, want, 4 * n) == 0) return;
    const float *a = got, *b = want;
    size_t i = 0;
    while (bits_of(a[i]) == bits_of(b[i])) i++;
    fail_at(c, name, i, a[i], b[i]);
}

void fv_check_same_values(fv_case *c, const char *name, const float *got, const float *want, size_t n) {
    size_t i = 0;
    for (; i < n && same_value(got[i], want[i]); i++)
        if ((bits_of(got[i]) == canary) != (bits_of(want[i]) == canary)) break;
    if (i < n) fail_at(c, name, i, got[i], want[i]);
}

fv_check_cut fv_check_cut_range(fv_case *c, fv_range whole) {
    fv_check_cut cut = {.parts = 0};
    const size_t wanted = 1 + check_below(&c->random, 4);
    size_t at = whole.begin;
    while (cut.parts + 1 < wanted && at < whole.end) {
        const size_t next = at + 1 + check_below(&c->random, whole.end - at);
        cut.part[cut.parts++] = (fv_range){at, next};
        at = next;
    }
    if (at < whole.end || cut.parts == 0) cut.part[cut.parts++] = (fv_range){at, whole.end};
    for (size_t i = cut.parts - 1; i > 0; i--) {
        const size_t k = check_below(&c->random, i + 1);
        const fv_range swap = cut.part[i];
        cut.part[i] = cut.part[k];
        cut.part[k] = swap;
    }
    return cut;
}

#include "picture.h"

#include <stdlib.h>

bool loss_curve_add(loss_curve *c, int64_t step, double loss) {
    if (c->count == c->capacity) {
        const size_t capacity = c->capacity ? 2 * c->capacity : 1024;
        double *steps = realloc(c->steps, capacity * sizeof *steps);
        if (!steps) return false;
        c->steps = steps;
        double *losses = realloc(c->losses, capacity * sizeof *losses);
        if (!losses) return false;
        c->losses = losses;
        c->capacity = capacity;
    }
    c->steps[c->count] = (double)step;
    c->losses[c->count++] = loss;
    return true;
}

void loss_curve_free(loss_curve *c) {
    free(c->steps);
    free(c->losses);
    *c = (loss_curve){0};
}

#ifndef FOVEA_HAVE_CAIRO

bool picture_available(void) { return false; }

static bool refuse(const char **why) {
    *why = "this build cannot draw pictures: install libcairo2-dev and build again";
    return false;
}

bool loss_curve_plot(const loss_curve *c, const char *path, const char **why) {
    (void)c, (void)path;
    return refuse(why);
}

bool picture_grid(const picture_cell *cells, size_t count, const char *path, const char **why) {
    (void)cells, (void)count, (void)path;
    return refuse(why);
}

#else

#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool picture_available(void) { return true; }

/* Writes beside and renames, so that an older picture stays whole when the disk is full. What is no file is written to as it is. */
static bool save(cairo_surface_t *surface, const char *path, const char **why) {
    static char sentence[512];
    char beside[4096];
    struct stat there;
    const bool special = stat(path, &there) == 0 && !S_ISREG(there.st_mode);
    const int length = special ? snprintf(beside, sizeof beside, "%s", path)
                               : snprintf(beside, sizeof beside, "%s.part%ld", path, (long)getpid());
    cairo_status_t status = cairo_surface_status(surface);
    if (length < 0 || (size_t)length >= sizeof beside) status = CAIRO_STATUS_FILE_NOT_FOUND;
    if (status == CAIRO_STATUS_SUCCESS) status = cairo_surface_write_to_png(surface, beside);
    if (status == CAIRO_STATUS_SUCCESS && !special && rename(beside, path) != 0) status = CAIRO_STATUS_WRITE_ERROR;
    if (status == CAIRO_STATUS_SUCCESS) return true;
    if (!special) unlink(beside);
    snprintf(sentence, sizeof sentence, "cannot write %s: %s", path, cairo_status_to_string(status));
    *why = sentence;
    return false;
}

static void text(cairo_t *cr, double x, double y, double size, double align, const char *words) {
    cairo_text_extents_t e;
    cairo_set_font_size(cr, size);
    cairo_text_extents(cr, words, &e);
    cairo_move_to(cr, x - align * e.x_advance, y);
    cairo_show_text(cr, words);
}

typedef struct axes {
    double left, top, width, height; /* pixels */
    double x0, x1, y0, y1;           /* data */
} axes;

static double to_x(const axes *a, double v) { return a->left + a->width * (v - a->x0) / (a->x1 - a->x0); }
static double to_y(const axes *a, double v) { return a->top + a->height * (a->y1 - v) / (a->y1 - a->y0); }

/* 1, 2 or 5 times a power of ten, about a fifth of the span. */
static double tick_step(double span) {
    const double raw = span / 5, power = pow(10, floor(log10(raw))), lead = raw / power;
    return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

static void draw_axes(cairo_t *cr, const axes *a) {
    char words[32];
    cairo_set_line_width(cr, 1);
    const double sy = tick_step(a->y1 - a->y0), sx = tick_step(a->x1 - a->x0);
    for (double v = ceil(a->y0 / sy) * sy; v <= a->y1 + 1e-9 * sy; v += sy) {
        cairo_set_source_rgb(cr, 0.88, 0.88, 0.88);
        cairo_move_to(cr, a->left, to_y(a, v));
        cairo_rel_line_to(cr, a->width, 0);
        cairo_stroke(cr);
        cairo_set_source_rgb(cr, 0.2, 0.2, 0.2);
        snprintf(words, sizeof words, "%g", fabs(v) < 1e-9 * sy ? 0 : v);
        text(cr, a->left - 8, to_y(a, v) + 4, 12, 1, words);
    }
    for (double v = ceil(a->x0 / sx) * sx; v <= a->x1 + 1e-9 * sx; v += sx) {
        snprintf(words, sizeof words, "%g", v);
        text(cr, to_x(a, v), a->top + a->height + 18, 12, 0.5, words);
    }
    cairo_rectangle(cr, a->left, a->top, a->width, a->height);
    cairo_stroke(cr);
}

/* Each step faint, and over it the mean of a sliding window. */
static void draw_curve(cairo_t *cr, const axes *a, const loss_curve *c) {
    cairo_rectangle(cr, a->left, a->top, a->width, a->height);
    cairo_save(cr);
    cairo_clip(cr);
    cairo_set_source_rgba(cr, 0.12, 0.47, 0.71, 0.3);
    for (size_t i = 0; i < c->count; i++) cairo_line_to(cr, to_x(a, c->steps[i]), to_y(a, c->losses[i]));
    cairo_stroke(cr);
    const size_t window = c->count / 50 + 1;
    double sum = 0;
    cairo_set_source_rgb(cr, 0.12, 0.47, 0.71);
    cairo_set_line_width(cr, 2);
    for (size_t i = 0; i < c->count; i++) {
        sum += c->losses[i] - (i >= window ? c->losses[i - window] : 0);
        cairo_line_to(cr, to_x(a, c->steps[i]), to_y(a, sum / (double)(i < window ? i + 1 : window)));
    }
    cairo_stroke(cr);
    cairo_restore(cr);
}

bool loss_curve_plot(const loss_curve *c, const char *path, const char **why) {
    enum { width = 800, height = 480 };
    if (c->count == 0) {
        *why = "no step was made, so there is no loss to plot";
        return false;
    }
    axes a = {70, 40, width - 90, height - 100, c->steps[0] - 1, c->steps[c->count - 1], 0, 0};
    for (size_t i = 0; i < c->count; i++)
        if (isfinite(c->losses[i])) a.y1 = fmax(a.y1, c->losses[i]);
    if (!(a.y1 > 0)) a.y1 = 1;
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    cairo_t *cr = cairo_create(surface);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_source_rgb(cr, 0.1, 0.1, 0.1);
    text(cr, width / 2.0, 26, 16, 0.5, "Training loss");
    text(cr, width / 2.0, height - 16, 13, 0.5, "step");
    draw_axes(cr, &a);
    draw_curve(cr, &a, c);
    cairo_destroy(cr);
    const bool ok = save(surface, path, why);
    cairo_surface_destroy(surface);
    return ok;
}

static void draw_image(cairo_t *cr, const picture_cell *p, double x, double y, double side) {
    cairo_surface_t *s = cairo_image_surface_create(CAIRO_FORMAT_RGB24, p->width, p->height);
    uint8_t *bytes = cairo_image_surface_get_data(s);
    if (cairo_surface_status(s) == CAIRO_STATUS_SUCCESS && bytes) {
        const int stride = cairo_image_surface_get_stride(s);
        for (int32_t i = 0; i < p->height; i++)
            for (int32_t j = 0; j < p->width; j++) {
                const uint8_t *v = p->pixels + ((size_t)i * (size_t)p->width + (size_t)j) * (size_t)p->channels;
                const bool grey = p->channels < 3;
                const uint32_t rgb = (uint32_t)v[0] << 16 | (uint32_t)v[grey ? 0 : 1] << 8 | v[grey ? 0 : 2];
                memcpy(bytes + (size_t)i * (size_t)stride + 4 * (size_t)j, &rgb, 4);
            }
        cairo_surface_mark_dirty(s);
    }
    const double scale = side / (p->width > p->height ? p->width : p->height);
    cairo_save(cr);
    cairo_translate(cr, x, y);
    cairo_scale(cr, scale, scale);
    cairo_set_source_surface(cr, s, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cr), scale > 1 ? CAIRO_FILTER_NEAREST : CAIRO_FILTER_GOOD);
    cairo_paint(cr);
    cairo_restore(cr);
    cairo_surface_destroy(s);
}

bool picture_grid(const picture_cell *cells, size_t count, const char *path, const char **why) {
    enum { side = 112, margin = 14, line = 16 };
    const size_t columns = count < 6 ? count : 6, rows = (count + columns - 1) / (columns ? columns : 1);
    const int width = (int)columns * (side + margin) + margin;
    const int height = (int)rows * (side + 2 * line + margin) + margin;
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    cairo_t *cr = cairo_create(surface);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    for (size_t i = 0; i < count; i++) {
        const picture_cell *p = &cells[i];
        const double x = margin + (double)(i % columns) * (side + margin);
        const double y = margin + (double)(i / columns) * (side + 2 * line + margin);
        draw_image(cr, p, x, y, side);
        if (!p->judged)
            cairo_set_source_rgb(cr, 0.1, 0.1, 0.1);
        else
            cairo_set_source_rgb(cr, p->right ? 0.0 : 0.8, p->right ? 0.5 : 0.0, 0.0);
        text(cr, x, y + side + 13, 12, 0, p->title);
        cairo_set_source_rgb(cr, 0.4, 0.4, 0.4);
        text(cr, x, y + side + 13 + line, 11, 0, p->detail);
    }
    cairo_destroy(cr);
    const bool ok = save(surface, path, why);
    cairo_surface_destroy(surface);
    return ok;
}

#endif

/* Plots, with cairo; without it nothing is drawn. */
#include "lab.h"

#ifdef FOVEA_HAVE_CAIRO
#include <cairo.h>
#include <math.h>
#include <string.h>

enum { WIDTH = 900, HEIGHT = 460, LEFT = 80, RIGHT = 250, TOP = 60, BOTTOM = 60 };

static const double colours[][3] = {{0.12, 0.47, 0.71}, {0.84, 0.15, 0.16}, {0.17, 0.63, 0.17}, {0.58, 0.40, 0.74}};

static void words(cairo_t *cr, double x, double y, double size, double align, const char *text) {
    cairo_text_extents_t e;
    cairo_select_font_face(cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, size);
    cairo_text_extents(cr, text, &e);
    cairo_move_to(cr, x - align * e.x_advance, y);
    cairo_show_text(cr, text);
}

static void save(const lab *l, cairo_surface_t *surface, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.png", l->folder, name);
    if (cairo_surface_write_to_png(surface, path) != CAIRO_STATUS_SUCCESS)
        fprintf(stderr, "fovea-lecture: cannot write %s\n", path);
}

typedef struct frame {
    double low[2], high[2];
    bool logarithmic;
} frame;

static double scaled(const frame *f, int axis, double v) {
    if (axis == 1 && f->logarithmic) v = log10(v > 1e-12 ? v : 1e-12);
    return f->high[axis] > f->low[axis] ? (v - f->low[axis]) / (f->high[axis] - f->low[axis]) : 0.5;
}

static double place_x(const frame *f, double v) { return LEFT + scaled(f, 0, v) * (WIDTH - LEFT - RIGHT); }
static double place_y(const frame *f, double v) { return HEIGHT - BOTTOM - scaled(f, 1, v) * (HEIGHT - TOP - BOTTOM); }

static frame frame_of(const lab_curve *curves, int count, bool logarithmic) {
    frame f = {{INFINITY, INFINITY}, {-INFINITY, -INFINITY}, logarithmic};
    for (int c = 0; c < count; c++)
        for (int i = 0; i < curves[c].count; i++) {
            const double y = logarithmic ? log10(fmax(curves[c].y[i], 1e-12)) : curves[c].y[i];
            const double slack = curves[c].deviation && !logarithmic ? curves[c].deviation[i] : 0;
            f.low[0] = fmin(f.low[0], curves[c].x[i]);
            f.high[0] = fmax(f.high[0], curves[c].x[i]);
            f.low[1] = fmin(f.low[1], y - slack);
            f.high[1] = fmax(f.high[1], y + slack);
        }
    const double margin = f.high[1] > f.low[1] ? 0.05 * (f.high[1] - f.low[1]) : 0.5;
    f.low[1] -= margin;
    f.high[1] += margin;
    return f;
}

/* Round steps, about five on an axis: 1, 2 or 5 times a power of ten; whole decades on a logarithmic one. */
static double step_of(double low, double high, bool decades) {
    const double about = (high - low) / 5;
    if (decades) return fmax(1, ceil(about));
    if (!(about > 0)) return 1;
    const double power = pow(10, floor(log10(about))), rest = about / power;
    return power * (rest > 5 ? 10 : rest > 2 ? 5 : rest > 1 ? 2 : 1);
}

static void tick_x(cairo_t *cr, const frame *f, double v) {
    char text[32];
    snprintf(text, sizeof text, "%.4g", v);
    words(cr, place_x(f, v), HEIGHT - BOTTOM + 20, 12, 0.5, text);
}

/* v: on a logarithmic axis the exponent. */
static void tick_y(cairo_t *cr, const frame *f, double v) {
    char text[32];
    const double y = HEIGHT - BOTTOM - (v - f->low[1]) / (f->high[1] - f->low[1]) * (HEIGHT - TOP - BOTTOM);
    snprintf(text, sizeof text, f->logarithmic ? "%.0e" : "%.4g", f->logarithmic ? pow(10, v) : fabs(v) < 1e-9 ? 0 : v);
    words(cr, LEFT - 8, y + 4, 12, 1, text);
    cairo_set_source_rgb(cr, 0.88, 0.88, 0.88);
    cairo_move_to(cr, LEFT, y);
    cairo_line_to(cr, WIDTH - RIGHT, y);
    cairo_set_line_width(cr, 1);
    cairo_stroke(cr);
    cairo_set_source_rgb(cr, 0.1, 0.1, 0.1);
}

static void axes(cairo_t *cr, const frame *f, const lab_curve *u, const char *title, const char *x_label, const char *y_label) {
    cairo_set_source_rgb(cr, 0.1, 0.1, 0.1);
    words(cr, (LEFT + WIDTH - RIGHT) / 2.0, 28, 16, 0.5, title);
    words(cr, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14, 13, 0.5, x_label);
    words(cr, 10, TOP - 12, 13, 0, y_label);
    const double y_step = step_of(f->low[1], f->high[1], f->logarithmic);
    for (double y = ceil(f->low[1] / y_step - 1e-9) * y_step; y <= f->high[1] + 1e-9; y += y_step) tick_y(cr, f, y);
    const int every = u->count > 8 ? (u->count + 7) / 8 : 1;
    for (int i = 0; i < u->count; i += every) tick_x(cr, f, u->x[i]);
}

static void draw(cairo_t *cr, const frame *f, const lab_curve *u) {
    cairo_set_line_width(cr, 2);
    cairo_new_path(cr); /* words leave a point behind */
    for (int i = 0; i < u->count; i++) cairo_line_to(cr, place_x(f, u->x[i]), place_y(f, u->y[i]));
    cairo_stroke(cr);
    for (int i = 0; i < u->count; i++) {
        const double x = place_x(f, u->x[i]);
        cairo_new_path(cr);
        cairo_arc(cr, x, place_y(f, u->y[i]), 3, 0, 6.2832);
        cairo_fill(cr);
        if (!u->deviation) continue;
        for (int side = -1; side <= 1; side += 2) {
            const double y = place_y(f, u->y[i] + side * u->deviation[i]);
            cairo_move_to(cr, x, place_y(f, u->y[i]));
            cairo_line_to(cr, x, y);
            cairo_move_to(cr, x - 4, y);
            cairo_line_to(cr, x + 4, y);
            cairo_stroke(cr);
        }
    }
}

void lab_plot(const lab *l, const char *name, const char *title, const char *x_label, const char *y_label,
              const lab_curve *curves, int count, bool logarithmic) {
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH, HEIGHT);
    cairo_t *cr = cairo_create(surface);
    const frame f = frame_of(curves, count, logarithmic);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    axes(cr, &f, &curves[0], title, x_label, y_label);
    for (int c = 0; c < count; c++) {
        const double row = TOP + 14 + 24.0 * c, *colour = colours[c % 4];
        cairo_set_source_rgb(cr, colour[0], colour[1], colour[2]);
        draw(cr, &f, &curves[c]);
        cairo_set_line_width(cr, 3);
        cairo_move_to(cr, WIDTH - RIGHT + 18, row - 4);
        cairo_line_to(cr, WIDTH - RIGHT + 38, row - 4);
        cairo_stroke(cr);
        cairo_set_source_rgb(cr, 0.1, 0.1, 0.1);
        words(cr, WIDTH - RIGHT + 46, row, 13, 0, curves[c].name);
    }
    save(l, surface, name);
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
}

void lab_regions(const lab *l, const char *name, const lab_region *regions, int count, int side, const lab_data *points) {
    enum { GAP = 16, HEAD = 30, DRAWN = 300 };
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, GAP + count * (2 * side + GAP), HEAD + 2 * side + GAP);
    cairo_t *cr = cairo_create(surface);
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    for (int r = 0; r < count; r++) {
        const double left = GAP + r * (2.0 * side + GAP);
        for (int i = 0; i < side * side; i++) {
            const double shade = regions[r].classes[i] ? 0.78 : 0.93;
            cairo_set_source_rgb(cr, regions[r].classes[i] ? 1 : shade - 0.15, shade, regions[r].classes[i] ? shade - 0.05 : 1);
            cairo_rectangle(cr, left + 2 * (i % side), HEAD + 2.0 * (i / side), 2, 2);
            cairo_fill(cr);
        }
        for (int64_t i = 0; i < points->count && i < DRAWN; i++) {
            const double *c = colours[points->labels[i] ? 1 : 0];
            cairo_set_source_rgb(cr, c[0], c[1], c[2]);
            cairo_arc(cr, left + (points->x[2 * i] + 1) * side, HEAD + (1 - points->x[2 * i + 1]) * side, 2, 0, 6.2832);
            cairo_fill(cr);
        }
        cairo_set_source_rgb(cr, 0.1, 0.1, 0.1);
        words(cr, left + side, 20, 15, 0.5, regions[r].caption);
    }
    save(l, surface, name);
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
}

#else

void lab_plot(const lab *l, const char *name, const char *title, const char *x_label, const char *y_label,
              const lab_curve *curves, int count, bool logarithmic) {
    (void)l, (void)name, (void)title, (void)x_label, (void)y_label, (void)curves, (void)count, (void)logarithmic;
}

void lab_regions(const lab *l, const char *name, const lab_region *regions, int count, int side, const lab_data *points) {
    (void)l, (void)name, (void)regions, (void)count, (void)side, (void)points;
}

#endif

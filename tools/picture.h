/* Pictures people look at: a loss curve, images with their labels. Drawn with cairo where the build has it. */
#ifndef FOVEA_TOOLS_PICTURE_H
#define FOVEA_TOOLS_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool picture_available(void); /* built with cairo */

typedef struct loss_curve {
    double *steps, *losses;
    size_t count, capacity;
} loss_curve;

bool loss_curve_add(loss_curve *c, int64_t step, double loss); /* false: out of memory */
void loss_curve_free(loss_curve *c);
/* PNG beside and renamed. false: *why is a sentence. */
bool loss_curve_plot(const loss_curve *c, const char *path, const char **why);

typedef struct picture_cell {
    const uint8_t *pixels; /* (height,width,channels) */
    int32_t height, width, channels;
    char title[64], detail[64];
    bool right;  /* title green, else red */
    bool judged; /* false: title black */
} picture_cell;

/* A grid of images with two lines of text under each. */
bool picture_grid(const picture_cell *cells, size_t count, const char *path, const char **why);

/* A line of text and the pictures that belong to it. */
typedef struct picture_band {
    char title[192];
    picture_cell *cells; /* their titles are not drawn */
    uint8_t *pixels;     /* of the cells, where the band owns them */
    size_t count;
} picture_band;

/* Bands below each other, sixteen cells side by side at most. */
bool picture_bands(const picture_band *bands, size_t count, const char *path, const char **why);

#endif

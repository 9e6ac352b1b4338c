/* predict for networks that give images: what an autoencoder makes of each, as numbers and as a picture. */
#ifndef FOVEA_TOOLS_RESTORE_H
#define FOVEA_TOOLS_RESTORE_H

#include "cli.h"

typedef struct restore {
    fv_context *context;
    const fv_model *model;
    const fv_session_settings *settings; /* of its sessions, but for batch and layout */
    const fv_dataset *set; /* its first `count` images, with noise; NULL: files, as they are */
    char **files;
    size_t count;
    float noise;
    uint64_t seed;
    bool json;
    const char *out; /* rows of clean images, noisy ones and outputs; NULL: no picture */
} restore;

/* Prints a line an image, draws, and returns the exit status. */
int restore_images(const restore *r);

#endif

#include "ops/window.h"

#include <stdio.h>

static const char axis_names[3][8] = {"depth", "height", "width"};

static fv_status check_axis(const char *node, const fv_window_attr *w, int a) {
    FV_RETURN_IF(w->kernel[a] < 1, FV_ERR_ARGUMENT, "node \"%s\": kernel %s is %d", node, axis_names[a], w->kernel[a]);
    FV_RETURN_IF(w->stride[a] < 1, FV_ERR_ARGUMENT, "node \"%s\": stride %d, it must be 1 or more", node, w->stride[a]);
    FV_RETURN_IF(w->dilation[a] < 1, FV_ERR_ARGUMENT, "node \"%s\": dilation %d, it must be 1 or more", node, w->dilation[a]);
    FV_RETURN_IF(w->pad_before[a] < 0 || w->pad_after[a] < 0, FV_ERR_ARGUMENT, "node \"%s\": negative padding (%d, %d)", node,
                 w->pad_before[a], w->pad_after[a]);
    return FV_OK;
}

static void resolve_padding(fv_window_attr *w, int a, int64_t in) {
    if (w->padding == FV_PAD_EXPLICIT) return;
    int64_t total = 0;
    if (w->padding != FV_PAD_VALID) {
        const int64_t out = (in + w->stride[a] - 1) / w->stride[a];
        total = (out - 1) * w->stride[a] + (int64_t)w->dilation[a] * (w->kernel[a] - 1) + 1 - in;
        if (total < 0) total = 0;
        if (total > INT32_MAX) total = INT32_MAX;
    }
    const int64_t smaller = total / 2, larger = total - smaller;
    w->pad_before[a] = (int32_t)(w->padding == FV_PAD_SAME_LOWER ? larger : smaller);
    w->pad_after[a] = (int32_t)(w->padding == FV_PAD_SAME_LOWER ? smaller : larger);
}

fv_status fv_window_resolve(const char *node, fv_window_attr *w, const int64_t in[3], bool ceil_mode, int32_t out[3]) {
    FV_RETURN_IF((int)w->padding < FV_PAD_EXPLICIT || w->padding > FV_PAD_SAME_LOWER, FV_ERR_ARGUMENT,
                 "node \"%s\": unknown padding %d", node, (int)w->padding);
    for (int a = 0; a < 3; a++) {
        FV_RETURN_IF(in[a] < 1 || in[a] > INT32_MAX, FV_ERR_SHAPE, "node \"%s\": its input has %s %lld", node, axis_names[a],
                     (long long)in[a]);
        if (w->padding != FV_PAD_EXPLICIT) w->pad_before[a] = w->pad_after[a] = 0;
        FV_FORWARD(check_axis(node, w, a));
        resolve_padding(w, a, in[a]);
        const int64_t extent = (int64_t)w->dilation[a] * (w->kernel[a] - 1) + 1;
        const int64_t padded = in[a] + w->pad_before[a] + w->pad_after[a];
        FV_RETURN_IF(padded > INT32_MAX / 2 || extent > INT32_MAX / 2, FV_ERR_LIMIT, "node \"%s\": %s %lld with window %lld is too large",
                     node, axis_names[a], (long long)padded, (long long)extent);
        FV_RETURN_IF(extent > padded, FV_ERR_SHAPE, "node \"%s\": a window of %lld does not fit the %s of %lld (%lld with padding)", node,
                     (long long)extent, axis_names[a], (long long)in[a], (long long)padded);
        const int64_t free = padded - extent;
        int64_t size = (ceil_mode ? (free + w->stride[a] - 1) / w->stride[a] : free / w->stride[a]) + 1;
        if (ceil_mode && (size - 1) * w->stride[a] >= in[a] + w->pad_before[a]) size--;
        out[a] = (int32_t)size;
    }
    return FV_OK;
}

fv_shape_text fv_shape_print(const fv_shape *s) {
    fv_shape_text t;
    size_t used = (size_t)snprintf(t.text, sizeof t.text, "(");
    for (int32_t i = 0; i < s->rank && used < sizeof t.text; i++) {
        if (i == 0 && s->dim[0] == 0)
            used += (size_t)snprintf(t.text + used, sizeof t.text - used, "N");
        else
            used += (size_t)snprintf(t.text + used, sizeof t.text - used, "%s%lld", i ? "," : "", (long long)s->dim[i]);
    }
    if (used < sizeof t.text) snprintf(t.text + used, sizeof t.text - used, ")");
    return t;
}

/* RNN, GRU, LSTM. */
#include "io/onnx_write_nd.h"
#include "ops/nd_recurrent.h"

#include <string.h>

static void make_activations(fv_onnx_writer *w, FvOnnx__Node *n, const fv_nd_attr *a) {
    static const char *const names[] = {"Sigmoid",     "Tanh", "Relu",     "LeakyRelu", "ThresholdedRelu",
                                        "HardSigmoid", "Elu",  "Softsign", "Softplus"};
    const size_t each = (size_t)a->kind + 1, directions = a->mode == 2 ? 2 : 1;
    FvOnnx__Attribute *made = fv_onnx_make_attribute(w, n, "activations", FV_ONNX_ATTR_STRINGS);
    ProtobufCBinaryData *strings = fv_onnx_take(w, each * directions * sizeof *strings);
    if (!made || !strings) return;
    for (size_t d = 0; d < directions; d++)
        for (size_t i = 0; i < each; i++) {
            const char *name = names[a->a[3 * d + i]];
            strings[d * each + i] = (ProtobufCBinaryData){strlen(name), (uint8_t *)(uintptr_t)name};
        }
    made->n_strings = each * directions;
    made->strings = strings;
}

static void write_recurrent(fv_onnx_writer *w, const fv_node *source) {
    static const char *const cells[] = {"RNN", "GRU", "LSTM"}, *const directions[] = {"forward", "reverse",
                                                                                      "bidirectional"};
    const fv_nd_attr *a = &source->attr.nd;
    size_t inputs = (size_t)source->in_count;
    while (inputs > 3 && source->in[inputs - 1] == FV_NONE) inputs--;
    FvOnnx__Node *n = fv_onnx_begin(w, source, cells[a->kind], inputs);
    if (!n) return;
    fv_onnx_make_int(w, n, "hidden_size", a->count);
    fv_onnx_make_text(w, n, "direction", directions[a->mode]);
    make_activations(w, n, a);
    if (a->keep) fv_onnx_make_int(w, n, "layout", 1);
    if (a->flag) fv_onnx_make_int(w, n, a->kind == FV_ND_GRU ? "linear_before_reset" : "input_forget", 1);
    if (a->alpha != 0) fv_onnx_make_float(w, n, "clip", (float)a->alpha);
}

const fv_onnx_write_row fv_onnx_write_nd_recurrent[] = {
    {&fv_op_nd_recurrent, write_recurrent},
    {NULL, NULL},
};

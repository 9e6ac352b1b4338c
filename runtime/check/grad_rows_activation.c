/* Pointwise layers of SPEC section 3 and the losses of probabilities and soft targets. */
#include "check/grad_draw.h"

static float within(fv_grad_draw *d, float low, float high) { return check_uniform(fv_grad_random(d), low, high); }

/* An input, or what a node makes of one: memory that the layer might take over. */
static fv_value layer_input(fv_grad_draw *d, fv_grad_values values) {
    const fv_value x = maps_or_vector(d, values);
    return chance(d, 0.5) ? x : fv_graph_scale(fv_grad_graph(d), x, within(d, 0.5f, 2), 0, NULL);
}

#define SMOOTH(name, call)                                                                                                       \
    ROW(name) {                                                                                                                  \
        const fv_value x = layer_input(d, FV_GRAD_UNIFORM);                                                                      \
        fv_grad_output(d, call);                                                                                                 \
    }
/* With a kink. */
#define BENT(name, call)                                                                                                         \
    ROW(name) {                                                                                                                  \
        const fv_value x = layer_input(d, FV_GRAD_SPACED);                                                                       \
        fv_grad_output(d, call);                                                                                                 \
    }

SMOOTH(softplus, fv_graph_softplus(fv_grad_graph(d), x, 1, NULL))
SMOOTH(softplus_k, fv_graph_softplus(fv_grad_graph(d), x, within(d, 1.1f, 4), NULL))
SMOOTH(smooth_abs, fv_graph_smooth_abs(fv_grad_graph(d), x, within(d, 0.3f, 4), NULL))
BENT(abs, fv_graph_abs(fv_grad_graph(d), x, NULL))
BENT(leaky_relu, fv_graph_leaky_relu(fv_grad_graph(d), x, within(d, -0.5f, 0.9f), NULL))
BENT(elu, fv_graph_elu(fv_grad_graph(d), x, within(d, 0.2f, 2), NULL))
BENT(selu, fv_graph_selu(fv_grad_graph(d), x, NULL))
SMOOTH(gelu, fv_graph_gelu(fv_grad_graph(d), x, false, NULL))
SMOOTH(gelu_tanh, fv_graph_gelu(fv_grad_graph(d), x, true, NULL))
SMOOTH(silu, fv_graph_silu(fv_grad_graph(d), x, NULL))
SMOOTH(mish, fv_graph_mish(fv_grad_graph(d), x, NULL))
BENT(hard_sigmoid, fv_graph_hard_sigmoid(fv_grad_graph(d), x, within(d, 0.1f, 0.6f), 0.5f, NULL))
BENT(hard_swish, fv_graph_hard_swish(fv_grad_graph(d), fv_graph_scale(fv_grad_graph(d), x, 2, 0, NULL), NULL))
SMOOTH(softsign, fv_graph_softsign(fv_grad_graph(d), x, NULL))
SMOOTH(erf, fv_graph_erf(fv_grad_graph(d), x, NULL))

/* By value too in tests/unit/test_ops_activation.c. */
ROW(relu_surrogate) {
    fv_grad_surrogate(d);
    fv_grad_output(d, fv_graph_relu_surrogate(fv_grad_graph(d), layer_input(d, FV_GRAD_SPACED), within(d, 0.3f, 4), NULL));
}

/* A gain of a pointwise layer, before something that reads the layer too. */
static void build_gain_of(fv_grad_draw *d, fv_value layer, bool learned) {
    fv_graph *g = fv_grad_graph(d);
    const fv_value y = fv_graph_gain(g, layer, learned, "gain");
    fv_grad_output(d, chance(d, 0.5) ? y : fv_graph_multiply(g, y, fv_graph_silu(g, layer, NULL), NULL));
}

ROW(gain_fixed) { build_gain_of(d, fv_graph_tanh(fv_grad_graph(d), layer_input(d, FV_GRAD_UNIFORM), NULL), false); }
ROW(gain_learned) { build_gain_of(d, fv_graph_tanh(fv_grad_graph(d), layer_input(d, FV_GRAD_UNIFORM), NULL), true); }
ROW(gain_of_smooth_abs) {
    const fv_value x = layer_input(d, FV_GRAD_UNIFORM);
    build_gain_of(d, fv_graph_smooth_abs(fv_grad_graph(d), x, within(d, 0.3f, 4), NULL), chance(d, 0.5));
}

ROW(prelu) { fv_grad_output(d, fv_graph_prelu(fv_grad_graph(d), layer_input(d, FV_GRAD_SPACED), chance(d, 0.6), "prelu")); }

ROW(log_softmax) { fv_grad_output(d, fv_graph_log_softmax(fv_grad_graph(d), vector(d, FV_GRAD_UNIFORM, 2, 40), NULL)); }

static void end_cross_entropy(fv_grad_draw *d, fv_value y, bool smoothed) {
    const fv_reduction reduction = chance(d, 0.5) ? FV_REDUCTION_MEAN : FV_REDUCTION_SUM;
    fv_grad_loss(d, y, FV_LOSS_CROSS_ENTROPY, reduction, smoothed ? within(d, 0.01f, 0.5f) : 0);
}

static void build_soft(fv_grad_draw *d, bool smoothed) {
    fv_grad_loss_form(d, FV_LOSS_FROM_LOGITS, true);
    end_cross_entropy(d, vector(d, FV_GRAD_UNIFORM, 2, 40), smoothed);
}

ROW(soft_cross_entropy) { build_soft(d, false); }
ROW(soft_cross_entropy_smoothed) { build_soft(d, true); }

/* After a softmax, or any layer that is positive. */
static void build_entropy(fv_grad_draw *d, bool soft, bool smoothed) {
    fv_graph *g = fv_grad_graph(d);
    const fv_value x = vector(d, FV_GRAD_UNIFORM, 2, 40);
    fv_grad_loss_form(d, FV_LOSS_FROM_PROBABILITIES, soft);
    const fv_value y = chance(d, 0.4)   ? fv_graph_softmax(g, x, NULL)
                       : chance(d, 0.5) ? fv_graph_sigmoid(g, x, NULL)
                                        : fv_graph_softplus(g, x, within(d, 0.5f, 2), NULL);
    end_cross_entropy(d, y, smoothed);
}

ROW(entropy_labels) { build_entropy(d, false, false); }
ROW(entropy_soft) { build_entropy(d, true, false); }
ROW(entropy_smoothed) { build_entropy(d, chance(d, 0.5), true); }

const fv_grad_row fv_grad_rows_activation[] = {
    {"unary.softplus", build_softplus},
    {"unary.softplus_k", build_softplus_k},
    {"unary.smooth_abs", build_smooth_abs},
    {"unary.abs", build_abs},
    {"unary.leaky_relu", build_leaky_relu},
    {"unary.elu", build_elu},
    {"unary.selu", build_selu},
    {"unary.gelu", build_gelu},
    {"unary.gelu_tanh", build_gelu_tanh},
    {"unary.silu", build_silu},
    {"unary.mish", build_mish},
    {"unary.hard_sigmoid", build_hard_sigmoid},
    {"unary.hard_swish", build_hard_swish},
    {"unary.softsign", build_softsign},
    {"unary.erf", build_erf},
    {"unary.relu_surrogate", build_relu_surrogate},
    {"gain.fixed", build_gain_fixed},
    {"gain.learned", build_gain_learned},
    {"gain.of_smooth_abs", build_gain_of_smooth_abs},
    {"prelu", build_prelu},
    {"log_softmax", build_log_softmax},
    {"loss.soft_cross_entropy", build_soft_cross_entropy},
    {"loss.soft_cross_entropy.smoothed", build_soft_cross_entropy_smoothed},
    {"loss.entropy.labels", build_entropy_labels},
    {"loss.entropy.soft", build_entropy_soft},
    {"loss.entropy.smoothed", build_entropy_smoothed},
    {NULL, NULL},
};

/* Models read for the shapes of a session: what is computed on the way, inputs that decide shapes, plans kept, functions and branches,
 * values in other files. */
#include "onnx_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- pieces ---- */

static wire typed_info(const char *name, int64_t type, size_t rank, const int64_t *dims) {
    wire info = {0}, kind = {0}, tensor = {0}, shape = {0};
    for (size_t i = 0; i < rank; i++) {
        wire d = {0};
        if (dims[i] >= 0)
            w_int(&d, 1, dims[i]);
        else
            w_text(&d, 2, "open");
        w_message(&shape, 1, d);
    }
    w_int(&tensor, 1, type);
    w_message(&tensor, 2, shape);
    w_message(&kind, 1, tensor);
    w_text(&info, 1, name);
    w_message(&info, 2, kind);
    return info;
}

static wire ints_of(const char *name, size_t n, const int64_t *values) {
    const int64_t dims[1] = {(int64_t)n};
    wire t = tensor_head(name, 7, 1, dims);
    w_bytes(&t, 9, values, n * sizeof *values);
    return t;
}

static fv_tensor floats(float *data, int32_t rank, const int64_t *shape) {
    fv_tensor t = {.dtype = FV_F32, .rank = rank, .data = data};
    memcpy(t.shape, shape, (size_t)rank * sizeof *shape);
    return t;
}

static fv_tensor longs(int64_t *data, int64_t count) {
    return (fv_tensor){.dtype = FV_I64, .rank = 1, .shape = {count}, .data = data};
}

/* x (open,open) -> Shape -> Gather 0 -> Unsqueeze -> Concat (., -1) -> Reshape -> y */
static wire flattening(void) {
    wire g = {0}, axes = node_of("Unsqueeze", "u", "rows axis", "row"), join = node_of("Concat", "j", "row rest", "to");
    w_message(&g, G_INITIALIZER, ints_of("axis", 1, (int64_t[]){0}));
    wire zero = tensor_head("zero", 7, 0, NULL);
    w_bytes(&zero, 9, (int64_t[]){0}, 8);
    w_message(&g, G_INITIALIZER, zero);
    w_message(&g, G_INITIALIZER, ints_of("rest", 1, (int64_t[]){-1}));
    w_message(&g, G_NODE, node_of("Shape", "s", "x", "sizes"));
    w_message(&g, G_NODE, node_of("Gather", "g", "sizes zero", "rows"));
    w_message(&g, G_NODE, axes);
    node_attr(&join, attr_int("axis", 0));
    w_message(&g, G_NODE, join);
    w_message(&g, G_NODE, node_of("Reshape", "r", "x to", "y"));
    w_message(&g, G_INPUT, typed_info("x", 1, DIMS(-1, -1, 3)));
    w_message(&g, G_OUTPUT, typed_info("y", 1, DIMS(-1, -1)));
    return model_of(g);
}

/* x (open,3), shape (open) int64 -> Reshape -> Relu -> y */
static wire reshaping(void) {
    wire g = {0};
    w_message(&g, G_NODE, node_of("Reshape", "r", "x shape", "h"));
    w_message(&g, G_NODE, node_of("Relu", "a", "h", "y"));
    w_message(&g, G_INPUT, typed_info("x", 1, DIMS(-1, 3)));
    w_message(&g, G_INPUT, typed_info("shape", 7, DIMS(-1)));
    w_message(&g, G_OUTPUT, typed_info("y", 1, DIMS(-1, -1)));
    return model_of(g);
}

static fv_session_settings with_inputs(const fv_tensor *inputs, size_t count) {
    fv_session_settings s;
    fv_session_settings_default(&s);
    s.inputs = inputs;
    s.input_count = count;
    return s;
}

/* ---- constants computed on the way ---- */

START_TEST(shape_arithmetic_disappears) {
    enter();
    fv_model *m;
    fv_session *s;
    float x[24], y[24];
    fv_tensor in = floats(x, 3, (int64_t[]){2, 4, 3}), out;
    for (int i = 0; i < 24; i++) x[i] = (float)i - 7;
    ok(load_wire(context, flattening(), &m));
    const fv_session_settings settings = with_inputs(&in, 1);
    ok(fv_session_create(m, &settings, &s));
    ck_assert_uint_le(fv_session_node_count(s), 2); /* the reshape, and a copy at most */
    ok(fv_session_output(s, 0, NULL, &out));
    ck_assert_int_eq(out.rank, 2);
    ck_assert_int_eq(out.shape[0], 2);
    ck_assert_int_eq(out.shape[1], 12);
    out.data = y;
    ok(fv_session_run(s, &in, 1, &out, 1));
    ck_assert_int_eq(memcmp(x, y, sizeof y), 0);
    fv_session_free(s);
    fv_model_free(m);
    leave();
}
END_TEST

START_TEST(sizes_of_zero) {
    enter();
    fv_model *m;
    fv_session *s;
    float nothing[1];
    fv_tensor in = floats(nothing, 3, (int64_t[]){2, 0, 3}), out;
    ok(load_wire(context, flattening(), &m));
    fv_session_settings settings = with_inputs(&in, 1);
    ok(fv_session_create(m, &settings, &s)); /* two rows of nothing */
    ok(fv_session_output(s, 0, NULL, &out));
    ck_assert_int_eq(out.shape[0], 2);
    ck_assert_int_eq(out.shape[1], 0);
    fv_session_free(s);
    fv_model_free(m);
    wire g = {0};
    w_message(&g, G_NODE, node_of("Relu", "r", "x", "y"));
    w_message(&g, G_INPUT, typed_info("x", 1, DIMS(-1, -1, 3)));
    w_message(&g, G_OUTPUT, typed_info("y", 1, DIMS(-1, -1, 3)));
    ok(load_wire(context, model_of(g), &m));
    ok(fv_session_create(m, &settings, &s));
    ok(fv_session_output(s, 0, NULL, &out));
    ck_assert_int_eq(out.shape[1], 0);
    in.data = out.data = NULL;
    ok(fv_session_run(s, &in, 1, &out, 1));
    fv_session_free(s);
    fv_model_free(m);
    leave();
}
END_TEST

/* ---- inputs that decide shapes ---- */

/* Of operator set 10: neighbours rounded down where an axis grows, up where it shrinks, which later sets say of all axes at once. */
START_TEST(what_has_no_form_is_named) {
    enter();
    fv_model *m;
    wire g = {0}, n = node_of("Resize", "grow and shrink", "x scales", "y"), scales = tensor_head("scales", 1, DIMS(4));
    node_attr(&n, attr_text("mode", "nearest"));
    w_bytes(&scales, 9, (float[]){1, 1, 2, 0.5f}, 16);
    w_message(&g, G_INITIALIZER, scales);
    w_message(&g, G_NODE, n);
    w_message(&g, G_INPUT, typed_info("x", 1, DIMS(2, 3, 4, 4)));
    w_message(&g, G_OUTPUT, typed_info("y", 1, DIMS(2, 3, 8, 2)));
    wire whole = {0};
    w_int(&whole, 1, 8);
    w_message(&whole, 7, g);
    w_message(&whole, 8, opset_of(NULL, 10));
    ok(load_wire(context, whole, &m));
    fails(fv_model_save(m, "unwritten.onnx"), FV_ERR_UNSUPPORTED, "node \"grow and shrink\": operator resize has no ONNX form");
    ck_assert_int_ne(access("unwritten.onnx", F_OK), 0);
    fv_model_free(m);
    leave();
}
END_TEST

START_TEST(values_of_inputs_are_pinned) {
    enter();
    fv_model *m;
    fv_session *s;
    float x[12], y[12];
    int64_t shape[2] = {2, 6};
    for (int i = 0; i < 12; i++) x[i] = (float)(i - 5);
    fv_tensor in[2] = {floats(x, 2, (int64_t[]){4, 3}), longs(shape, 2)}, out;
    ok(load_wire(context, reshaping(), &m));
    ck_assert_uint_eq(fv_model_input_count(m), 2);
    fv_model *again; /* no one graph: written as it was read */
    ok(fv_model_save(m, "reshaping.onnx"));
    ok(fv_model_load(context, "reshaping.onnx", &again));
    (void)unlink("reshaping.onnx");
    ck_assert_uint_eq(fv_model_input_count(again), 2);
    fv_model_free(again);
    fails(fv_model_save(m, "no/such/folder.onnx"), FV_ERR_NOT_FOUND, "no/such/folder");
    fails(fv_session_create(m, NULL, &s), FV_ERR_UNSUPPORTED, "needs the values of input \"shape\"");
    fv_session_settings settings = with_inputs(in, 2);
    ok(fv_session_create(m, &settings, &s));
    ok(fv_session_output(s, 0, NULL, &out));
    ck_assert_int_eq(out.shape[1], 6);
    out.data = y;
    ok(fv_session_run(s, in, 2, &out, 1));
    for (int i = 0; i < 12; i++) ck_assert(y[i] == (x[i] > 0 ? x[i] : 0));
    int64_t other[2] = {3, 4};
    in[1] = longs(other, 2);
    y[0] = 99;
    fails(fv_session_run(s, in, 2, &out, 1), FV_ERR_STATE, "\"shape\" has other values");
    ck_assert(y[0] == 99);
    ok(fv_session_prepare(s, in, 2));
    ok(fv_session_output(s, 0, NULL, &out));
    ck_assert_int_eq(out.shape[0], 3);
    out.data = y;
    ok(fv_session_run(s, in, 2, &out, 1));
    int64_t wrong[2] = {5, 5};
    in[1] = longs(wrong, 2);
    ck_assert_int_ne(fv_session_prepare(s, in, 2), FV_OK);
    in[1] = longs(other, 2);
    ok(fv_session_run(s, in, 2, &out, 1)); /* the old plan stands */
    in[0].dtype = FV_I32;
    fails(fv_session_prepare(s, in, 2), FV_ERR_ARGUMENT, "is float32, not int32");
    fails(fv_session_prepare(s, in, 1), FV_ERR_ARGUMENT, "input");
    fv_session_free(s);
    fv_model_free(m);
    leave();
}
END_TEST

/* ---- plans kept ---- */

START_TEST(plans_come_back_and_are_bounded) {
    wire_enter();
    ledger l = {.calls = 0};
    fv_context_settings hooks = settings_of(FV_BACKEND_SERIAL, 1);
    hooks.alloc = ledger_alloc;
    hooks.free = ledger_free;
    hooks.alloc_user = &l;
    context = context_with(&hooks);
    fv_model *m;
    fv_session *s;
    static float x[3 * 64 * 64];
    fv_tensor in = floats(x, 3, (int64_t[]){1, 1, 3});
    ok(load_wire(context, flattening(), &m));
    fv_session_settings settings = with_inputs(&in, 1);
    settings.plan_cache = 3;
    ok(fv_session_create(m, &settings, &s));
    long blocks[4] = {0};
    for (int round = 0; round < 4; round++) {
        for (int64_t k = 1; k <= 20; k++) {
            in.shape[1] = k;
            ok(fv_session_prepare(s, &in, 1));
        }
        blocks[round] = atomic_load(&l.blocks);
    }
    ck_assert_int_eq(blocks[1], blocks[3]); /* what goes is freed */
    const long calls = atomic_load(&l.calls);
    for (int64_t k = 18; k <= 20; k++) {
        in.shape[1] = k;
        ok(fv_session_prepare(s, &in, 1));
    }
    ck_assert_int_eq(atomic_load(&l.calls), calls); /* all three were kept */
    in.shape[1] = 17;
    ok(fv_session_prepare(s, &in, 1));
    ck_assert_int_gt(atomic_load(&l.calls), calls); /* a fourth was not, and takes the place of 18 */
    const long more = atomic_load(&l.calls);
    in.shape[1] = 19;
    ok(fv_session_prepare(s, &in, 1));
    ck_assert_int_eq(atomic_load(&l.calls), more);
    in.shape[1] = 18;
    ok(fv_session_prepare(s, &in, 1));
    ck_assert_int_gt(atomic_load(&l.calls), more);
    settings.plan_cache = -1;
    fv_session *none;
    fails(fv_session_create(m, &settings, &none), FV_ERR_ARGUMENT, "1 to 1024 plans");
    fv_session_free(s);
    fv_model_free(m);
    fv_context_free(context);
    ck_assert_int_eq(atomic_load(&l.blocks), 0);
    wire_leave();
}
END_TEST

START_TEST(weights_are_shared_by_plans) {
    wire_enter();
    ledger l = {.calls = 0};
    fv_context_settings hooks = settings_of(FV_BACKEND_SERIAL, 1);
    hooks.alloc = ledger_alloc;
    hooks.free = ledger_free;
    hooks.alloc_user = &l;
    context = context_with(&hooks);
    wire g = {0}, conv = node_of("Conv", "c", "x w", "y");
    w_message(&g, G_INITIALIZER, tensor_of("w", DIMS(512, 8, 3, 3)));
    w_message(&g, G_NODE, conv);
    w_message(&g, G_INPUT, typed_info("x", 1, DIMS(-1, 8, -1, -1)));
    w_message(&g, G_OUTPUT, typed_info("y", 1, DIMS(-1, 512, -1, -1)));
    fv_model *m;
    fv_session *a, *b;
    static float x[8 * 4 * 5], y[2][512 * 2 * 2];
    draw_all(x, sizeof x / sizeof *x, 3);
    fv_tensor in = floats(x, 4, (int64_t[]){1, 8, 4, 4}), out;
    ok(load_wire(context, model_of(g), &m));
    const fv_session_settings settings = with_inputs(&in, 1);
    ok(fv_session_create(m, &settings, &a));
    const long packed = (long)fv_session_packed_bytes(a), alone = atomic_load(&l.bytes);
    ck_assert_int_ge(packed, (long)sizeof(float) * 512 * 8 * 9);
    ok(fv_session_create(m, &settings, &b));
    const long two = atomic_load(&l.bytes);
    ck_assert_int_lt(two - alone, packed / 2); /* in memory once, for sessions and for plans */
    in.shape[3] = 5;
    ok(fv_session_prepare(a, &in, 1));
    ck_assert_int_lt(atomic_load(&l.bytes) - two, packed / 2);
    in.shape[3] = 4;
    ok(fv_session_prepare(a, &in, 1));
    ok(fv_session_output(a, 0, NULL, &out));
    out.layout = FV_PLAIN;
    for (int i = 0; i < 2; i++) {
        out.data = y[i];
        ok(fv_session_run(i ? b : a, &in, 1, &out, 1));
    }
    fv_model_free(m); /* sessions keep it */
    fv_session_free(a);
    ok(fv_session_run(b, &in, 1, &out, 1));
    ck_assert_int_eq(memcmp(y[0], y[1], sizeof y[0]), 0);
    fv_session_free(b);
    fv_context_free(context);
    ck_assert_int_eq(atomic_load(&l.bytes), 0);
    wire_leave();
}
END_TEST

/* ---- functions and branches ---- */

static wire function_of(const char *name, const char *in, const char *out) {
    wire f = {0};
    w_text(&f, 1, name);
    node_names(&f, 4, in);
    node_names(&f, 5, out);
    w_text(&f, 10, "mine");
    return f;
}

static wire call_of(const char *function, const char *in, const char *out) {
    wire n = node_of(function, function, in, out);
    w_text(&n, 7, "mine");
    return n;
}

static wire calling(wire function, wire other) {
    wire g = {0};
    w_message(&g, G_NODE, call_of("outer", "x", "y"));
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 4)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 4)));
    wire m = model_of(g);
    w_message(&m, 25, function);
    if (other.n) w_message(&m, 25, other);
    return m;
}

START_TEST(functions_are_opened) {
    enter();
    fv_model *m;
    float y[4];
    wire f = function_of("outer", "a", "b");
    wire leaky = node_of("LeakyRelu", "l", "a", "h"), reference = {0};
    w_text(&reference, 1, "alpha");
    w_int(&reference, 20, 1);
    w_text(&reference, 21, "slope");
    node_attr(&leaky, reference);
    w_message(&f, 11, attr_float("slope", -2)); /* a default: the call has none */
    w_message(&f, 7, leaky);
    w_message(&f, 7, node_of("Abs", "n", "h", "b"));
    accepted(calling(f, (wire){0}), y, 4);
    float x[4];
    draw_all(x, 4, 21);
    for (int i = 0; i < 4; i++) ck_assert(y[i] == (x[i] > 0 ? x[i] : -2 * x[i]));
    f = function_of("outer", "a", "b");
    w_message(&f, 7, call_of("outer", "a", "b"));
    refused(calling(f, (wire){0}), FV_ERR_FORMAT, "outer calls itself");
    f = function_of("outer", "a", "b");
    w_message(&f, 7, call_of("inner", "a", "b"));
    wire back = function_of("inner", "a", "b");
    w_message(&back, 7, call_of("outer", "a", "b"));
    refused(calling(f, back), FV_ERR_FORMAT, "calls itself");
    f = function_of("outer", "a", "b"); /* 2^31 nodes from 31 functions */
    wire many = {0};
    w_message(&f, 7, call_of("f0", "a", "b"));
    many = calling(f, (wire){0});
    for (int i = 0; i < 30; i++) {
        char name[8], next[8];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(next, sizeof next, i == 29 ? "Relu" : "f%d", i + 1);
        wire doubled = function_of(name, "a", "b");
        w_message(&doubled, 7, i == 29 ? node_of(next, next, "a", "h") : call_of(next, "a", "h"));
        w_message(&doubled, 7, i == 29 ? node_of(next, next, "h", "b") : call_of(next, "h", "b"));
        w_message(&many, 25, doubled);
    }
    fails(load_wire(context, many, &m), FV_ERR_LIMIT, "too many nodes");
    leave();
}
END_TEST

static wire branch_of(const char *op) {
    wire g = {0};
    w_message(&g, G_NODE, node_of(op, op, "x", "inside"));
    w_message(&g, G_OUTPUT, value_info_of("inside", DIMS(0, 4)));
    return g;
}

static wire choice_by(const char *condition) {
    wire n = node_of("If", "choice", condition, "y"), then = {0}, otherwise = {0};
    w_text(&then, 1, "then_branch");
    w_message(&then, 6, branch_of("Relu"));
    w_text(&otherwise, 1, "else_branch");
    w_message(&otherwise, 6, branch_of("Neg"));
    node_attr(&n, then);
    node_attr(&n, otherwise);
    return n;
}

static wire choosing(bool constant, bool condition) {
    wire g = {0};
    w_message(&g, G_NODE, choice_by("which"));
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, 4)));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, 4)));
    if (constant) {
        wire t = tensor_head("which", 9, 0, NULL);
        w_bytes(&t, 9, &(uint8_t){condition}, 1);
        w_message(&g, G_INITIALIZER, t);
    } else
        w_message(&g, G_INPUT, typed_info("which", 9, 0, NULL));
    return model_of(g);
}

START_TEST(branches_are_chosen) {
    enter();
    float x[4], y[4];
    draw_all(x, 4, 21);
    accepted(choosing(true, true), y, 4);
    for (int i = 0; i < 4; i++) ck_assert(y[i] == (x[i] > 0 ? x[i] : 0));
    accepted(choosing(true, false), y, 4);
    for (int i = 0; i < 4; i++) ck_assert(y[i] == -x[i]);
    fv_model *m; /* a condition that comes with the run is part of the plan */
    fv_session *s;
    uint8_t which = 0;
    fv_tensor in[2] = {floats(x, 2, (int64_t[]){1, 4}), {.dtype = FV_BOOL, .data = &which}}, out = floats(y, 2, (int64_t[]){1, 4});
    ok(load_wire(context, choosing(false, false), &m));
    const fv_session_settings settings = with_inputs(in, 2);
    ok(fv_session_create(m, &settings, &s));
    ok(fv_session_run(s, in, 2, &out, 1));
    for (int i = 0; i < 4; i++) ck_assert(y[i] == -x[i]);
    which = 1;
    fails(fv_session_run(s, in, 2, &out, 1), FV_ERR_STATE, "\"which\"");
    fv_session_free(s);
    fv_model_free(m);
    leave();
}
END_TEST

/* 2^40 paths lead from the condition to its input; a size of -1 is an open one. */
START_TEST(origins_are_searched_once_a_node) {
    enter();
    wire g = {0};
    for (int i = 0; i < 40; i++) {
        char from[8], to[8];
        snprintf(from, sizeof from, i ? "c%d" : "which", i);
        snprintf(to, sizeof to, "c%d", i + 1);
        wire both = node_of("And", to, from, to);
        w_text(&both, 1, from);
        w_message(&g, G_NODE, both);
    }
    w_message(&g, G_NODE, choice_by("c40"));
    w_message(&g, G_INPUT, value_info_of("x", DIMS(0, -1)));
    w_message(&g, G_INPUT, typed_info("which", 9, 0, NULL));
    w_message(&g, G_OUTPUT, value_info_of("y", DIMS(0, -1)));
    float x[6], y[6];
    draw_all(x, 6, 22);
    fv_model *m;
    fv_session *s;
    uint8_t which = 1;
    fv_tensor in[2] = {floats(x, 2, (int64_t[]){2, 3}), {.dtype = FV_BOOL, .data = &which}}, out = floats(y, 2, (int64_t[]){2, 3});
    ok(load_wire(context, model_of(g), &m));
    const fv_session_settings settings = with_inputs(in, 2);
    ok(fv_session_create(m, &settings, &s));
    ok(fv_session_run(s, in, 2, &out, 1));
    for (int i = 0; i < 6; i++) ck_assert(y[i] == (x[i] > 0 ? x[i] : 0));
    fv_session_free(s);
    fv_model_free(m);
    leave();
}
END_TEST

/* ---- values in other files ---- */

static void entry(wire *t, const char *key, const char *value) {
    wire e = {0};
    w_text(&e, 1, key);
    w_text(&e, 2, value);
    w_message(t, 13, e);
}

/* The good model with its convolution's weight at `offset` of `location`. */
static wire elsewhere(const char *location, const char *offset, const char *length, const char *key) {
    wire g = {0}, t = tensor_head("w", 1, DIMS(4, 2, 3, 3));
    if (location) entry(&t, "location", location);
    if (offset) entry(&t, "offset", offset);
    if (length) entry(&t, "length", length);
    if (key) entry(&t, key, "1");
    w_int(&t, 14, 1);
    w_message(&g, G_INITIALIZER, t);
    w_message(&g, G_INITIALIZER, tensor_of("b", DIMS(4)));
    w_message(&g, G_NODE, node_of("Conv", "c", "x w b", "c.y"));
    good_rest(&g);
    borders(&g);
    return model_of(g);
}

static void put_weights(const char *name, size_t before) {
    char path[160];
    static const char blanks[64];
    float values[72];
    draw_all(values, 72, 7);
    snprintf(path, sizeof path, "%s/%s", wire_folder, name);
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(blanks, 1, before, f), before);
    ck_assert_uint_eq(fwrite(values, sizeof *values, 72, f), 72);
    fclose(f);
}

START_TEST(external_values) {
    enter();
    char path[160], target[160];
    float y[3], want[3];
    good_answer(want);
    put_weights("w.bin", 64);
    accepted(elsewhere("w.bin", "64", "288", NULL), y, 3);
    ck_assert_int_eq(memcmp(y, want, sizeof y), 0);
    accepted(elsewhere("w.bin", "64", NULL, NULL), y, 3);
    refused(elsewhere("w.bin", "65", "288", NULL), FV_ERR_FORMAT, "lies outside");
    refused(elsewhere("w.bin", "18446744073709551615", "288", NULL), FV_ERR_FORMAT, "lies outside");
    refused(elsewhere("w.bin", "18446744073709551616", "288", NULL), FV_ERR_FORMAT, "offset is");
    refused(elsewhere("w.bin", "-1", "288", NULL), FV_ERR_FORMAT, "offset is");
    refused(elsewhere("w.bin", "0x40", "288", NULL), FV_ERR_FORMAT, "offset is");
    refused(elsewhere("w.bin", "64", "287", NULL), FV_ERR_FORMAT, "needs 288 bytes");
    refused(elsewhere("w.bin", "64", "288", "mystery"), FV_ERR_FORMAT, "unknown key \"mystery\"");
    refused(elsewhere(NULL, "64", "288", NULL), FV_ERR_FORMAT, "no location");
    refused(elsewhere("missing.bin", "0", "288", NULL), FV_ERR_NOT_FOUND, "is not there");
    static const char *const outside[] = {"/etc/passwd", "../w.bin", "sub/../../w.bin", "..", ".", "", "a//b", "./w.bin", "sub/"};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        refused(elsewhere(outside[i], "0", "288", NULL), FV_ERR_FORMAT, "not the name of a file in the model's folder");
    snprintf(target, sizeof target, "%s/w.bin", wire_folder);
    snprintf(path, sizeof path, "%s/link.bin", wire_folder);
    ck_assert_int_eq(symlink(target, path), 0);
    refused(elsewhere("link.bin", "64", "288", NULL), FV_ERR_IO, "symbolic link");
    snprintf(path, sizeof path, "%s/folder", wire_folder);
    ck_assert_int_eq(symlink("/", path), 0);
    refused(elsewhere("folder/etc/passwd", "0", "288", NULL), FV_ERR_IO, "symbolic link");
    snprintf(path, sizeof path, "%s/pipe", wire_folder);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    refused(elsewhere("pipe", "0", "288", NULL), FV_ERR_IO, "not a regular file");
    snprintf(path, sizeof path, "%s/real", wire_folder);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    refused(elsewhere("real", "0", "288", NULL), FV_ERR_IO, "not a regular file");
    snprintf(path, sizeof path, "%s/twin.bin", wire_folder);
    ck_assert_int_eq(link(target, path), 0);
    refused(elsewhere("w.bin", "64", "288", NULL), FV_ERR_IO, "several names");
    leave();
}
END_TEST

/* ---- files cut under a model ---- */

enum { wide_maps = 192 }; /* its weight fills more than a file that is copied whole: 3 MiB */

static wire wide_weight(const char *location) {
    wire t = tensor_head("w", 1, DIMS(wide_maps, wide_maps, 5, 5));
    w_int(&t, 14, 1);
    entry(&t, "location", location);
    return t;
}

/* x (1,maps,open,open) -> Conv w -> Add (a constant of a node) -> y, with w in the file or beside it. */
static wire wide_model(bool beside) {
    wire g = {0}, constant = node_of("Constant", "k", "", "bias"), value = {0};
    w_message(&g, G_INITIALIZER, beside ? wide_weight("wide.bin") : tensor_of("w", DIMS(wide_maps, wide_maps, 5, 5)));
    w_text(&value, 1, "value");
    w_message(&value, 5, tensor_of("bias", DIMS(1, wide_maps, 1, 1)));
    w_int(&value, 20, 4);
    node_attr(&constant, value);
    w_message(&g, G_NODE, constant);
    w_message(&g, G_NODE, node_of("Conv", "c", "x w", "h"));
    w_message(&g, G_NODE, node_of("Add", "a", "h bias", "y"));
    w_message(&g, G_INPUT, typed_info("x", 1, DIMS(-1, wide_maps, -1, -1)));
    w_message(&g, G_OUTPUT, typed_info("y", 1, DIMS(-1, wide_maps, -1, -1)));
    return model_of(g);
}

static fv_status try_wide(const fv_model *m, float *y) {
    static float x[wide_maps * 25];
    fv_session *s;
    draw_all(x, sizeof x / sizeof *x, 5);
    fv_tensor in = floats(x, 4, (int64_t[]){1, wide_maps, 5, 5}), out = floats(y, 4, (int64_t[]){1, wide_maps, 1, 1});
    const fv_session_settings settings = with_inputs(&in, 1);
    const fv_status status = fv_session_create(m, &settings, &s);
    if (status != FV_OK) return status;
    ok(fv_session_run(s, &in, 1, &out, 1));
    fv_session_free(s);
    return FV_OK;
}

static void run_wide(const fv_model *m, float *y) { ok(try_wide(m, y)); }

START_TEST(files_may_be_cut_once_a_model_is_loaded) {
    enter();
    char beside[160];
    float want[wide_maps], y[wide_maps];
    const size_t bytes = (size_t)wide_maps * wide_maps * 25 * sizeof(float);
    float *values = malloc(bytes);
    ck_assert_ptr_nonnull(values);
    draw_all(values, bytes / sizeof *values, 7);
    snprintf(beside, sizeof beside, "%s/wide.bin", wire_folder);
    for (int i = 0; i < 2; i++) {
        fv_model *m;
        FILE *f = fopen(beside, "wb");
        ck_assert_ptr_nonnull(f);
        ck_assert_uint_eq(fwrite(values, 1, bytes, f), bytes);
        fclose(f);
        ok(load_wire(context, wide_model(i == 1), &m));
        if (i == 0) run_wide(m, want);
        ck_assert_int_eq(truncate(wire_path, 0), 0);
        ck_assert_int_eq(truncate(beside, 0), 0);
        run_wide(m, y);
        ck_assert_int_eq(memcmp(y, want, sizeof y), 0);
        fv_model_free(m);
    }
    free(values);
    leave();
}
END_TEST

/* Cuts a file anywhere and makes it whole again, over and over. */
typedef struct cutter {
    const char *path;
    wire whole;
    atomic_int stop;
} cutter;

static void *cut_often(void *arg) {
    cutter *c = arg;
    uint32_t state = 1;
    while (!c->stop) {
        if (truncate(c->path, (off_t)(draw_u32(&state) % c->whole.n)) != 0) break;
        FILE *f = fopen(c->path, "r+b");
        if (!f || fwrite(c->whole.data, 1, c->whole.n, f) != c->whole.n || fclose(f) != 0) break;
        nanosleep(&(struct timespec){0, draw_u32(&state) % 1000000}, NULL);
    }
    return NULL;
}

/* What loads has the right weights; the rest is told, and nothing dies of it. */
START_TEST(files_may_be_cut_while_a_model_is_loaded) {
    static float values[wide_maps * wide_maps * 25], want[wide_maps], y[wide_maps];
    char beside[160];
    int loaded = 0, told = 0;
    enter();
    draw_all(values, sizeof values / sizeof *values, 7);
    snprintf(beside, sizeof beside, "%s/wide.bin", wire_folder);
    for (int i = 0; i < 2; i++) {
        fv_model *m;
        pthread_t thread;
        FILE *f = fopen(beside, "wb");
        ck_assert_ptr_nonnull(f);
        ck_assert_uint_eq(fwrite(values, 1, sizeof values, f), sizeof values);
        fclose(f);
        ok(load_wire(context, wide_model(i == 1), &m));
        run_wide(m, want);
        fv_model_free(m);
        cutter c = {.path = i ? beside : wire_path};
        c.whole = wire_get(c.path);
        ck_assert_int_eq(pthread_create(&thread, NULL, cut_often, &c), 0);
        for (int k = 0; k < 100; k++) {
            fv_status status = fv_model_load(context, wire_path, &m);
            if (status == FV_OK) {
                status = try_wide(m, y);
                fv_model_free(m);
            } else {
                ck_assert_ptr_nonnull(strstr(fv_last_error(), wire_path));
            }
            if (status == FV_OK) {
                ck_assert_mem_eq(y, want, sizeof y);
                loaded++;
            } else {
                ck_assert_msg(status == FV_ERR_IO || status == FV_ERR_FORMAT, "%s: %s", fv_status_name(status), fv_last_error());
                told++;
            }
        }
        c.stop = 1;
        pthread_join(thread, NULL);
        w_free(&c.whole);
    }
    ck_assert_int_gt(loaded, 0);
    ck_assert_int_gt(told, 0);
    leave();
}
END_TEST

/* ---- tensors in files ---- */

START_TEST(tensors_of_every_type) {
    enter();
    static const char *const endings[] = {"t.npy", "t.pb"};
    for (int type = FV_F32; type <= FV_F16; type++)
        for (int e = 0; e < 2; e++) {
            char path[160];
            uint8_t bytes[48];
            for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = type == FV_BOOL ? i % 2 : (uint8_t)(i * 7);
            fv_tensor t = {.dtype = (fv_dtype)type, .rank = 2, .shape = {2, 3}, .data = bytes}, back = {.data = NULL};
            snprintf(path, sizeof path, "%s/%s", wire_folder, endings[e]);
            ok(fv_tensor_save(context, path, "t", &t));
            ok(fv_tensor_load(context, path, &back));
            ck_assert_int_eq(back.dtype, t.dtype);
            ck_assert_int_eq(back.rank, 2);
            ck_assert_int_eq(memcmp(back.data, bytes, 6 * fv_dtype_bytes(t.dtype)), 0);
            fv_tensor_free(context, &back);
        }
    fv_tensor t = {.dtype = FV_F32, .rank = 0};
    fails(fv_tensor_load(context, "x.txt", &t), FV_ERR_UNSUPPORTED, ".npy or .pb");
    fails(fv_tensor_save(context, "x.txt", NULL, &t), FV_ERR_UNSUPPORTED, ".npy or .pb");
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {shape_arithmetic_disappears, sizes_of_zero, what_has_no_form_is_named, values_of_inputs_are_pinned, plans_come_back_and_are_bounded,
                                  weights_are_shared_by_plans, functions_are_opened, branches_are_chosen, origins_are_searched_once_a_node, external_values,
                                  files_may_be_cut_once_a_model_is_loaded, files_may_be_cut_while_a_model_is_loaded, tensors_of_every_type, NULL};
    return run_tests("lowering", tests, 120);
}

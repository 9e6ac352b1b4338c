/* Inference requests of the Open Inference Protocol: JSON with numbers in it, or followed by binary tensors. */
#include "serve.h"

#include "cli.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { most_depth = 32 };

int serve_refuse(exchange *e, int code, const char *format, ...) {
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    e->reply.size = 0;
    e->json_bytes = 0;
    serve_print(&e->reply, "{\"error\":");
    serve_quote(&e->reply, sentence);
    serve_print(&e->reply, "}");
    return code;
}

#define REFUSE_IF(condition, ...)                                                                                      \
    do {                                                                                                               \
        if (condition) return serve_refuse(e, 400, __VA_ARGS__);                                                       \
    } while (0)
#define FORWARD(call)                                                                                                  \
    do {                                                                                                               \
        const int code = (call);                                                                                       \
        if (code) return code;                                                                                         \
    } while (0)

/* Brackets inside brackets, before a parser follows them. */
static bool too_deep(const char *text, size_t bytes) {
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < bytes; i++) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else
                quoted = c != '"';
            continue;
        }
        if (c == '"') quoted = true;
        if ((c == '[' || c == '{') && ++depth > most_depth) return true;
        if (c == ']' || c == '}') depth--;
    }
    return false;
}

/* ---- numbers ---- */

/* FP16 travels as binary alone, as the protocol says. */
static bool store(const serve_tensor *t, const json_t *value, void *data, size_t i) {
    const fv_dtype type = t->shape.dtype;
    const bool real = type == FV_F32 || type == FV_F64, boolean = type == FV_BOOL && json_is_boolean(value);
    const json_int_t integer = boolean ? json_boolean_value(value) : json_is_integer(value) ? json_integer_value(value) : 0;
    if (real ? !json_is_number(value) : !boolean && !json_is_integer(value)) return false;
    const double number = json_number_value(value);
#define STORE(kind, least, most) \
    if (integer < (least) || integer > (most)) return false; \
    ((kind *)data)[i] = (kind)integer; \
    return true
    switch (type) {
    case FV_F32:
        if (fabs(number) > (double)FLT_MAX) return false;
        ((float *)data)[i] = (float)number;
        return true;
    case FV_F64: ((double *)data)[i] = number; return true;
    case FV_BOOL: STORE(uint8_t, 0, 1);
    case FV_I8: STORE(int8_t, INT8_MIN, INT8_MAX);
    case FV_U8: STORE(uint8_t, 0, UINT8_MAX);
    case FV_I16: STORE(int16_t, INT16_MIN, INT16_MAX);
    case FV_U16: STORE(uint16_t, 0, UINT16_MAX);
    case FV_I32: STORE(int32_t, INT32_MIN, INT32_MAX);
    case FV_U32: STORE(uint32_t, 0, UINT32_MAX);
    case FV_I64: STORE(int64_t, INT64_MIN, INT64_MAX);
    case FV_U64: STORE(uint64_t, 0, INT64_MAX); /* jansson's integers end there */
    case FV_F16: return false;
    }
#undef STORE
    return false;
}

typedef struct numbers {
    const serve_tensor *tensor;
    int64_t shape[FV_MAX_RANK];
    size_t count, next;
    void *data;
} numbers;

/* An array of `axis` and the axes behind it; NULL, or what is wrong. */
static const char *read_axis(numbers *n, const json_t *array, int32_t axis) {
    size_t i;
    json_t *value;
    if (!json_is_array(array)) return "is nested unevenly";
    if (axis >= n->tensor->shape.rank || (int64_t)json_array_size(array) != n->shape[axis])
        return "does not have the shape it says";
    json_array_foreach(array, i, value) {
        const char *wrong = NULL;
        if (axis + 1 < n->tensor->shape.rank)
            wrong = read_axis(n, value, axis + 1);
        else if (!store(n->tensor, value, n->data, n->next++))
            wrong = "holds something that is no number of its datatype";
        if (wrong) return wrong;
    }
    return NULL;
}

/* Nested as its shape, or flat. */
static const char *read_numbers(numbers *n, const json_t *data) {
    if (json_is_array(json_array_get(data, 0))) return read_axis(n, data, 0);
    if (json_array_size(data) != n->count) return "does not have as many numbers as its shape says";
    for (; n->next < n->count; n->next++)
        if (!store(n->tensor, json_array_get(data, n->next), n->data, n->next))
            return "holds something that is no number of its datatype";
    return NULL;
}

/* ---- inputs ---- */

static int read_shape(exchange *e, const serve_tensor *t, const json_t *shape, numbers *n) {
    REFUSE_IF(!json_is_array(shape) || json_array_size(shape) != (size_t)t->shape.rank,
              "input \"%.100s\" needs a shape of %d sizes", t->name, t->shape.rank);
    n->count = t->item_count;
    for (int32_t a = 0; a < t->shape.rank; a++) {
        const json_t *size = json_array_get(shape, (size_t)a);
        const json_int_t value = json_is_integer(size) ? json_integer_value(size) : -1;
        const bool batch = a == 0 && t->shape.shape[0] == 0;
        REFUSE_IF(batch ? value < 1 : value != t->shape.shape[a],
                  "input \"%.100s\": size %d of its shape is not %s%lld", t->name, a,
                  batch ? "a whole number from " : "", batch ? 1LL : (long long)t->shape.shape[a]);
        n->shape[a] = value;
        if (!batch) continue;
        REFUSE_IF(value > e->server->queue, "a request may bring at most %lld items, not %lld",
                  (long long)e->server->queue, (long long)value);
        REFUSE_IF(e->items && e->items != value, "the inputs have different numbers of items");
        e->items = value;
        n->count *= (size_t)value;
    }
    return 0;
}

/* *rest: the binary tensors that no input has taken yet. */
static int read_input(exchange *e, const json_t *given, serve_text *rest, bool header) {
    const server *s = e->server;
    const char *name = json_string_value(json_object_get(given, "name")),
               *type = json_string_value(json_object_get(given, "datatype"));
    const json_t *data = json_object_get(given, "data"),
                 *binary = json_object_get(json_object_get(given, "parameters"), "binary_data_size");
    size_t i = 0;
    REFUSE_IF(!name, "an input has no name");
    while (i < s->input_count && strcmp(s->inputs[i].name, name) != 0) i++;
    REFUSE_IF(i == s->input_count, "the model has no input \"%.100s\"", name);
    REFUSE_IF(e->in[i], "input \"%.100s\" is given twice", name);
    numbers n = {.tensor = &s->inputs[i]};
    REFUSE_IF(!type || strcmp(type, serve_datatype(n.tensor->shape.dtype)) != 0,
              "input \"%.100s\" has datatype %s, not %.40s", name, serve_datatype(n.tensor->shape.dtype),
              type ? type : "none");
    FORWARD(read_shape(e, n.tensor, json_object_get(given, "shape"), &n));
    REFUSE_IF(!data == !binary, "input \"%.100s\" needs either data or parameters.binary_data_size", name);
    const size_t bytes = n.count * n.tensor->number_bytes;
    if (binary) {
        REFUSE_IF(!header, "binary tensors need the header Inference-Header-Content-Length");
        REFUSE_IF(!json_is_integer(binary) || json_integer_value(binary) < 0 ||
                      (size_t)json_integer_value(binary) != bytes,
                  "input \"%.100s\" has %zu bytes by its shape, but another binary_data_size", name, bytes);
        REFUSE_IF(bytes > rest->size, "the body ends before the %zu bytes of input \"%.100s\"", bytes, name);
    }
    REFUSE_IF(data && !json_is_array(data), "the data of input \"%.100s\" is not an array", name);
    REFUSE_IF(data && n.count > e->body.size, "input \"%.100s\" does not have as many numbers as its shape says", name);
    e->in[i] = n.data = malloc(bytes ? bytes : 1);
    if (!n.data) return serve_refuse(e, 503, "out of memory");
    const char *wrong = data ? read_numbers(&n, data) : NULL;
    REFUSE_IF(wrong, "the data of input \"%.100s\" %s", name, wrong);
    if (binary) {
        memcpy(n.data, rest->data, bytes);
        rest->data += bytes;
        rest->size -= bytes;
    }
    return 0;
}

static int read_inputs(exchange *e, const json_t *inputs, serve_text *rest, bool header) {
    size_t i;
    json_t *given;
    REFUSE_IF(!json_is_array(inputs), "the request needs an array \"inputs\"");
    json_array_foreach(inputs, i, given) FORWARD(read_input(e, given, rest, header));
    for (i = 0; i < e->server->input_count; i++)
        REFUSE_IF(!e->in[i], "input \"%.100s\" is missing", e->server->inputs[i].name);
    REFUSE_IF(rest->size, "%zu bytes follow the last binary tensor", rest->size);
    if (e->items == 0) e->items = 1; /* a model of a fixed batch */
    return 0;
}

/* ---- outputs ---- */

static int read_output(exchange *e, const json_t *asked, bool binary) {
    const server *s = e->server;
    const char *name = json_string_value(json_object_get(asked, "name"));
    const json_t *parameters = json_object_get(asked, "parameters"), *own = json_object_get(parameters, "binary_data");
    size_t i = 0;
    REFUSE_IF(!name, "an output has no name");
    while (i < s->output_count && strcmp(s->outputs[i].name, name) != 0) i++;
    REFUSE_IF(i == s->output_count, "the model has no output \"%.100s\"", name);
    for (size_t k = 0; k < e->wanted_count; k++)
        REFUSE_IF(e->wanted[k] == i, "output \"%.100s\" is asked for twice", name);
    REFUSE_IF(own && !json_is_boolean(own), "binary_data of output \"%.100s\" is neither true nor false", name);
    REFUSE_IF(json_object_get(parameters, "classification"), "output \"%.100s\": classification is not offered", name);
    e->binary[e->wanted_count] = own ? json_is_true(own) : binary;
    e->wanted[e->wanted_count++] = i;
    return 0;
}

static int read_outputs(exchange *e, const json_t *outputs, bool binary) {
    const server *s = e->server;
    size_t i;
    json_t *asked;
    REFUSE_IF(outputs && !json_is_array(outputs), "\"outputs\" is not an array");
    json_array_foreach(outputs, i, asked) FORWARD(read_output(e, asked, binary));
    for (i = 0; json_array_size(outputs) == 0 && i < s->output_count; i++) {
        e->binary[i] = binary;
        e->wanted[e->wanted_count++] = i;
    }
    for (i = 0; i < s->output_count; i++) {
        e->out[i] = malloc((size_t)e->items * s->outputs[i].item_count * s->outputs[i].number_bytes + 1);
        if (!e->out[i]) return serve_refuse(e, 503, "out of memory");
    }
    return 0;
}

/* ---- the whole request ---- */

static int read_root(exchange *e, const json_t *root, serve_text *rest, bool header) {
    const json_t *parameters = json_object_get(root, "parameters"), *timeout = json_object_get(parameters, "timeout");
    const json_t *binary = json_object_get(parameters, "binary_data_output"), *id = json_object_get(root, "id");
    REFUSE_IF(!json_is_object(root), "the request is not a JSON object");
    REFUSE_IF(id && !json_is_string(id), "the id is not a string");
    REFUSE_IF(timeout && (!json_is_integer(timeout) || json_integer_value(timeout) < 1),
              "timeout is not a whole number of microseconds");
    REFUSE_IF(binary && !json_is_boolean(binary), "binary_data_output is neither true nor false");
    if (id && !(e->id = strdup(json_string_value(id)))) return serve_refuse(e, 503, "out of memory");
    e->deadline_us = timeout ? json_integer_value(timeout) : e->server->deadline_us;
    FORWARD(read_inputs(e, json_object_get(root, "inputs"), rest, header));
    return read_outputs(e, json_object_get(root, "outputs"), json_is_true(binary));
}

static int read_length(exchange *e, const char *text, size_t *bytes) {
    char *end;
    *bytes = e->body.size;
    if (!text) return 0;
    const unsigned long long value = strtoull(text, &end, 10);
    REFUSE_IF(*text < '0' || *text > '9' || *end, "Inference-Header-Content-Length is not a number");
    REFUSE_IF(value > e->body.size, "Inference-Header-Content-Length is %.20s, but the body has %zu bytes", text,
              e->body.size);
    *bytes = (size_t)value;
    return 0;
}

int serve_read_infer(exchange *e, const char *header_length) {
    const server *s = e->server;
    json_error_t error;
    size_t bytes;
    FORWARD(read_length(e, header_length, &bytes));
    REFUSE_IF(too_deep(e->body.data, bytes), "the request is nested more than %d deep", most_depth);
    e->in = calloc(s->input_count, sizeof *e->in);
    e->out = calloc(s->output_count, sizeof *e->out);
    e->wanted = calloc(s->output_count, sizeof *e->wanted);
    e->binary = calloc(s->output_count, sizeof *e->binary);
    if (!e->in || !e->out || !e->wanted || !e->binary) return serve_refuse(e, 503, "out of memory");
    json_t *root = json_loadb(e->body.data ? e->body.data : "", bytes, JSON_REJECT_DUPLICATES, &error);
    REFUSE_IF(!root, "the request is not valid JSON: %s, line %d", error.text, error.line);
    serve_text rest = {.data = e->body.data + bytes, .size = e->body.size - bytes};
    const int code = read_root(e, root, &rest, header_length != NULL);
    json_decref(root);
    return code;
}

/* ---- the answer ---- */

/* JSON has no NaN and no infinity: null. */
static void write_number(serve_text *t, fv_dtype type, const void *data, size_t i) {
    switch (type) {
    case FV_F32:
        if (isfinite(((const float *)data)[i]))
            serve_print(t, "%.9g", (double)((const float *)data)[i]);
        else
            serve_print(t, "null");
        break;
    case FV_F64:
        if (isfinite(((const double *)data)[i]))
            serve_print(t, "%.17g", ((const double *)data)[i]);
        else
            serve_print(t, "null");
        break;
    case FV_BOOL: serve_print(t, "%s", ((const uint8_t *)data)[i] ? "true" : "false"); break;
    case FV_I8: serve_print(t, "%d", ((const int8_t *)data)[i]); break;
    case FV_I16: serve_print(t, "%d", ((const int16_t *)data)[i]); break;
    case FV_I32: serve_print(t, "%d", ((const int32_t *)data)[i]); break;
    case FV_I64: serve_print(t, "%lld", (long long)((const int64_t *)data)[i]); break;
    case FV_U8: serve_print(t, "%u", ((const uint8_t *)data)[i]); break;
    case FV_U16: serve_print(t, "%u", ((const uint16_t *)data)[i]); break;
    case FV_U32: serve_print(t, "%u", ((const uint32_t *)data)[i]); break;
    case FV_U64: serve_print(t, "%llu", (unsigned long long)((const uint64_t *)data)[i]); break;
    case FV_F16: serve_print(t, "null"); break; /* outputs of this type are asked for as binary */
    }
}

static void write_output(exchange *e, size_t k) {
    serve_text *t = &e->reply;
    const serve_tensor *o = &e->server->outputs[e->wanted[k]];
    const size_t count = (size_t)e->items * o->item_count;
    serve_print(t, "%s{\"name\":", k ? "," : "");
    serve_quote(t, o->name);
    serve_print(t, ",\"datatype\":\"%s\",\"shape\":[", serve_datatype(o->shape.dtype));
    for (int32_t a = 0; a < o->shape.rank; a++)
        serve_print(t, "%s%lld", a ? "," : "",
                    (long long)(a == 0 && o->shape.shape[0] == 0 ? e->items : o->shape.shape[a]));
    if (e->binary[k]) {
        serve_print(t, "],\"parameters\":{\"binary_data_size\":%zu}}", count * o->number_bytes);
        return;
    }
    serve_print(t, "],\"data\":[");
    for (size_t i = 0; i < count; i++) {
        if (i) serve_append(t, ",", 1);
        write_number(t, o->shape.dtype, e->out[e->wanted[k]], i);
    }
    serve_print(t, "]}");
}

void serve_write_infer(exchange *e) {
    bool binary = false;
    e->reply.size = 0;
    serve_print(&e->reply, "{\"model_name\":");
    serve_quote(&e->reply, e->server->name);
    serve_print(&e->reply, ",\"model_version\":\"1\"");
    if (e->id) {
        serve_print(&e->reply, ",\"id\":");
        serve_quote(&e->reply, e->id);
    }
    serve_print(&e->reply, ",\"outputs\":[");
    for (size_t k = 0; k < e->wanted_count; k++) write_output(e, k);
    serve_print(&e->reply, "]}");
    for (size_t k = 0; k < e->wanted_count; k++) binary |= e->binary[k];
    if (!binary) return;
    e->json_bytes = e->reply.size;
    for (size_t k = 0; k < e->wanted_count; k++) {
        const serve_tensor *o = &e->server->outputs[e->wanted[k]];
        if (e->binary[k])
            serve_append(&e->reply, e->out[e->wanted[k]], (size_t)e->items * o->item_count * o->number_bytes);
    }
}

void serve_free_infer(exchange *e) {
    for (int64_t i = 0; e->requests && i < e->items; i++) fv_request_free(e->requests[i].request);
    for (size_t i = 0; e->in && i < e->server->input_count; i++) free(e->in[i]);
    for (size_t i = 0; e->out && i < e->server->output_count; i++) free(e->out[i]);
    free(e->requests);
    free(e->in);
    free(e->out);
    free(e->wanted);
    free(e->binary);
    free(e->id);
}

/* A model from the bytes; where it loads: planned, run once if that is little work, written and read again. */
#include "fuzz.h"
#include "mutate.h"

enum { most_tensors = 64 };

static void run(fv_session *s) {
    fv_tensor in[most_tensors], out[most_tensors];
    const size_t inputs = fv_session_input_count(s), outputs = fv_session_output_count(s);
    double flops = 0, bytes = 0;
    for (size_t i = 0; i < fv_session_node_count(s); i++) {
        fv_node_info n;
        fuzz_check(fv_session_node(s, i, &n) == FV_OK, "a node without description");
        flops += n.flops;
        bytes += n.bytes;
    }
    if (inputs > most_tensors || outputs > most_tensors || flops > 2e7 || bytes > 4e6) return;
    size_t total = 0;
    for (size_t i = 0; i < inputs + outputs; i++) {
        fv_tensor *t = i < inputs ? in + i : out + i - inputs;
        size_t count;
        const fv_status status = i < inputs ? fv_session_input(s, i, NULL, t) : fv_session_output(s, i - inputs, NULL, t);
        fuzz_check(status == FV_OK, "a border without shape");
        fuzz_check(fv_tensor_count(t, &count) == FV_OK, "a border without size");
        t->data = NULL;
        if ((total += count) > 1 << 20) break;
        t->data = malloc(count * fv_dtype_bytes(t->dtype) + (count == 0)); /* no byte to spare, for the sanitizer */
        fuzz_check(t->data != NULL, "no memory");
        memset(t->data, t->dtype == FV_BOOL ? 1 : t->dtype == FV_F32 ? 0x3f : 2, count * fv_dtype_bytes(t->dtype));
    }
    if (total <= 1 << 20) (void)fv_session_run(s, in, inputs, out, outputs);
    for (size_t i = 0, stop = 0; i < inputs + outputs && !stop; i++) {
        fv_tensor *t = i < inputs ? in + i : out + i - inputs;
        stop = t->data == NULL;
        free(t->data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fv_context *c = fuzz_enter();
    fv_model *m = NULL, *again = NULL;
    fv_session *s = NULL;
    const char *path = fuzz_file("m.onnx", data, size);
    const fv_status status = fv_model_load(c, path, &m);
    fuzz_check((status == FV_OK) == (m != NULL), "status and model disagree");
    if (m) {
        fv_session_settings settings;
        fv_session_settings_default(&settings);
        if (fv_session_create(m, &settings, &s) == FV_OK) run(s);
        fv_session_free(s);
        if (fv_model_save(m, path) == FV_OK) fuzz_check(fv_model_load(c, path, &again) == FV_OK, "what was written is not read");
    } else {
        fuzz_check(strstr(fv_last_error(), "m.onnx") != NULL, "the sentence does not name the file");
    }
    fv_model_free(again);
    fv_model_free(m);
    fuzz_leave(c);
    return 0;
}

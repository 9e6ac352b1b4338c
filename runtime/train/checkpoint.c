/* The whole state of a trainer in one file:
 *   "FVCKPT01", u32 value size, u32 count of values, i64 steps, u64 fingerprint of the model's parameters and the settings,
 *   then per value u64 elements and its elements as they lie in the trainer, then the CRC-32 of everything before it.
 * Little-endian. Everything is checked before the trainer is touched. */
#include "core/file.h"
#include "ops/window.h"
#include "train/trainer.h"

#include <string.h>

static const char magic[8] = "FVCKPT01";

typedef struct header {
    char magic[8];
    uint32_t value_bytes, values;
    int64_t steps;
    uint64_t fingerprint;
} header;

/* ---- CRC-32 (IEEE 802.3), by halves of a byte ---- */

static uint32_t crc32_of(uint32_t crc, const void *data, size_t bytes) {
    static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                       0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    crc = ~crc;
    for (const uint8_t *p = data; bytes--; p++) {
        crc = table[(crc ^ *p) & 15] ^ (crc >> 4);
        crc = table[(crc ^ (*p >> 4)) & 15] ^ (crc >> 4);
    }
    return ~crc;
}

/* ---- what must be the same to go on: all that a step means but the learning rate, which a longer training may choose anew ---- */

static uint64_t mix(uint64_t h, const void *data, size_t bytes) {
    for (const uint8_t *p = data; bytes--; p++) h = (h ^ *p) * 1099511628211u;
    return h;
}

static uint64_t fingerprint(const fv_trainer *t) {
    uint64_t h = 1469598103934665603u;
    const fv_trainer_settings *s = &t->settings;
    const int32_t kinds[5] = {(int32_t)s->optimizer, (int32_t)s->loss, (int32_t)s->reduction, (int32_t)s->loss_input, s->soft_targets};
    const float numbers[7] = {s->label_smoothing, s->momentum, s->beta1, s->beta2, s->epsilon, s->weight_decay, s->clip};
    h = mix(h, kinds, sizeof kinds);
    h = mix(h, numbers, sizeof numbers);
    h = mix(h, &s->seed, sizeof s->seed);
    const fv_value_info *v;
    for (size_t i = 0; (v = fv_trainer_value(t, i)); i++) {
        const int32_t form[4] = {(int32_t)v->kind, v->shape.rank, (int32_t)v->layout, v->taps};
        h = mix(h, form, sizeof form);
        h = mix(h, v->shape.dim, (size_t)v->shape.rank * sizeof *v->shape.dim);
        if (v->name) h = mix(h, v->name, strlen(v->name));
    }
    return h;
}

static header header_of(const fv_trainer *t) {
    header h = {.value_bytes = sizeof(fv_real), .steps = t->steps, .fingerprint = fingerprint(t)};
    memcpy(h.magic, magic, sizeof magic);
    while (fv_trainer_value(t, h.values)) h.values++;
    return h;
}

/* ---- writing ---- */

static fv_status put(fv_writer *w, const void *data, size_t bytes, uint32_t *crc) {
    *crc = crc32_of(*crc, data, bytes);
    return fv_writer_write(w, data, bytes);
}

static fv_status write_all(const fv_trainer *t, fv_writer *w) {
    uint32_t crc = 0;
    const header h = header_of(t);
    FV_FORWARD(put(w, &h, sizeof h, &crc));
    const fv_value_info *v;
    for (size_t i = 0; (v = fv_trainer_value(t, i)); i++) {
        const uint64_t count = fv_shape_count(&v->shape);
        FV_FORWARD(put(w, &count, sizeof count, &crc));
        FV_FORWARD(put(w, v->data, (size_t)count * sizeof(fv_real), &crc));
    }
    return fv_writer_write(w, &crc, sizeof crc);
}

fv_status fv_trainer_save(const fv_trainer *t, const char *path) {
    FV_RETURN_IF(!t || !path, FV_ERR_ARGUMENT, "fv_trainer_save needs a trainer and a path");
    fv_writer *w;
    FV_FORWARD(fv_writer_open(t->graph->context, path, &w));
    const fv_status status = write_all(t, w);
    if (status == FV_OK) return fv_writer_commit(w);
    fv_writer_abandon(w);
    return status;
}

/* ---- reading ---- */

static fv_status check_file(const fv_trainer *t, const fv_mapping *file, const char *path) {
    const header want = header_of(t);
    header h;
    uint32_t crc;
    FV_RETURN_IF(file->bytes < sizeof h + sizeof crc || memcmp(file->data, magic, sizeof magic) != 0, FV_ERR_FORMAT,
                 "%s is not a checkpoint", path);
    memcpy(&h, file->data, sizeof h);
    memcpy(&crc, file->data + file->bytes - sizeof crc, sizeof crc);
    FV_RETURN_IF(crc32_of(0, file->data, file->bytes - sizeof crc) != crc, FV_ERR_FORMAT,
                 "%s is damaged or not whole: its checksum does not fit", path);
    FV_RETURN_IF(h.fingerprint != want.fingerprint || h.values != want.values || h.value_bytes != want.value_bytes || h.steps < 0,
                 FV_ERR_STATE, "%s was written by a training of another model, optimizer, loss or seed", path);
    return FV_OK;
}

/* apply false: only checks that sizes fit. */
static fv_status read_values(const fv_trainer *t, const fv_mapping *file, const char *path, bool apply) {
    size_t at = sizeof(header);
    const size_t end = file->bytes - sizeof(uint32_t);
    fv_value_info *v;
    for (size_t i = 0; (v = fv_trainer_value(t, i)); i++) {
        uint64_t count;
        const size_t bytes = fv_shape_count(&v->shape) * sizeof(fv_real);
        FV_RETURN_IF(end - at < sizeof count || end - at - sizeof count < bytes, FV_ERR_FORMAT, "%s is not whole", path);
        memcpy(&count, file->data + at, sizeof count);
        at += sizeof count;
        FV_RETURN_IF(count * sizeof(fv_real) != bytes, FV_ERR_FORMAT, "%s does not fit the model", path);
        if (apply) memcpy(v->data, file->data + at, bytes);
        at += bytes;
    }
    FV_RETURN_IF(at != end, FV_ERR_FORMAT, "%s has bytes left over", path);
    return FV_OK;
}

fv_status fv_trainer_load(fv_trainer *t, const char *path) {
    FV_RETURN_IF(!t || !path, FV_ERR_ARGUMENT, "fv_trainer_load needs a trainer and a path");
    fv_mapping file;
    FV_FORWARD(fv_map_file(path, &file));
    fv_status status = check_file(t, &file, path);
    if (status == FV_OK) status = read_values(t, &file, path, false);
    if (status == FV_OK) status = fv_check_mapping(&file, path);
    if (status == FV_OK) {
        header h;
        memcpy(&h, file.data, sizeof h);
        (void)read_values(t, &file, path, true);
        t->steps = h.steps;
    }
    fv_unmap_file(&file);
    return status;
}

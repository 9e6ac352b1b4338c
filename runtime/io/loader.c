/* Batches of a data set: order, augmentation and scaling, prepared by the caller's thread or ahead by one of its own.
 * Everything about batch k follows from the settings and k alone, so the same bits come with and without a thread. */
#include "core/process.h"
#include "core/rng.h"
#include "io/dataset.h"
#include "parallel/thread.h"

#include <string.h>

enum { shift_pixels = 2, crop_pixels = 4, largest_prefetch = 4096 };

typedef struct batch {
    float *x;     /* [n][H][W][C] */
    float *clean; /* without the noise; NULL: no noise */
    int32_t *labels;
    int64_t n; /* 0: the end */
} batch;

struct fv_loader {
    fv_context *context;
    fv_dataset *data;
    fv_loader_settings settings;
    int64_t per_epoch;
    /* The preparing thread's: */
    int64_t step, end;      /* next batch to prepare; the end, -1: none */
    int64_t epoch;          /* of `order`; -1: none yet */
    uint32_t *order;        /* [count] when shuffling */
    uint8_t *image;         /* one augmented image */
    fv_real *scale, *shift; /* [channels] */
    /* The ring: `ready` batches from `first` on are prepared or in the caller's hands. */
    size_t slots, first, ready;
    bool held, quit, threaded; /* held: the caller has batch `first` */
    const batch *latest;        /* in the caller's hands; NULL: none */
    pid_t process;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* one waiter at a time: the ring is never both full and empty */
    batch ring[];
};

void fv_loader_settings_default(fv_loader_settings *s) {
    if (s) *s = (fv_loader_settings){.batch = 64, .shuffle = true, .seed = 1, .scale = 1.0f / 255.0f};
}

/* ---- preparing a batch ---- */

/* Fisher-Yates from the identity: epoch e's order needs no other epoch's. */
static void shuffle(fv_loader *l, int64_t epoch) {
    const uint32_t count = (uint32_t)l->data->info.count;
    for (uint32_t i = 0; i < count; i++) l->order[i] = i;
    for (uint32_t i = count - 1; i > 0; i--) {
        const uint32_t j = fv_rng_below(l->settings.seed, FV_PURPOSE_SHUFFLE, (uint64_t)epoch, i, i + 1);
        const uint32_t kept = l->order[i];
        l->order[i] = l->order[j];
        l->order[j] = kept;
    }
    l->epoch = epoch;
}

/* out[y][x] = in[y + dy][x + dx], x mirrored first when flip; 0 outside. */
static void move(const fv_dataset_info *s, const uint8_t *in, int dy, int dx, bool flip, uint8_t *out) {
    const int channels = s->channels, height = s->height, width = s->width;
    memset(out, 0, (size_t)height * (size_t)width * (size_t)channels);
    const int from_x = dx > 0 ? 0 : -dx, to_x = dx > 0 ? width - dx : width;
    for (int y = 0; y < height; y++) {
        if (y + dy < 0 || y + dy >= height || from_x >= to_x) continue;
        const uint8_t *row = in + (size_t)(y + dy) * (size_t)width * (size_t)channels;
        uint8_t *to = out + ((size_t)y * (size_t)width + (size_t)from_x) * (size_t)channels;
        if (!flip) {
            memcpy(to, row + (size_t)(from_x + dx) * (size_t)channels, (size_t)(to_x - from_x) * (size_t)channels);
            continue;
        }
        for (int x = from_x; x < to_x; x++)
            for (int c = 0; c < channels; c++) *to++ = row[(size_t)(width - 1 - x - dx) * (size_t)channels + (size_t)c];
    }
}

/* One block of four random words an image: flip, shift, crop. */
static const uint8_t *augment(fv_loader *l, int64_t epoch, uint32_t number, const uint8_t *pixels) {
    const fv_loader_settings *s = &l->settings;
    const uint64_t stream = (uint64_t)epoch, at = 4 * (uint64_t)number;
    int dy = 0, dx = 0;
    bool flip = false;
    if (s->augment & FV_AUGMENT_FLIP) flip = fv_rng_below(s->seed, FV_PURPOSE_AUGMENT, stream, at, 2);
    if (s->augment & FV_AUGMENT_SHIFT) {
        const int side = 2 * shift_pixels + 1;
        const int place = (int)fv_rng_below(s->seed, FV_PURPOSE_AUGMENT, stream, at + 1, (uint32_t)(side * side));
        dy += place / side - shift_pixels;
        dx += place % side - shift_pixels;
    }
    if (s->augment & FV_AUGMENT_CROP) {
        const int side = 2 * crop_pixels + 1;
        const int place = (int)fv_rng_below(s->seed, FV_PURPOSE_AUGMENT, stream, at + 2, (uint32_t)(side * side));
        dy += place / side - crop_pixels;
        dx += place % side - crop_pixels;
    }
    if (!flip && !dy && !dx) return pixels;
    move(&l->data->info, pixels, dy, dx, flip, l->image);
    return l->image;
}

/* noisy = clean + deviation * normal: of an image's values two share a draw, an odd last one wastes half of its own. */
static void add_noise(const fv_loader *l, int64_t epoch, uint32_t number, const float *clean, float *noisy) {
    const size_t count = fv_dataset_image_bytes(l->data), pairs = (count + 1) / 2;
    uint32_t key[2];
    fv_real draw[2];
    fv_rng_key(l->settings.seed, FV_PURPOSE_NOISE, key);
    for (size_t i = 0; i < count; i++) {
        if (i % 2 == 0) fv_rng_normals(key, (uint32_t)epoch, (uint64_t)number * pairs + i / 2, draw);
        noisy[i] = clean[i] + l->settings.noise * draw[i % 2];
    }
}

/* Batch number l->step into b. Allocates nothing, cannot fail. */
static void prepare(fv_loader *l, batch *b) {
    const fv_dataset *d = l->data;
    const size_t bytes = fv_dataset_image_bytes(d), pixels = (size_t)d->info.height * (size_t)d->info.width;
    b->n = 0;
    if (l->per_epoch == 0 || l->step == l->end) return;
    const int64_t epoch = l->step / l->per_epoch, begin = l->step % l->per_epoch * l->settings.batch;
    if (l->settings.shuffle && l->epoch != epoch) shuffle(l, epoch);
    const int64_t rest = d->info.count - begin;
    b->n = rest < l->settings.batch ? rest : l->settings.batch;
    for (int64_t i = 0; i < b->n; i++) {
        const uint32_t number = l->settings.shuffle ? l->order[begin + i] : (uint32_t)(begin + i);
        const uint8_t *image = d->pixels + number * bytes;
        if (l->settings.augment) image = augment(l, epoch, number, image);
        float *clean = (b->clean ? b->clean : b->x) + (size_t)i * bytes;
        l->context->kernels.convert.u8_to_real(image, clean, pixels, (size_t)d->info.channels, l->scale, l->shift);
        if (b->clean) add_noise(l, epoch, number, clean, b->x + (size_t)i * bytes);
        b->labels[i] = d->labels[number];
    }
    l->step++;
}

/* ---- the thread ---- */

static void *prepare_ahead(void *arg) {
    fv_loader *l = arg;
    pthread_mutex_lock(&l->lock);
    for (bool more = true; more && !l->quit;) {
        if (l->ready == l->slots) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        batch *b = &l->ring[(l->first + l->ready) % l->slots];
        pthread_mutex_unlock(&l->lock);
        prepare(l, b);
        more = b->n > 0;
        pthread_mutex_lock(&l->lock);
        l->ready++;
        pthread_cond_signal(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static batch *next_prepared(fv_loader *l) {
    pthread_mutex_lock(&l->lock);
    if (l->held) {
        l->first = (l->first + 1) % l->slots;
        l->ready--;
        pthread_cond_signal(&l->changed);
    }
    while (l->ready == 0) pthread_cond_wait(&l->changed, &l->lock);
    batch *b = &l->ring[l->first];
    l->held = b->n > 0; /* the end stays */
    pthread_mutex_unlock(&l->lock);
    return b;
}

/* ---- the loader ---- */

static fv_status check(const fv_loader_settings *s) {
    FV_RETURN_IF(s->batch < 1 || s->batch > INT32_MAX, FV_ERR_ARGUMENT, "a batch of %lld images", (long long)s->batch);
    FV_RETURN_IF(s->start_step < 0, FV_ERR_ARGUMENT, "the first step is %lld", (long long)s->start_step);
    FV_RETURN_IF(s->prefetch < 0 || s->prefetch > largest_prefetch, FV_ERR_ARGUMENT,
                 "%d batches ahead; allowed are 0 to %d", s->prefetch, largest_prefetch);
    FV_RETURN_IF(s->augment & ~(unsigned)(FV_AUGMENT_SHIFT | FV_AUGMENT_FLIP | FV_AUGMENT_CROP), FV_ERR_ARGUMENT,
                 "unknown augmentation bits %#x", s->augment);
    FV_RETURN_IF(!(s->noise >= 0 && s->noise < 1e9f), FV_ERR_ARGUMENT, "noise of deviation %g; it must be 0 or more",
                 (double)s->noise);
    return FV_OK;
}

static fv_status allocate(fv_loader *l) {
    const fv_context *c = l->context;
    const size_t image = fv_dataset_image_bytes(l->data), channels = (size_t)l->data->info.channels;
    int64_t largest = l->settings.batch < l->data->info.count ? l->settings.batch : l->data->info.count;
    size_t bytes;
    FV_RETURN_IF(!fv_mul_size((size_t)largest, image, &bytes), FV_ERR_LIMIT, "a batch of %lld images is too large",
                 (long long)largest);
    for (size_t i = 0; i < l->slots; i++) {
        FV_FORWARD(fv_alloc_array(c, bytes, sizeof(float), "a batch of images", (void **)&l->ring[i].x));
        if (l->settings.noise > 0)
            FV_FORWARD(fv_alloc_array(c, bytes, sizeof(float), "images without noise", (void **)&l->ring[i].clean));
        FV_FORWARD(
            fv_alloc_array(c, (size_t)largest, sizeof(int32_t), "the labels of a batch", (void **)&l->ring[i].labels));
    }
    FV_FORWARD(fv_alloc(c, image, "an augmented image", (void **)&l->image));
    FV_FORWARD(fv_alloc_array(c, 2 * channels, sizeof *l->scale, "scales of channels", (void **)&l->scale));
    l->shift = l->scale + channels;
    for (size_t i = 0; i < channels; i++) {
        l->scale[i] = l->settings.scale;
        l->shift[i] = l->settings.shift;
    }
    if (!l->settings.shuffle) return FV_OK;
    return fv_alloc_array(c, (size_t)l->data->info.count, sizeof *l->order, "the order of images", (void **)&l->order);
}

static fv_status start_thread(fv_loader *l) {
    l->process = fv_process();
    const int error = fv_thread_start(&l->thread, prepare_ahead, l);
    l->threaded = error == 0;
    FV_RETURN_IF(error, FV_ERR_THREAD, "cannot start the thread that prepares batches: %s", strerror(error));
    return FV_OK;
}

fv_status fv_loader_create(const fv_dataset *d, const fv_loader_settings *s, fv_loader **out) {
    FV_RETURN_IF(!d || !out, FV_ERR_ARGUMENT, "fv_loader_create needs a data set and a place for the loader");
    fv_loader_settings wanted;
    fv_loader_settings_default(&wanted);
    if (s) wanted = *s;
    FV_FORWARD(check(&wanted));
    fv_loader *l;
    const size_t slots = (size_t)wanted.prefetch + 1; /* one is in the caller's hands */
    FV_FORWARD(fv_alloc_zero(d->context, sizeof *l + slots * sizeof *l->ring, "a loader", (void **)&l));
    l->context = fv_context_retain(d->context);
    l->data = fv_dataset_retain(d);
    l->settings = wanted;
    l->slots = slots;
    l->per_epoch = d->info.count / wanted.batch + (!wanted.drop_last && d->info.count % wanted.batch != 0);
    l->step = wanted.start_step;
    l->end = l->per_epoch && wanted.once ? (wanted.start_step / l->per_epoch + 1) * l->per_epoch : -1;
    l->epoch = -1;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    fv_status status = allocate(l);
    if (status == FV_OK && wanted.prefetch) status = start_thread(l);
    if (status != FV_OK) {
        fv_loader_free(l);
        return status;
    }
    *out = l;
    return FV_OK;
}

/* In a forked child the thread does not exist: there is nobody to wait for, and the lock may be held for ever. */
void fv_loader_free(fv_loader *l) {
    if (!l) return;
    if (l->threaded && l->process == fv_process()) {
        pthread_mutex_lock(&l->lock);
        l->quit = true;
        pthread_cond_signal(&l->changed);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
    }
    if (!l->threaded || l->process == fv_process()) {
        pthread_cond_destroy(&l->changed);
        pthread_mutex_destroy(&l->lock);
    }
    fv_context *c = l->context;
    for (size_t i = 0; i < l->slots; i++) {
        fv_release(c, l->ring[i].x);
        fv_release(c, l->ring[i].clean);
        fv_release(c, l->ring[i].labels);
    }
    fv_release(c, l->image);
    fv_release(c, l->scale);
    fv_release(c, l->order);
    fv_dataset_free(l->data);
    fv_release(c, l);
    fv_context_free(c);
}

static fv_tensor images_of(const fv_loader *l, const batch *b, float *values) {
    const fv_dataset_info *s = &l->data->info;
    return (fv_tensor){FV_F32, FV_NHWC, 4, {b->n, s->channels, s->height, s->width}, values};
}

fv_status fv_loader_next(fv_loader *l, fv_tensor *x, fv_tensor *labels) {
    FV_RETURN_IF(!l || !x || !labels, FV_ERR_ARGUMENT,
                 "fv_loader_next needs a loader and places for images and labels");
    batch *b = &l->ring[0];
    FV_RETURN_IF(l->threaded && l->process != fv_process(), FV_ERR_STATE,
                 "the thread that prepares batches stayed in the parent process; make a new loader");
    if (l->threaded)
        b = next_prepared(l);
    else
        prepare(l, b);
    *x = images_of(l, b, b->x);
    *labels = (fv_tensor){FV_I32, FV_PLAIN, 1, {b->n}, b->labels};
    l->latest = b;
    return FV_OK;
}

fv_status fv_loader_clean(const fv_loader *l, fv_tensor *x) {
    FV_RETURN_IF(!l || !x, FV_ERR_ARGUMENT, "fv_loader_clean needs a loader and a place for the images");
    FV_RETURN_IF(!l->latest, FV_ERR_STATE, "fv_loader_clean gives the images of the latest fv_loader_next; there was none");
    *x = images_of(l, l->latest, l->latest->clean ? l->latest->clean : l->latest->x);
    return FV_OK;
}

int64_t fv_loader_steps_per_epoch(const fv_loader *l) { return l ? l->per_epoch : 0; }

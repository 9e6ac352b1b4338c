/* fv_loader_*: order, augmentation and scaling by value; the same bits with and without a thread, from any step on. */
#define _GNU_SOURCE
#include "files.h"

#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <sys/wait.h>

enum { images = 37, height = 10, width = 11, size = height * width };

static fv_dataset *data;

/* Before libc's: the system refuses threads while this is set. */
static bool refuse_threads;
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg) {
    typedef int (*create_fn)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    return refuse_threads ? EAGAIN : ((create_fn)dlsym(RTLD_NEXT, "pthread_create"))(thread, attributes, run, arg);
}

/* Image i is i + 1 at every pixel but for its first row, which counts its columns from 100; label i % 5. */
static uint8_t pixel_of(int i, int y, int x) { return (uint8_t)(y == 0 ? 100 + x : i + 1); }

static void enter_data(void) {
    uint8_t bytes[16 + images * size] = {0, 0, 8, 3, 0, 0, 0, images, 0, 0, 0, height, 0, 0, 0, width};
    uint8_t labels[8 + images] = {0, 0, 8, 1, 0, 0, 0, images};
    char spec[128];
    for (int i = 0; i < images; i++) {
        labels[8 + i] = (uint8_t)(i % 5);
        for (int p = 0; p < size; p++) bytes[16 + i * size + p] = pixel_of(i, p / width, p % width);
    }
    enter();
    put("train-images-idx3-ubyte", bytes, sizeof bytes);
    put("train-labels-idx1-ubyte", labels, sizeof labels);
    snprintf(spec, sizeof spec, "idx:%s", folder);
    ok(fv_dataset_open(context, spec, NULL, &data));
}

static void leave_data(void) {
    fv_dataset_free(data);
    leave();
}

static fv_loader_settings settings(int64_t batch) {
    fv_loader_settings s;
    fv_loader_settings_default(&s);
    s.batch = batch;
    s.scale = 1; /* bytes as they are */
    return s;
}

static fv_loader *loader_of(const fv_loader_settings *s) {
    fv_loader *l = NULL;
    ok(fv_loader_create(data, s, &l));
    return l;
}

static int64_t next(fv_loader *l, const float **x, const int32_t **labels) {
    fv_tensor tx, tl;
    ok(fv_loader_next(l, &tx, &tl));
    ck_assert(tx.dtype == FV_F32 && tx.layout == FV_NHWC && tx.rank == 4);
    ck_assert(tx.shape[1] == 1 && tx.shape[2] == height && tx.shape[3] == width);
    ck_assert(tl.dtype == FV_I32 && tl.rank == 1 && tl.shape[0] == tx.shape[0]);
    *x = tx.data;
    *labels = tl.data;
    return tx.shape[0];
}

/* Number of the image, from a pixel that no augmentation covers with the first row or the outside. */
static int number_of(const float *x) { return (int)x[5 * width + 5] - 1; }

START_TEST(in_order_without_shuffling) {
    const float *x;
    const int32_t *labels;
    enter_data();
    fv_loader_settings s = settings(8);
    s.shuffle = false;
    s.scale = 0.5f;
    s.shift = -3;
    fv_loader *l = loader_of(&s);
    ck_assert_int_eq(fv_loader_steps_per_epoch(l), 5);
    for (int i = 0; i < 2 * images;) {
        const int64_t n = next(l, &x, &labels);
        ck_assert_int_eq(n, i % images == 32 ? 5 : 8);
        for (int64_t k = 0; k < n; k++, i++) {
            ck_assert_int_eq(labels[k], i % images % 5);
            for (int p = 0; p < size; p++)
                ck_assert(x[k * size + p] == 0.5f * pixel_of(i % images, p / width, p % width) - 3);
        }
    }
    fv_loader_free(l);
    leave_data();
}
END_TEST

/* The images of `epochs` epochs into order; every epoch has each image once. */
static void orders(fv_loader *l, int epochs, int order[]) {
    const float *x;
    const int32_t *labels;
    for (int e = 0; e < epochs; e++) {
        bool seen[images] = {false};
        for (int i = 0; i < images;) {
            const int64_t n = next(l, &x, &labels);
            for (int64_t k = 0; k < n; k++, i++) {
                const int number = order[e * images + i] = number_of(x + k * size);
                ck_assert(number >= 0 && number < images && !seen[number]);
                ck_assert_int_eq(labels[k], number % 5);
                seen[number] = true;
            }
        }
    }
}

START_TEST(orders_follow_seed_and_epoch) {
    int first[3 * images], again[3 * images], other[3 * images];
    enter_data();
    fv_loader_settings s = settings(8);
    fv_loader *a = loader_of(&s);
    s.batch = 5; /* the order does not depend on it */
    fv_loader *b = loader_of(&s);
    s.seed = 2;
    fv_loader *c = loader_of(&s);
    orders(a, 3, first);
    orders(b, 3, again);
    orders(c, 3, other);
    ck_assert_mem_eq(first, again, sizeof first);
    ck_assert_mem_ne(first, other, sizeof first);
    ck_assert_mem_ne(first, first + images, images * sizeof *first);
    ck_assert_mem_ne(first + images, first + 2 * images, images * sizeof *first);
    fv_loader_free(a);
    fv_loader_free(b);
    fv_loader_free(c);
    leave_data();
}
END_TEST

/* Both loaders give the same `steps` batches, bit for bit. */
static void same(fv_loader *a, fv_loader *b, int steps) {
    const float *xa, *xb;
    const int32_t *la, *lb;
    for (int i = 0; i < steps; i++) {
        const int64_t n = next(a, &xa, &la);
        ck_assert_int_eq(next(b, &xb, &lb), n);
        if (n == 0) continue;
        ck_assert_mem_eq(xa, xb, (size_t)n * size * sizeof *xa);
        ck_assert_mem_eq(la, lb, (size_t)n * sizeof *la);
    }
}

START_TEST(the_same_bits_with_a_thread_and_from_any_step) {
    static const int ahead[] = {0, 1, 2, 4, 16};
    enter_data();
    for (int mode = 0; mode < 8; mode++) /* shuffle, drop_last, once */
        for (size_t k = 0; k < 5; k++)
            for (int start = 0; start <= 12; start += 3) {
                fv_loader_settings s = settings(8);
                s.augment = FV_AUGMENT_SHIFT | FV_AUGMENT_FLIP | FV_AUGMENT_CROP;
                s.noise = (float)(mode & 1);
                s.shuffle = mode & 1;
                s.drop_last = mode & 2;
                fv_loader *a = loader_of(&s);
                s.once = mode & 4;
                s.start_step = start;
                s.prefetch = ahead[k];
                fv_loader *b = loader_of(&s);
                const float *x;
                const int32_t *labels;
                for (int i = 0; i < start; i++) next(a, &x, &labels);
                const int epoch = s.drop_last ? 4 : 5, left = s.once ? epoch - start % epoch : 13;
                ck_assert_int_eq(fv_loader_steps_per_epoch(b), epoch);
                same(a, b, left);
                for (int i = 0; s.once && i < 3; i++) ck_assert_int_eq(next(b, &x, &labels), 0);
                fv_loader_free(a);
                fv_loader_free(b);
            }
    leave_data();
}
END_TEST

/* Noise depends on seed, epoch, image and place: not on order, batch size or prefetching. */
START_TEST(noise_is_added_to_a_clean_image) {
    enum { batches = 10 }; /* two epochs */
    static float plain[2][images][size], noise[3][2][images][size];
    double sum = 0, squares = 0;
    enter_data();
    for (int kind = 0; kind < 3; kind++) {
        fv_loader_settings s = settings(kind == 1 ? images : 8);
        s.noise = 3;
        s.shuffle = kind == 1;
        s.prefetch = kind == 1 ? 2 : 0;
        s.seed = kind == 2 ? 8 : 7;
        fv_loader *l = loader_of(&s);
        for (int at = 0; at < 2 * images;) {
            fv_tensor x, labels, clean;
            ok(fv_loader_next(l, &x, &labels));
            ok(fv_loader_clean(l, &clean));
            ck_assert(clean.layout == x.layout && clean.rank == 4 && memcmp(clean.shape, x.shape, 4 * sizeof *x.shape) == 0);
            for (int64_t i = 0; i < x.shape[0]; i++, at++) {
                const float *c = (const float *)clean.data + i * size, *n = (const float *)x.data + i * size;
                const int image = (int)c[size - 1] - 1, epoch = at / images;
                ck_assert(image >= 0 && image < images);
                for (int p = 0; p < size; p++) {
                    plain[epoch][image][p] = c[p];
                    noise[kind][epoch][image][p] = n[p] - c[p];
                }
            }
        }
        fv_loader_free(l);
    }
    for (int e = 0; e < 2; e++)
        for (int i = 0; i < images; i++)
            for (int p = 0; p < size; p++) {
                const double v = (double)noise[0][e][i][p];
                ck_assert(plain[e][i][p] == (float)pixel_of(i, p / width, p % width));
                sum += v;
                squares += v * v;
            }
    const double count = 2 * images * size;
    ck_assert_double_eq_tol(sum / count, 0, 0.15); /* 4.5 standard deviations */
    ck_assert_double_eq_tol(squares / count, 9, 0.6);
    ck_assert_mem_eq(noise[0], noise[1], sizeof noise[0]);
    ck_assert(memcmp(noise[0], noise[2], sizeof noise[0]) != 0);
    ck_assert(memcmp(noise[0][0], noise[0][1], sizeof noise[0][0]) != 0);
    ck_assert(memcmp(noise[0][0][0], noise[0][0][1], sizeof noise[0][0][0]) != 0);
    leave_data();
}
END_TEST

START_TEST(clean_images_without_noise_are_the_images) {
    fv_tensor x, labels, clean;
    enter_data();
    const fv_loader_settings s = settings(8);
    fv_loader *l = loader_of(&s);
    fails(fv_loader_clean(l, &clean), FV_ERR_STATE, "there was none");
    ok(fv_loader_next(l, &x, &labels));
    ok(fv_loader_clean(l, &clean));
    ck_assert_ptr_eq(clean.data, x.data);
    fails(fv_loader_clean(NULL, &clean), FV_ERR_ARGUMENT, "needs");
    fv_loader_free(l);
    leave_data();
}
END_TEST

START_TEST(a_batch_larger_than_the_set) {
    const float *x;
    const int32_t *labels;
    enter_data();
    fv_loader_settings s = settings(1000);
    fv_loader *l = loader_of(&s);
    ck_assert_int_eq(fv_loader_steps_per_epoch(l), 1);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(next(l, &x, &labels), images);
    fv_loader_free(l);
    s.drop_last = true;
    for (s.prefetch = 0; s.prefetch < 3; s.prefetch++) {
        l = loader_of(&s);
        ck_assert_int_eq(fv_loader_steps_per_epoch(l), 0);
        for (int i = 0; i < 3; i++) ck_assert_int_eq(next(l, &x, &labels), 0);
        fv_loader_free(l);
    }
    leave_data();
}
END_TEST

/* How an image was moved: the only dy, dx and flip that explain every pixel; at most `most` pixels. */
static void find_move(const float *x, int most, int *found_dy, int *found_dx, bool *found_flip) {
    const int number = number_of(x);
    int explanations = 0;
    for (int flip = 0; flip < 2; flip++)
        for (int dy = -most; dy <= most; dy++)
            for (int dx = -most; dx <= most; dx++) {
                bool fits = true;
                for (int y = 0; y < height && fits; y++)
                    for (int k = 0; k < width && fits; k++) {
                        const int from_y = y + dy, from_x = k + dx;
                        const bool inside = from_y >= 0 && from_y < height && from_x >= 0 && from_x < width;
                        fits = x[y * width + k] ==
                               (inside ? pixel_of(number, from_y, flip ? width - 1 - from_x : from_x) : 0);
                    }
                if (!fits) continue;
                explanations++;
                *found_dy = dy;
                *found_dx = dx;
                *found_flip = flip;
            }
    ck_assert_msg(explanations >= 1, "image %d is no moved image", number);
}

/* Moves seen over some epochs: all within `most`, all of them drawn, flips as often as not. */
static void moves(unsigned augment, int most, bool flips) {
    bool seen[9][9] = {{false}};
    int flipped = 0, total = 0;
    const float *x;
    const int32_t *labels;
    enter_data();
    fv_loader_settings s = settings(images);
    s.augment = augment;
    fv_loader *l = loader_of(&s);
    for (int e = 0; e < 40; e++) {
        next(l, &x, &labels);
        for (int i = 0; i < images; i++, total++) {
            int dy = 0, dx = 0;
            bool flip = false;
            find_move(x + i * size, most, &dy, &dx, &flip);
            ck_assert_int_eq(labels[i], number_of(x + i * size) % 5);
            if (dy <= 0) { /* the first row is still there: only then is the flip known */
                seen[dy + 4][dx + 4] = true;
                flipped += flip;
            }
        }
    }
    for (int dy = -most; dy <= 0; dy++)
        for (int dx = -most; dx <= most; dx++) ck_assert_msg(seen[dy + 4][dx + 4], "never moved by %d, %d", dy, dx);
    if (flips)
        ck_assert_msg(flipped > total / 2 * 2 / 5 && flipped < total * 3 / 5, "%d of %d flipped", flipped, total);
    else
        ck_assert_int_eq(flipped, 0);
    fv_loader_free(l);
    leave_data();
}

START_TEST(shifts) { moves(FV_AUGMENT_SHIFT, 2, false); }
END_TEST
START_TEST(flips) { moves(FV_AUGMENT_FLIP, 0, true); }
END_TEST
START_TEST(crops) { moves(FV_AUGMENT_CROP, 4, false); }
END_TEST
START_TEST(shifts_and_flips) { moves(FV_AUGMENT_SHIFT | FV_AUGMENT_FLIP, 2, true); }
END_TEST

/* The image, not its place in a batch, decides how it is moved; another epoch moves it differently. */
START_TEST(augmentation_follows_seed_epoch_and_image) {
    float first[images][size];
    int differ = 0;
    const float *x;
    const int32_t *labels;
    enter_data();
    fv_loader_settings s = settings(images);
    s.augment = FV_AUGMENT_SHIFT | FV_AUGMENT_FLIP;
    fv_loader *a = loader_of(&s);
    s.shuffle = false;
    s.batch = 4;
    fv_loader *b = loader_of(&s);
    next(a, &x, &labels);
    for (int i = 0; i < images; i++) memcpy(first[number_of(x + i * size)], x + i * size, sizeof first[0]);
    for (int i = 0; i < images;) {
        const int64_t n = next(b, &x, &labels);
        for (int64_t k = 0; k < n; k++, i++) ck_assert_mem_eq(x + k * size, first[i], sizeof first[0]);
    }
    next(a, &x, &labels);
    for (int i = 0; i < images; i++)
        differ += memcmp(first[number_of(x + i * size)], x + i * size, sizeof first[0]) != 0;
    ck_assert_int_gt(differ, images / 2);
    fv_loader_free(a);
    fv_loader_free(b);
    leave_data();
}
END_TEST

/* ---- life ---- */

START_TEST(freed_at_any_time) {
    const float *x;
    const int32_t *labels;
    enter_data();
    for (int i = 0; i < 300; i++) {
        fv_loader_settings s = settings(3);
        s.prefetch = 1 + i % 5;
        s.once = i & 1;
        fv_loader *l = loader_of(&s);
        for (int k = 0; k < i % 20; k++) next(l, &x, &labels);
        fv_loader_free(l);
    }
    fv_loader_free(NULL);
    leave_data();
}
END_TEST

START_TEST(a_loader_keeps_its_data) {
    const float *x;
    const int32_t *labels;
    enter_data();
    fv_loader_settings s = settings(3);
    s.prefetch = 2;
    fv_loader *l = loader_of(&s);
    fv_dataset_free(data);
    data = NULL;
    for (int i = 0; i < 30; i++) ck_assert_int_gt(next(l, &x, &labels), 0);
    fv_loader_free(l);
    leave_data();
}
END_TEST

START_TEST(next_allocates_nothing) {
    const float *x;
    const int32_t *labels;
    enter_data();
    for (int ahead = 0; ahead < 4; ahead++) {
        fv_loader_settings s = settings(8);
        s.prefetch = ahead;
        s.augment = FV_AUGMENT_SHIFT;
        s.noise = 1;
        fv_loader *l = loader_of(&s);
        const long calls = atomic_load(&memory.calls);
        for (int i = 0; i < 50; i++) next(l, &x, &labels);
        ck_assert_int_eq(atomic_load(&memory.calls), calls);
        fv_loader_free(l);
    }
    leave_data();
}
END_TEST

static fv_status create_and_free(void) {
    fv_loader_settings s = settings(8);
    fv_loader *l;
    s.prefetch = 2;
    s.noise = 1;
    const fv_status status = fv_loader_create(data, &s, &l);
    if (status == FV_OK) fv_loader_free(l);
    return status;
}

START_TEST(memory_runs_out) {
    enter_data();
    every_allocation_may_fail(create_and_free);
    leave_data();
}
END_TEST

START_TEST(a_thread_that_cannot_start) {
    enter_data();
    refuse_threads = true;
    fails(create_and_free(), FV_ERR_THREAD, "cannot start the thread");
    refuse_threads = false;
    ok(create_and_free());
    leave_data();
}
END_TEST

START_TEST(a_forked_child_is_told) {
    fv_tensor x, labels;
    enter_data();
    fv_loader_settings s = settings(8);
    s.prefetch = 2;
    fv_loader *l = loader_of(&s);
    ok(fv_loader_next(l, &x, &labels));
    const pid_t child = fork();
    if (child == 0) {
        const bool told = fv_loader_next(l, &x, &labels) == FV_ERR_STATE;
        fv_loader_free(l);
        _exit(told ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ok(fv_loader_next(l, &x, &labels));
    fv_loader_free(l);
    leave_data();
}
END_TEST

START_TEST(misuse) {
    fv_loader *l = NULL;
    fv_tensor x;
    enter_data();
    fv_loader_settings s = settings(0);
    fails(fv_loader_create(data, &s, &l), FV_ERR_ARGUMENT, "0 images");
    s = settings(-1);
    fails(fv_loader_create(data, &s, &l), FV_ERR_ARGUMENT, "-1 images");
    s = settings(1);
    s.start_step = -1;
    fails(fv_loader_create(data, &s, &l), FV_ERR_ARGUMENT, "-1");
    s = settings(1);
    s.prefetch = -1;
    fails(fv_loader_create(data, &s, &l), FV_ERR_ARGUMENT, "-1 batches");
    s = settings(1);
    s.augment = 64;
    fails(fv_loader_create(data, &s, &l), FV_ERR_ARGUMENT, "0x40");
    s = settings(1);
    s.noise = -1;
    fails(fv_loader_create(data, &s, &l), FV_ERR_ARGUMENT, "noise");
    s.noise = NAN;
    fails(fv_loader_create(data, &s, &l), FV_ERR_ARGUMENT, "noise");
    fails(fv_loader_create(NULL, NULL, &l), FV_ERR_ARGUMENT, "needs");
    fails(fv_loader_next(NULL, &x, &x), FV_ERR_ARGUMENT, "needs");
    ck_assert_ptr_null(l);
    ck_assert_int_eq(fv_loader_steps_per_epoch(NULL), 0);
    leave_data();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {in_order_without_shuffling,
                                  orders_follow_seed_and_epoch,
                                  the_same_bits_with_a_thread_and_from_any_step,
                                  noise_is_added_to_a_clean_image,
                                  clean_images_without_noise_are_the_images,
                                  a_batch_larger_than_the_set,
                                  shifts,
                                  flips,
                                  crops,
                                  shifts_and_flips,
                                  augmentation_follows_seed_epoch_and_image,
                                  freed_at_any_time,
                                  a_loader_keeps_its_data,
                                  next_allocates_nothing,
                                  memory_runs_out,
                                  a_thread_that_cannot_start,
                                  a_forked_child_is_told,
                                  misuse,
                                  NULL};
    return run_tests("loader", tests, 120);
}

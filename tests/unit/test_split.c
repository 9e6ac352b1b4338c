/* fv_dataset_split and fv_dataset_moments by value. */
#include "files.h"

#include <math.h>

enum { images = 20, size = 6 };

/* A folder of PNG images: image i has channels (i, 10 i + p, 7) at pixel p; class i % 2. */
static fv_dataset *colors(void) {
    fv_dataset *d = NULL;
    char name[64], spec[128];
    make_folder("a");
    make_folder("b");
    for (int i = 0; i < images; i++) {
        uint8_t pixels[size * 3];
        for (int p = 0; p < size; p++) {
            pixels[3 * p] = (uint8_t)i;
            pixels[3 * p + 1] = (uint8_t)(10 * i + p);
            pixels[3 * p + 2] = 7;
        }
        const fv_image image = {.height = 2, .width = 3, .channels = 3, .pixels = pixels};
        snprintf(name, sizeof name, "%c/%02d.png", i % 2 ? 'b' : 'a', i);
        ok(fv_image_write_png(context, at(name), &image));
    }
    snprintf(spec, sizeof spec, "folder:%s", folder);
    ok(fv_dataset_open(context, spec, NULL, &d));
    return d;
}

static int number_of(const fv_dataset *d, int64_t i) {
    const uint8_t *pixels;
    int32_t label;
    ok(fv_dataset_item(d, i, &pixels, &label));
    ck_assert_int_eq(label, pixels[0] % 2);
    for (int p = 0; p < size; p++) ck_assert_int_eq(pixels[3 * p + 1], 10 * pixels[0] + p);
    return pixels[0];
}

START_TEST(parts_are_disjoint_and_drawn_by_seed) {
    enter();
    fv_dataset *d = colors(), *rest = NULL, *part = NULL;
    int first[images] = {0}, same = 0;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        bool seen[images] = {false};
        fv_dataset_info a, b;
        ok(fv_dataset_split(d, 0.3, seed, &rest, &part));
        ok(fv_dataset_get_info(rest, &a));
        ok(fv_dataset_get_info(part, &b));
        ck_assert_int_eq(a.count, 14);
        ck_assert_int_eq(b.count, 6);
        ck_assert_int_eq(b.classes, 2);
        ck_assert_str_eq(fv_dataset_class_name(part, 1), "b");
        for (int64_t i = 0; i < images; i++) {
            const int n = i < 14 ? number_of(rest, i) : number_of(part, i - 14);
            ck_assert(!seen[n]);
            seen[n] = true;
            if (i >= 14 && seed == 1) first[n] = 1;
            if (i >= 14 && seed == 2) same += first[n];
        }
        fv_dataset_free(rest);
        fv_dataset_free(part);
    }
    ck_assert_int_lt(same, 6);
    ok(fv_dataset_split(d, 0.3, 1, &rest, &part)); /* the seed alone decides */
    for (int64_t i = 0; i < 6; i++) ck_assert_int_eq(first[number_of(part, i)], 1);
    fv_dataset_free(d); /* parts live on their own */
    ck_assert_int_eq(number_of(rest, 0) >= 0, 1);
    fv_dataset_free(rest);
    fv_dataset_free(part);
    leave();
}
END_TEST

START_TEST(empty_parts_are_refused) {
    enter();
    fv_dataset *d = colors(), *rest = NULL, *part = NULL;
    fails(fv_dataset_split(d, 0, 1, &rest, &part), FV_ERR_ARGUMENT, "between 0 and 1");
    fails(fv_dataset_split(d, NAN, 1, &rest, &part), FV_ERR_ARGUMENT, "between 0 and 1");
    fails(fv_dataset_split(d, 0.01, 1, &rest, &part), FV_ERR_ARGUMENT, "empty");
    fails(fv_dataset_split(d, 0.99, 1, &rest, &part), FV_ERR_ARGUMENT, "empty");
    fails(fv_dataset_split(NULL, 0.5, 1, &rest, &part), FV_ERR_ARGUMENT, "data set");
    ck_assert_ptr_null(rest);
    fv_dataset_free(d);
    leave();
}
END_TEST

START_TEST(moments_of_each_channel) {
    enter();
    fv_dataset *d = colors();
    float mean[3], deviation[3];
    double sum = 0, squares = 0;
    for (int i = 0; i < images; i++)
        for (int p = 0; p < size; p++) {
            sum += (10 * i + p) / 255.0;
            squares += (10 * i + p) / 255.0 * (10 * i + p) / 255.0;
        }
    const double m = sum / (images * size), s = sqrt(squares / (images * size) - m * m);
    ok(fv_dataset_moments(d, mean, deviation));
    ck_assert_float_eq_tol(mean[0], 9.5 / 255, 1e-7);
    ck_assert_float_eq_tol(deviation[0], sqrt((images * images - 1) / 12.0) / 255, 1e-7);
    ck_assert_float_eq_tol(mean[1], m, 1e-6);
    ck_assert_float_eq_tol(deviation[1], s, 1e-6);
    ck_assert_float_eq_tol(mean[2], 7.0 / 255, 1e-7);
    ck_assert_float_eq(deviation[2], 1); /* constant */
    fails(fv_dataset_moments(d, NULL, deviation), FV_ERR_ARGUMENT, "places");
    fv_dataset_free(d);
    leave();
}
END_TEST

static fv_dataset *whole;
static fv_status split_it(void) {
    fv_dataset *rest, *part;
    const fv_status status = fv_dataset_split(whole, 0.5, 3, &rest, &part);
    if (status != FV_OK) return status;
    fv_dataset_free(rest);
    fv_dataset_free(part);
    return status;
}

START_TEST(splitting_survives_refused_memory) {
    enter();
    whole = colors();
    const long kept = atomic_load(&memory.blocks);
    fv_status status = FV_ERR_MEMORY;
    for (long n = 1; status != FV_OK; n++) {
        atomic_store(&memory.calls, 0);
        memory.fail_at = n;
        status = split_it();
        memory.fail_at = 0;
        if (status != FV_OK) ck_assert_int_eq(status, FV_ERR_MEMORY);
        ck_assert_int_eq(atomic_load(&memory.blocks), kept);
        ck_assert_int_lt(n, 100);
    }
    fv_dataset_free(whole);
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {parts_are_disjoint_and_drawn_by_seed, empty_parts_are_refused,
                                  moments_of_each_channel, splitting_survives_refused_memory, NULL};
    return run_tests("split", tests, 60);
}

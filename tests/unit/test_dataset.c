/* fv_dataset_*: IDX plain and packed, CIFAR-10, folders of images; what is wrong with a file is said with its name. */
#include "files.h"

#include <zlib.h>

static void big_endian(uint8_t *to, uint32_t v) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put_gz(const char *name, const uint8_t *bytes, size_t count) {
    gzFile f = gzopen(at(name), "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(gzwrite(f, bytes, (unsigned)count), (int)count);
    ck_assert_int_eq(gzclose(f), Z_OK);
}

static void put_either(bool packed, const char *name, const uint8_t *bytes, size_t count) {
    if (packed)
        put_gz(name, bytes, count);
    else
        put(name, bytes, count);
}

enum { idx_images = 5, idx_h = 3, idx_w = 4, idx_bytes = idx_images * idx_h * idx_w };

/* Images of bytes 0, 1, 2, ...; sizes as claimed, elements as many as given. */
static size_t make_images(uint8_t *to, uint32_t n, uint32_t h, uint32_t w, size_t elements) {
    big_endian(to, 0x803);
    big_endian(to + 4, n);
    big_endian(to + 8, h);
    big_endian(to + 12, w);
    for (size_t i = 0; i < elements; i++) to[16 + i] = (uint8_t)i;
    return 16 + elements;
}

/* Labels 0, 1, 2, 0, 1, ... */
static size_t make_labels(uint8_t *to, uint32_t n, size_t elements) {
    big_endian(to, 0x801);
    big_endian(to + 4, n);
    for (size_t i = 0; i < elements; i++) to[8 + i] = (uint8_t)(i % 3);
    return 8 + elements;
}

static const char *spec_of(const char *kind) {
    static char spec[128];
    snprintf(spec, sizeof spec, "%s:%s", kind, folder);
    return spec;
}

static void put_idx(const char *split, const char *images, const char *labels, bool packed) {
    uint8_t bytes[16 + idx_bytes];
    char name[64];
    snprintf(name, sizeof name, "%s-%s%s", split, images, packed ? ".gz" : "");
    put_either(packed, name, bytes, make_images(bytes, idx_images, idx_h, idx_w, idx_bytes));
    snprintf(name, sizeof name, "%s-%s%s", split, labels, packed ? ".gz" : "");
    put_either(packed, name, bytes, make_labels(bytes, idx_images, idx_images));
}

static void is_the_idx_set(const fv_dataset *d, int64_t count, int32_t classes) {
    fv_dataset_info info;
    ok(fv_dataset_get_info(d, &info));
    ck_assert_int_eq(info.count, count);
    ck_assert_int_eq(info.channels, 1);
    ck_assert_int_eq(info.height, idx_h);
    ck_assert_int_eq(info.width, idx_w);
    ck_assert_int_eq(info.classes, classes);
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *pixels;
        int32_t label;
        ok(fv_dataset_item(d, i, &pixels, &label));
        ck_assert_int_eq(label, i % 3);
        for (int k = 0; k < idx_h * idx_w; k++) ck_assert_int_eq(pixels[k], (uint8_t)(i * idx_h * idx_w + k));
    }
}

static fv_status try_open(const char *spec, const fv_dataset_settings *s) {
    fv_dataset *d = NULL;
    const fv_status status = fv_dataset_open(context, spec, s, &d);
    ck_assert((status == FV_OK) == (d != NULL));
    fv_dataset_free(d);
    return status;
}

static fv_status open_idx(void) { return try_open(spec_of("idx"), NULL); }

START_TEST(idx_in_every_spelling) {
    static const char *const images[] = {"images-idx3-ubyte", "images.idx3-ubyte"}, *const labels[] = {
                                                                                        "labels-idx1-ubyte",
                                                                                        "labels.idx1-ubyte"};
    for (int k = 0; k < 8; k++) {
        fv_dataset *d;
        fv_dataset_settings s;
        fv_dataset_settings_default(&s);
        s.test = k & 4;
        enter();
        put_idx(s.test ? "t10k" : "train", images[k & 1], labels[k & 1], k & 2);
        ok(fv_dataset_open(context, spec_of("idx"), &s, &d));
        is_the_idx_set(d, idx_images, 3);
        ck_assert_str_eq(fv_dataset_class_name(d, 2), "2");
        ck_assert_ptr_null(fv_dataset_class_name(d, 3));
        ck_assert_ptr_null(fv_dataset_class_name(d, -1));
        fails(fv_dataset_item(d, idx_images, NULL, NULL), FV_ERR_ARGUMENT, "image 5");
        fails(fv_dataset_item(d, -1, NULL, NULL), FV_ERR_ARGUMENT, "image -1");
        fv_dataset_free(d);
        s.test = !s.test;
        fails(try_open(spec_of("idx"), &s), FV_ERR_NOT_FOUND, s.test ? "t10k-images" : "train-images");
        leave();
    }
}
END_TEST

START_TEST(a_limit_cuts_images_not_classes) {
    fv_dataset *d;
    fv_dataset_settings s;
    enter();
    for (int packed = 0; packed < 2; packed++) {
        put_idx("train", "images-idx3-ubyte", "labels-idx1-ubyte", packed);
        fv_dataset_settings_default(&s);
        s.limit = 2;
        ok(fv_dataset_open(context, spec_of("idx"), &s, &d));
        is_the_idx_set(d, 2, 3);
        fv_dataset_free(d);
        s.limit = 1000;
        ok(fv_dataset_open(context, spec_of("idx"), &s, &d));
        is_the_idx_set(d, idx_images, 3);
        fv_dataset_free(d);
        s.limit = -1;
        fails(try_open(spec_of("idx"), &s), FV_ERR_ARGUMENT, "-1");
    }
    leave();
}
END_TEST

START_TEST(class_names_from_a_file) {
    fv_dataset *d;
    enter();
    put_idx("train", "images-idx3-ubyte", "labels-idx1-ubyte", false);
    put("classes.txt", "cat\r\na dog\nbird\nfish\n\n", 22);
    ok(fv_dataset_open(context, spec_of("idx"), NULL, &d));
    is_the_idx_set(d, idx_images, 4);
    ck_assert_str_eq(fv_dataset_class_name(d, 0), "cat");
    ck_assert_str_eq(fv_dataset_class_name(d, 1), "a dog");
    ck_assert_str_eq(fv_dataset_class_name(d, 3), "fish");
    fv_dataset_free(d);
    put("classes.txt", "cat\ndog", 7);
    fails(open_idx(), FV_ERR_FORMAT, "train-labels-idx1-ubyte: label 2 is 2, but there are 2 classes");
    put("classes.txt", "", 0);
    fails(open_idx(), FV_ERR_FORMAT, "classes.txt");
    put("classes.txt", "a\0b\nc\nd", 7);
    fails(open_idx(), FV_ERR_FORMAT, "classes.txt");
    leave();
}
END_TEST

START_TEST(every_prefix_of_idx_files) {
    enter();
    put_idx("train", "images-idx3-ubyte", "labels-idx1-ubyte", false);
    every_prefix_fails("train-images-idx3-ubyte", open_idx);
    every_prefix_fails("train-labels-idx1-ubyte", open_idx);
    every_allocation_may_fail(open_idx);
    leave();
    enter();
    put_idx("train", "images-idx3-ubyte", "labels-idx1-ubyte", true);
    every_prefix_fails("train-images-idx3-ubyte.gz", open_idx);
    every_prefix_fails("train-labels-idx1-ubyte.gz", open_idx);
    every_allocation_may_fail(open_idx);
    leave();
}
END_TEST

/* Headers that claim too much fail before the claim is allocated. */
static void claims(uint32_t n, uint32_t h, uint32_t w, fv_status status, const char *part) {
    uint8_t bytes[16 + idx_bytes];
    for (int packed = 0; packed < 2; packed++) {
        put_either(packed, "train-images-idx3-ubyte", bytes, make_images(bytes, n, h, w, idx_bytes));
        fails(open_idx(), status, part);
        ck_assert_ptr_nonnull(strstr(fv_last_error(), "train-images-idx3-ubyte"));
    }
    ck_assert_uint_lt(memory.largest, 1 << 20);
}

START_TEST(idx_headers_that_lie) {
    uint8_t bytes[16 + idx_bytes + 1];
    enter();
    put_idx("train", "images-idx3-ubyte", "labels-idx1-ubyte", false);
    claims(idx_images, idx_h, idx_w - 1, FV_ERR_FORMAT, "longer");
    claims(idx_images + 1, idx_h, idx_w, FV_ERR_FORMAT, "truncated");
    claims(UINT32_MAX, idx_h, idx_w, FV_ERR_FORMAT, "truncated");
    claims(UINT32_MAX, UINT32_MAX, UINT32_MAX, FV_ERR_LIMIT, "more bytes than fit");
    claims(0, idx_h, idx_w, FV_ERR_FORMAT, "no image");
    claims(1, 0, 4, FV_ERR_FORMAT, "0x4");
    claims(0x80000000u, 0, 0, FV_ERR_FORMAT, "0x0");
    make_images(bytes, idx_images, idx_h, idx_w, idx_bytes);
    bytes[3] = 1;
    put("train-images-idx3-ubyte", bytes, sizeof bytes);
    fails(open_idx(), FV_ERR_FORMAT, "train-images-idx3-ubyte is not an IDX file of images: it begins with 00000801");
    put("train-images-idx3-ubyte", bytes, make_images(bytes, idx_images, idx_h, idx_w, idx_bytes));
    put("train-labels-idx1-ubyte", bytes, make_labels(bytes, idx_images - 1, idx_images - 1));
    fails(open_idx(), FV_ERR_FORMAT, "4 labels for 5 images");
    leave();
}
END_TEST

START_TEST(damaged_gzip) {
    size_t count;
    enter();
    put_idx("train", "images-idx3-ubyte", "labels-idx1-ubyte", true);
    uint8_t *bytes = get("train-images-idx3-ubyte.gz", &count);
    bytes[count - 6] ^= 1; /* the check sum */
    put("train-images-idx3-ubyte.gz", bytes, count);
    fails(open_idx(), FV_ERR_FORMAT, "train-images-idx3-ubyte.gz is damaged");
    bytes[count - 6] ^= 1;
    bytes[count] = 'x'; /* get leaves room for one more */
    put("train-images-idx3-ubyte.gz", bytes, count + 1);
    ck_assert_int_ne(open_idx(), FV_OK);
    free(bytes);
    leave();
}
END_TEST

/* gzip files may be put one after the other. */
START_TEST(gzip_in_two_members) {
    uint8_t whole[16 + idx_bytes], both[512];
    size_t first, second;
    enter();
    put_idx("train", "images-idx3-ubyte", "labels-idx1-ubyte", true);
    const size_t count = make_images(whole, idx_images, idx_h, idx_w, idx_bytes);
    put_gz("a", whole, 30);
    put_gz("b", whole + 30, count - 30);
    uint8_t *a = get("a", &first), *b = get("b", &second);
    ck_assert_uint_lt(first + second, sizeof both);
    memcpy(both, a, first);
    memcpy(both + first, b, second);
    put("train-images-idx3-ubyte.gz", both, first + second);
    ok(open_idx());
    free(a);
    free(b);
    leave();
}
END_TEST

START_TEST(fashion_mnist_from_a_folder_of_ones_own) {
    fv_dataset *d;
    enter();
    put_idx("train", "images-idx3-ubyte", "labels-idx1-ubyte", true);
    setenv("FOVEA_DATA", folder, 1);
    ok(fv_dataset_open(context, "fashion-mnist", NULL, &d));
    is_the_idx_set(d, idx_images, 10);
    ck_assert_str_eq(fv_dataset_class_name(d, 0), "T-shirt/top");
    ck_assert_str_eq(fv_dataset_class_name(d, 9), "Ankle boot");
    fv_dataset_free(d);
    setenv("FOVEA_DATA", "/nosuch", 1);
    fails(try_open("fashion-mnist", NULL), FV_ERR_NOT_FOUND, "FOVEA_DATA: cannot read /nosuch");
    leave();
}
END_TEST

START_TEST(the_sample_is_balanced) {
    enter();
    for (int test = 0; test < 2; test++) {
        const fv_dataset_settings s = {.test = test};
        fv_dataset *d;
        fv_dataset_info info;
        int64_t seen[10] = {0};
        ok(fv_dataset_open(context, "idx:data/fashion-mnist-sample", &s, &d));
        ok(fv_dataset_get_info(d, &info));
        ck_assert_int_eq(info.classes, 10);
        ck_assert_int_eq(info.count, test ? 500 : 1500);
        for (int64_t i = 0; i < info.count; i++) {
            int32_t label;
            ok(fv_dataset_item(d, i, NULL, &label));
            seen[label]++;
        }
        for (int k = 0; k < 10; k++) ck_assert_int_eq(seen[k], info.count / 10);
        ck_assert_str_eq(fv_dataset_class_name(d, 8), "Bag");
        fv_dataset_free(d);
    }
    leave();
}
END_TEST

/* ---- CIFAR-10 ---- */

static void put_cifar(const char *name, int records, int label) {
    uint8_t *bytes = malloc((size_t)records * 3073);
    ck_assert_ptr_nonnull(bytes);
    for (int r = 0; r < records; r++) {
        bytes[r * 3073] = (uint8_t)label;
        for (int i = 0; i < 3072; i++) bytes[r * 3073 + 1 + i] = (uint8_t)(i / 1024 * 80 + i % 7 + r);
    }
    put(name, bytes, (size_t)records * 3073);
    free(bytes);
}

static void put_cifar_all(void) {
    for (int i = 1; i <= 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        put_cifar(name, i, i);
    }
    put_cifar("test_batch.bin", 1, 9);
}

static fv_status open_cifar(void) { return try_open(spec_of("cifar10"), NULL); }

START_TEST(cifar10) {
    fv_dataset *d;
    fv_dataset_info info;
    const uint8_t *pixels;
    int32_t label;
    enter();
    put_cifar_all();
    ok(fv_dataset_open(context, spec_of("cifar10"), NULL, &d));
    ok(fv_dataset_get_info(d, &info));
    ck_assert_int_eq(info.count, 15);
    ck_assert(info.channels == 3 && info.height == 32 && info.width == 32 && info.classes == 10);
    ok(fv_dataset_item(d, 14, &pixels, &label)); /* the fifth of the fifth file: planes become channels */
    ck_assert_int_eq(label, 5);
    for (int i = 0; i < 1024; i++)
        for (int c = 0; c < 3; c++) ck_assert_int_eq(pixels[3 * i + c], c * 80 + (c * 1024 + i) % 7 + 4);
    fv_dataset_free(d);
    static const char names[] = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
    put("batches.meta.txt", names, sizeof names - 1);
    ok(fv_dataset_open(context, spec_of("cifar10"), &(fv_dataset_settings){.test = true}, &d));
    ok(fv_dataset_item(d, 0, NULL, &label));
    ck_assert_str_eq(fv_dataset_class_name(d, label), "truck");
    fv_dataset_free(d);
    ok(fv_dataset_open(context, spec_of("cifar10"), &(fv_dataset_settings){.limit = 4}, &d));
    ok(fv_dataset_get_info(d, &info));
    ck_assert_int_eq(info.count, 4);
    fv_dataset_free(d);
    every_allocation_may_fail(open_cifar);
    leave();
}
END_TEST

START_TEST(cifar10_mistakes) {
    enter();
    put_cifar_all();
    put_cifar("data_batch_3.bin", 2, 10);
    fails(open_cifar(), FV_ERR_FORMAT, "data_batch_3.bin: the label of image 0 is 10");
    put("data_batch_3.bin", "short", 5);
    fails(open_cifar(), FV_ERR_FORMAT, "data_batch_3.bin has 5 bytes");
    put("data_batch_3.bin", "", 0);
    fails(open_cifar(), FV_ERR_FORMAT, "data_batch_3.bin has 0 bytes");
    unlink(at("data_batch_3.bin"));
    fails(open_cifar(), FV_ERR_NOT_FOUND, "data_batch_3.bin");
    put("batches.meta.txt", "one\ntwo\n", 8);
    fails(open_cifar(), FV_ERR_FORMAT, "2 classes");
    leave();
}
END_TEST

/* ---- folders ---- */

static void put_image(const char *name, int height, int width, int channels, int value) {
    uint8_t pixels[3 * 64];
    memset(pixels, value, sizeof pixels);
    const fv_image i = {.height = height, .width = width, .channels = channels, .pixels = pixels};
    ok(fv_image_write_png(context, at(name), &i));
}

static void has_image(const fv_dataset *d, int64_t i, int32_t wanted_label, int value) {
    const uint8_t *pixels;
    int32_t label;
    fv_dataset_info info;
    ok(fv_dataset_get_info(d, &info));
    ok(fv_dataset_item(d, i, &pixels, &label));
    ck_assert_int_eq(label, wanted_label);
    for (int k = 0; k < info.height * info.width * info.channels; k++) ck_assert_int_eq(pixels[k], value);
}

static fv_status open_folder(void) { return try_open(spec_of("folder"), NULL); }

START_TEST(a_folder_of_classes) {
    fv_dataset *d;
    fv_dataset_info info;
    enter();
    make_folder("zebra");
    make_folder("ant");
    make_folder(".hidden");
    put_image("zebra/1.png", 2, 2, 1, 50);
    put_image("ant/b.png", 4, 6, 1, 20);
    put_image("ant/a.png", 3, 5, 1, 10);
    put("ant/.note", "x", 1);
    put("ant/Thumbs.db", "not an image", 12);
    put("readme.txt", "x", 1);
    for (int test = 0; test < 2; test++) { /* one folder for both splits */
        ok(fv_dataset_open(context, spec_of("folder"), &(fv_dataset_settings){.test = test}, &d));
        ok(fv_dataset_get_info(d, &info));
        ck_assert_int_eq(info.count, 3);
        ck_assert(info.channels == 1 && info.height == 3 && info.width == 5 && info.classes == 2);
        ck_assert_str_eq(fv_dataset_class_name(d, 0), "ant");
        ck_assert_str_eq(fv_dataset_class_name(d, 1), "zebra");
        has_image(d, 0, 0, 10);
        has_image(d, 1, 0, 20);
        has_image(d, 2, 1, 50);
        fv_dataset_free(d);
    }
    put_image("zebra/2.png", 2, 2, 3, 60); /* one in colour: all become RGB */
    ok(fv_dataset_open(context, spec_of("folder"), &(fv_dataset_settings){.height = 8, .width = 7}, &d));
    ok(fv_dataset_get_info(d, &info));
    ck_assert(info.count == 4 && info.channels == 3 && info.height == 8 && info.width == 7);
    has_image(d, 0, 0, 10);
    has_image(d, 3, 1, 60);
    fv_dataset_free(d);
    every_allocation_may_fail(open_folder);
    leave();
}
END_TEST

START_TEST(folders_for_training_and_test) {
    fv_dataset *d;
    fv_dataset_info info;
    enter();
    static const char *const folders[] = {"train", "test", "train/a", "train/b", "train/c", "test/c"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) make_folder(folders[i]);
    put_image("train/a/1.png", 3, 3, 3, 1);
    put_image("train/b/1.png", 3, 3, 1, 2);
    put_image("test/c/1.png", 5, 5, 1, 3); /* takes its number, size and channels from the training images */
    ok(fv_dataset_open(context, spec_of("folder"), &(fv_dataset_settings){.test = true}, &d));
    ok(fv_dataset_get_info(d, &info));
    ck_assert(info.count == 1 && info.channels == 3 && info.height == 3 && info.width == 3 && info.classes == 3);
    has_image(d, 0, 2, 3);
    fv_dataset_free(d);
    make_folder("test/d");
    ok(open_folder());
    fails(try_open(spec_of("folder"), &(fv_dataset_settings){.test = true}), FV_ERR_FORMAT, "class \"d\"");
    leave();
}
END_TEST

START_TEST(folder_mistakes) {
    enter();
    fails(open_folder(), FV_ERR_FORMAT, "no folders");
    make_folder("a");
    fails(open_folder(), FV_ERR_FORMAT, "no PNG or JPEG");
    put("a/x.png", "\x89PNG\r\n\x1a\n", 8);
    fails(open_folder(), FV_ERR_FORMAT, "a/x.png");
    put_image("a/x.png", 2, 2, 1, 3);
    ok(open_folder());
    fails(try_open(spec_of("folder"), &(fv_dataset_settings){.height = 5}), FV_ERR_ARGUMENT, "5x0");
    fails(try_open(spec_of("folder"), &(fv_dataset_settings){.height = 99999, .width = 1}), FV_ERR_ARGUMENT, "99999x1");
    leave();
}
END_TEST

START_TEST(specs) {
    fv_dataset *d;
    enter();
    fails(try_open("nosuch:/x", NULL), FV_ERR_NOT_FOUND, "nosuch:/x");
    fails(try_open("", NULL), FV_ERR_NOT_FOUND, "unknown data");
    fails(try_open("idx", NULL), FV_ERR_ARGUMENT, "idx:DIR");
    fails(try_open("idx:", NULL), FV_ERR_ARGUMENT, "idx:DIR");
    fails(try_open("fashion-mnist:x", NULL), FV_ERR_ARGUMENT, "takes no folder");
    fails(try_open("idx:/nosuch", NULL), FV_ERR_NOT_FOUND, "/nosuch");
    fails(try_open("folder:/nosuch", NULL), FV_ERR_NOT_FOUND, "/nosuch");
    fails(try_open("cifar10:/dev/null", NULL), FV_ERR_NOT_FOUND, "not a folder");
    fails(fv_dataset_open(NULL, "idx:x", NULL, &d), FV_ERR_ARGUMENT, "needs");
    fails(fv_dataset_open(context, NULL, NULL, &d), FV_ERR_ARGUMENT, "needs");
    fails(fv_dataset_get_info(NULL, NULL), FV_ERR_ARGUMENT, "needs");
    fails(fv_dataset_item(NULL, 0, NULL, NULL), FV_ERR_ARGUMENT, "needs");
    ck_assert_ptr_null(fv_dataset_class_name(NULL, 0));
    fv_dataset_free(NULL);
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {idx_in_every_spelling,
                                  a_limit_cuts_images_not_classes,
                                  class_names_from_a_file,
                                  every_prefix_of_idx_files,
                                  idx_headers_that_lie,
                                  damaged_gzip,
                                  gzip_in_two_members,
                                  fashion_mnist_from_a_folder_of_ones_own,
                                  the_sample_is_balanced,
                                  cifar10,
                                  cifar10_mistakes,
                                  a_folder_of_classes,
                                  folders_for_training_and_test,
                                  folder_mistakes,
                                  specs,
                                  NULL};
    return run_tests("dataset", tests, 120);
}

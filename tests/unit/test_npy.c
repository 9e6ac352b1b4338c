/* fv_npy_*: what numpy writes, what is refused, damaged files. */
#include "files.h"

/* A file of version 1 with this dictionary and so many bytes of elements (0, 1, 2, ...). */
static void put_npy(const char *name, const char *dictionary, size_t elements) {
    uint8_t bytes[4096];
    const size_t length = strlen(dictionary);
    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    bytes[8] = (uint8_t)length;
    bytes[9] = (uint8_t)(length >> 8);
    memcpy(bytes + 10, dictionary, length);
    for (size_t i = 0; i < elements; i++) bytes[10 + length + i] = (uint8_t)i;
    put(name, bytes, 10 + length + elements);
}

static void refused(const char *dictionary, size_t elements, fv_status status, const char *part) {
    fv_tensor t = {.rank = 77};
    put_npy("x.npy", dictionary, elements);
    fails(fv_npy_read(context, at("x.npy"), &t), status, part);
    ck_assert_ptr_nonnull(strstr(fv_last_error(), "x.npy"));
    ck_assert_int_eq(t.rank, 77);
}

START_TEST(every_type_and_rank_comes_back) {
    static const fv_dtype types[] = {FV_F32, FV_F64, FV_F16, FV_BOOL, FV_I8, FV_U8, FV_I16, FV_U16, FV_I32, FV_U32, FV_I64, FV_U64};
    const size_t type_count = sizeof types / sizeof *types;
    uint8_t data[8 * 24];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 37);
    enter();
    for (int32_t rank = 0; rank <= FV_MAX_RANK; rank++)
        for (size_t k = 0; k < type_count; k++) {
            fv_tensor t = {.dtype = types[k], .rank = rank, .data = data}, back;
            for (int32_t i = 0; i < rank; i++) t.shape[i] = i == 0 ? 4 : i == 1 ? 3 : i == 2 ? 2 : 1;
            size_t count, bytes;
            ok(fv_tensor_count(&t, &count));
            ok(fv_npy_write(context, at("x.npy"), &t));
            ok(fv_npy_read(context, at("x.npy"), &back));
            ck_assert_int_eq(back.dtype, types[k]);
            ck_assert_int_eq(back.layout, FV_PLAIN);
            ck_assert_int_eq(back.rank, rank);
            ck_assert_mem_eq(back.shape, t.shape, (size_t)rank * sizeof *t.shape);
            ck_assert_mem_eq(back.data, data, count * fv_dtype_bytes(types[k]));
            fv_npy_free(context, &back);
            free(get("x.npy", &bytes));
            ck_assert_uint_eq((bytes - count * fv_dtype_bytes(types[k])) % 64, 0);
        }
    leave();
}
END_TEST

START_TEST(no_elements) {
    const fv_tensor t = {.dtype = FV_F32, .rank = 2, .shape = {0, 5}};
    fv_tensor back;
    enter();
    ok(fv_npy_write(context, at("x.npy"), &t));
    ok(fv_npy_read(context, at("x.npy"), &back));
    ck_assert_int_eq(back.shape[0], 0);
    ck_assert_int_eq(back.shape[1], 5);
    fv_npy_free(context, &back);
    fv_npy_free(context, &back);
    fv_npy_free(context, NULL);
    leave();
}
END_TEST

START_TEST(the_bytes_numpy_writes) {
    const int32_t values[6] = {1, -2, 3, 4, 5, 6};
    const fv_tensor t = {.dtype = FV_I32, .rank = 2, .shape = {2, 3}, .data = (void *)(uintptr_t)values};
    size_t count;
    enter();
    ok(fv_npy_write(context, at("x.npy"), &t));
    uint8_t *bytes = get("x.npy", &count);
    ck_assert_uint_eq(count, 128 + 24);
    ck_assert_mem_eq(bytes, "\x93NUMPY\x01\x00\x76\x00{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }  ",
                     70);
    ck_assert_int_eq(bytes[127], '\n');
    ck_assert_mem_eq(bytes + 128, values, sizeof values);
    free(bytes);
    leave();
}
END_TEST

START_TEST(other_spellings_and_versions) {
    static const char dictionary[] = "{\"shape\":(2,),'fortran_order':False ,  \"descr\" : '|u1'}";
    fv_tensor t;
    enter();
    put_npy("x.npy", dictionary, 2);
    ok(fv_npy_read(context, at("x.npy"), &t));
    ck_assert_int_eq(t.rank, 1);
    ck_assert_int_eq(((uint8_t *)t.data)[1], 1);
    fv_npy_free(context, &t);
    for (int version = 2; version <= 3; version++) {
        uint8_t bytes[256] = "\x93NUMPY";
        bytes[6] = (uint8_t)version;
        bytes[8] = sizeof dictionary - 1;
        memcpy(bytes + 12, dictionary, sizeof dictionary - 1);
        bytes[12 + sizeof dictionary - 1] = 9;
        put("x.npy", bytes, 12 + sizeof dictionary - 1 + 2);
        ok(fv_npy_read(context, at("x.npy"), &t));
        ck_assert_int_eq(((uint8_t *)t.data)[0], 9);
        fv_npy_free(context, &t);
    }
    leave();
}
END_TEST

START_TEST(refusals_name_the_reason) {
    enter();
    refused("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8, FV_ERR_UNSUPPORTED, "big-endian");
    refused("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 8, FV_ERR_UNSUPPORTED, "objects");
    refused("{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }", 16, FV_ERR_UNSUPPORTED, "<c8");
    refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8, FV_ERR_UNSUPPORTED, "type");
    refused("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }", 8, FV_ERR_UNSUPPORTED, "Fortran");
    refused("{'descr': '<f4', 'fortran_order': 0, 'shape': (1, 2), }", 8, FV_ERR_FORMAT, "fortran_order");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 8, FV_ERR_FORMAT, "truncated");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 8, FV_ERR_FORMAT, "4 bytes follow");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (2), }", 8, FV_ERR_FORMAT, "tuple");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", 8, FV_ERR_FORMAT, "axis 0");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2), }", 8, FV_ERR_LIMIT, "axes");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 8, FV_ERR_FORMAT, "axis 0");
    refused("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", 8, FV_ERR_LIMIT,
            "too many");
    refused("{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952,), }", 8, FV_ERR_LIMIT, "too many");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }", 8, FV_ERR_FORMAT, "truncated");
    refused("{'descr': '<f4', 'fortran_order': False}", 8, FV_ERR_FORMAT, "lacks");
    refused("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 8, FV_ERR_FORMAT, "twice");
    refused("{'descr': '<f4', 'order': False, 'shape': (2,)}", 8, FV_ERR_FORMAT, "\"order\"");
    refused("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", 8, FV_ERR_FORMAT, "goes on");
    refused("", 8, FV_ERR_FORMAT, "dictionary");
    ck_assert_uint_lt(memory.largest, 1 << 20);
    leave();
}
END_TEST

START_TEST(not_an_npy_file) {
    fv_tensor t;
    enter();
    put("x.npy", "PK\x03\x04 and so on", 14);
    fails(fv_npy_read(context, at("x.npy"), &t), FV_ERR_FORMAT, "not an npy");
    put("x.npy", "\x93NUMPY\x04\x00\x02\x00{}", 12);
    fails(fv_npy_read(context, at("x.npy"), &t), FV_ERR_UNSUPPORTED, "4.0");
    put("x.npy", "\x93NUMPY\x02\x00\xff\xff\xff\xff{}", 14);
    fails(fv_npy_read(context, at("x.npy"), &t), FV_ERR_FORMAT, "truncated");
    fails(fv_npy_read(context, at("none.npy"), &t), FV_ERR_NOT_FOUND, "none.npy");
    fails(fv_npy_read(context, folder, &t), FV_ERR_IO, folder);
    fails(fv_npy_read(NULL, "x", &t), FV_ERR_ARGUMENT, "needs");
    fails(fv_npy_write(context, at("x.npy"), NULL), FV_ERR_ARGUMENT, "needs");
    leave();
}
END_TEST

static fv_status read_x(void) {
    fv_tensor t;
    const fv_status status = fv_npy_read(context, at("x.npy"), &t);
    if (status == FV_OK) fv_npy_free(context, &t);
    return status;
}

START_TEST(prefixes_and_memory) {
    const float values[4] = {1, 2, 3, 4};
    const fv_tensor t = {.rank = 2, .shape = {2, 2}, .data = (void *)(uintptr_t)values};
    enter();
    ok(fv_npy_write(context, at("x.npy"), &t));
    every_prefix_fails("x.npy", read_x);
    every_allocation_may_fail(read_x);
    leave();
}
END_TEST

START_TEST(a_failed_write_leaves_the_old_file) {
    float values[6] = {0};
    fv_tensor t = {.rank = 1, .shape = {6}, .data = values};
    enter();
    ok(fv_npy_write(context, at("x.npy"), &t));
    t.layout = FV_NHWC;
    fails(fv_npy_write(context, at("x.npy"), &t), FV_ERR_UNSUPPORTED, "plain");
    t.layout = FV_PLAIN;
    t.data = NULL;
    fails(fv_npy_write(context, at("x.npy"), &t), FV_ERR_ARGUMENT, "no data");
    t.data = values;
    fails(fv_npy_write(context, at("none/x.npy"), &t), FV_ERR_NOT_FOUND, "none/x.npy");
    ck_assert_int_eq(entries(), 1);
    ck_assert_int_eq(read_x(), FV_OK);
    leave();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {every_type_and_rank_comes_back,
                                  no_elements,
                                  the_bytes_numpy_writes,
                                  other_spellings_and_versions,
                                  refusals_name_the_reason,
                                  not_an_npy_file,
                                  prefixes_and_memory,
                                  a_failed_write_leaves_the_old_file,
                                  NULL};
    return run_tests("npy", tests, 60);
}

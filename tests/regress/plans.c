/* The plan of every network of the zoo as CSV: algorithm and pieces of each node, arena bytes of the network, at batch
 * 1 and 16, AVX2 kernels, two threads. Costs are fixed, so that it is the same on every machine with AVX2; 77: this one
 * has none. */
#include "fovea.h"

#include <stdio.h>
#include <string.h>

static int fail(const char *what) {
    fprintf(stderr, "plans: %s: %s\n", what, fv_last_error());
    return 1;
}

static int print_session(const fv_session *s, const char *name, int64_t batch) {
    for (size_t i = 0; i < fv_session_node_count(s); i++) {
        fv_node_info n;
        if (fv_session_node(s, i, &n) != FV_OK) return fail(name);
        printf("%s,%lld,%s,%s,%s,%zu,%zu\n", name, (long long)batch, n.name ? n.name : "", n.op,
               n.algorithm ? n.algorithm : "", n.pieces, n.workspace_bytes);
    }
    printf("%s,%lld,ALL,%d threads,%lld parts,,%zu\n", name, (long long)batch, fv_session_threads(s),
           (long long)fv_session_parts(s), fv_session_arena_bytes(s));
    return 0;
}

static int print_network(fv_context *c, const char *name) {
    fv_model *m = NULL;
    fv_zoo_settings zoo;
    fv_zoo_settings_default(&zoo);
    if (fv_model_zoo(c, name, &zoo, &m) != FV_OK) return fail(name);
    int status = 0;
    for (int64_t batch = 1; batch <= 16 && status == 0; batch += 15) {
        fv_session_settings s;
        fv_session *session = NULL;
        fv_session_settings_default(&s);
        s.batch = batch;
        status = fv_session_create(m, &s, &session) == FV_OK ? print_session(session, name, batch) : fail(name);
        fv_session_free(session);
    }
    fv_model_free(m);
    return status;
}

int main(void) {
    fv_context_settings s;
    fv_context *c = NULL;
    fv_context_settings_default(&s);
    s.isa = "avx2";
    s.threads = 2;
    if (fv_context_create(&s, &c) != FV_OK) {
        fprintf(stderr, "skipped: %s\n", fv_last_error());
        return 77;
    }
    puts("model,batch,node,operator,algorithm,pieces,workspace or arena bytes");
    int status = 0;
    for (size_t i = 0; fv_zoo_name(i, NULL) && status == 0; i++) status = print_network(c, fv_zoo_name(i, NULL));
    fv_context_free(c);
    return status;
}

#include "cli.h"
#include "progress.h"
#include "spec.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { cell_columns = FV_SPEC_ISAS + 3 };
static const char *const titles[cell_columns] = {"scalar", "AVX2", "NEON", "forward", "gradient", "ONNX"};

typedef struct table {
    const spec_request *request;
    fv_spec spec;
    progress bar;
    size_t counts[4]; /* by fv_spec_state */
} table;

static void print_line(void *user, const char *line) {
    table *t = user;
    progress_clear(&t->bar);
    fprintf(stderr, "%s\n", line);
}

static void show_share(void *user, double share) {
    table *t = user;
    progress_update(&t->bar, (int64_t)(1e6 * share), NULL);
}

static uint64_t part(uint64_t cases, uint64_t by) { return cases / by > 2 ? cases / by : 2; }

/* ---- another machine's instruction set ---- */

/* Lines of the command's output are cells. */
static bool read_cells(table *t, FILE *f) {
    char line[256];
    bool any = false;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (fv_spec_take_line(&t->spec, FV_SPEC_NEON, line))
            any = true;
        else if (strncmp(line, "MISMATCH", 8) == 0)
            print_line(t, line);
    }
    return any;
}

/* -1, or the exit status. A cell that the command left out fails: it should have been filled. */
static int run_neon(table *t) {
    const spec_request *r = t->request;
    char command[4096];
    if (!r->neon || t->spec.slot_count == 0) return -1;
    if (strchr(r->file, '\''))
        return cli_fail(&cmd_check, "%s: a path with a quote cannot be passed to another program", r->file);
    const int length = snprintf(command, sizeof command, "%s --spec '%s' --isa neon --cases %llu --seed %llu", r->neon,
                                r->file, (unsigned long long)r->cases, (unsigned long long)r->seed);
    if (length >= (int)sizeof command) return cli_fail(&cmd_check, "--neon-with: the command is too long");
    fflush(NULL);
    FILE *f = popen(command, "r");
    if (!f) return cli_fail(&cmd_check, "cannot run %s: %s", r->neon, strerror(errno));
    const bool any = read_cells(t, f);
    (void)pclose(f); /* its cells say what failed */
    if (!any) return cli_fail(&cmd_check, "%s checked nothing on NEON", r->neon);
    for (size_t i = 0; i < t->spec.slot_count; i++) {
        fv_spec_cell *c = &t->spec.slots[i].isa[FV_SPEC_NEON];
        if (c->state == FV_SPEC_NOT_RUN) c->state = FV_SPEC_FAILED;
    }
    return -1;
}

/* ---- the checks ---- */

static void run_round_trips(table *t) {
    fv_spec *s = &t->spec;
    for (size_t i = 0; i < s->grad_count; i++) {
        fv_spec_grad *g = &s->grads[i];
        const char *why = "";
        if (strcmp(g->form, "none") != 0)
            g->onnx = check_round_trip(g->name, g->form, part(t->request->cases, 20), t->request->seed, &why);
        if (g->onnx.state == FV_SPEC_FAILED) {
            char line[1024];
            snprintf(line, sizeof line, "files of %s: %s", g->name, why);
            print_line(t, line);
        }
        show_share(t, (double)(i + 1) / (double)s->grad_count);
    }
}

static int run_checks(table *t) {
    fv_check_options o = fv_check_defaults();
    o.seed = t->request->seed;
    o.cases = t->request->cases;
    o.print = print_line;
    o.progress = show_share;
    o.user = t;
    progress_start(&t->bar, "kernels", 1000000);
    fv_spec_run_slots(&t->spec, &o);
    const int status = run_neon(t);
    if (status >= 0) return status;
    o.cases = part(t->request->cases, 10);
    progress_start(&t->bar, "gradients", 1000000);
    fv_spec_run_grads(&t->spec, &o);
    progress_start(&t->bar, "files", 1000000);
    run_round_trips(t);
    progress_clear(&t->bar);
    return -1;
}

/* ---- the table ---- */

static fv_spec_cell cell_at(const fv_spec *s, size_t row, int column) {
    const fv_spec_grad *g = fv_spec_grad_of(s, row);
    const fv_spec_cell none = {FV_SPEC_NONE, 0};
    if (column < FV_SPEC_ISAS) return fv_spec_isa(s, row, column);
    if (!g) return none;
    if (column == FV_SPEC_ISAS) return g->forward;
    if (column == FV_SPEC_ISAS + 1) return g->gradient;
    return strcmp(g->form, "none") == 0 ? none : g->onnx;
}

static void cell_text(const fv_spec *s, size_t row, int column, char *out, size_t size) {
    static const char *const states[] = {"not run", "n/a", "ok", "FAILED"};
    const fv_spec_cell c = cell_at(s, row, column);
    if (c.state != FV_SPEC_OK)
        snprintf(out, size, "%s", states[c.state]);
    else if (column == cell_columns - 1)
        snprintf(out, size, "%s, %llu", s->rows[row].onnx, (unsigned long long)c.cases);
    else
        snprintf(out, size, "ok, %llu", (unsigned long long)c.cases);
}

static void print_table(table *t) {
    const fv_spec *s = &t->spec;
    char text[64];
    printf("| SPEC | operator | option |");
    for (int k = 0; k < cell_columns; k++) printf(" %s |", titles[k]);
    printf("\n|---|---|---|");
    for (int k = 0; k < cell_columns; k++) printf("---|");
    putchar('\n');
    for (size_t i = 0; i < s->row_count; i++) {
        printf("| %s | %s | %s |", s->rows[i].section, s->rows[i].operator, s->rows[i].option);
        for (int k = 0; k < cell_columns; k++) {
            cell_text(s, i, k, text, sizeof text);
            printf(" %s |", text);
            t->counts[cell_at(s, i, k).state]++;
        }
        putchar('\n');
    }
    const uint64_t cases = t->request->cases;
    printf("\n%zu rows: %zu cells filled, %zu failed, %zu not run, %zu not applicable; %llu cases a slot, %llu a "
           "gradient row, "
           "%llu files, seed %llu\n",
           s->row_count, t->counts[FV_SPEC_OK], t->counts[FV_SPEC_FAILED], t->counts[FV_SPEC_NOT_RUN],
           t->counts[FV_SPEC_NONE], (unsigned long long)cases, (unsigned long long)part(cases, 10),
           (unsigned long long)part(cases, 20), (unsigned long long)t->request->seed);
}

static int write_json(const table *t) {
    const fv_spec *s = &t->spec;
    json_t *rows = json_array();
    char text[64];
    for (size_t i = 0; i < s->row_count; i++) {
        json_t *row = json_pack("{s:s, s:s, s:s}", "section", s->rows[i].section, "operator", s->rows[i].operator,
                                "option", s->rows[i].option);
        for (int k = 0; k < cell_columns; k++) {
            cell_text(s, i, k, text, sizeof text);
            json_object_set_new(row, titles[k], json_string(text));
        }
        json_array_append_new(rows, row);
    }
    json_t *all =
        json_pack("{s:o, s:I, s:I, s:I, s:I}", "rows", rows, "filled", (json_int_t)t->counts[FV_SPEC_OK], "failed",
                  (json_int_t)t->counts[FV_SPEC_FAILED], "not_run", (json_int_t)t->counts[FV_SPEC_NOT_RUN],
                  "not_applicable", (json_int_t)t->counts[FV_SPEC_NONE]);
    const bool ok = all && json_dump_file(all, t->request->json, JSON_INDENT(1)) == 0;
    json_decref(all);
    return ok ? -1 : cli_fail(&cmd_check, "cannot write %s", t->request->json);
}

int check_spec(const spec_request *r) {
    table t = {.request = r};
    const char *why = "";
    if (!fv_spec_read(r->file, &t.spec, &why)) return cli_fail(&cmd_check, "%s", why);
    int status = run_checks(&t);
    if (status < 0) {
        print_table(&t);
        status = r->json ? write_json(&t) : -1;
    }
    fv_spec_free(&t.spec);
    return status >= 0 ? status : t.counts[FV_SPEC_FAILED] || !t.counts[FV_SPEC_OK] ? CLI_MISMATCH : CLI_DONE;
}

#include "check/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { columns = 6, most_bytes = 1 << 20 };

const char *const fv_spec_isas[FV_SPEC_ISAS] = {"scalar", "avx2", "neon"};
static const char header[] = "section,operator,option,slots,grad,onnx";

static _Thread_local char sentence[512];

static bool fail(const char **why, const char *path, size_t line, const char *what) {
    if (line)
        snprintf(sentence, sizeof sentence, "%s, line %zu: %s", path, line, what);
    else
        snprintf(sentence, sizeof sentence, "%s: %s", path, what);
    *why = sentence;
    return false;
}

/* ---- the file ---- */

static char *read_text(const char *path) {
    errno = 0;
    FILE *f = fopen(path, "rb");
    char *text = f ? calloc(1, most_bytes + 1) : NULL;
    const size_t bytes = text ? fread(text, 1, most_bytes + 1, f) : 0;
    const bool bad = !f || !text || ferror(f) || bytes > most_bytes || memchr(text, '\0', bytes);
    if (f) fclose(f);
    if (!bad) return text;
    free(text);
    return NULL;
}

static const char *add_slot(fv_spec *s, const char *name, size_t length) {
    for (size_t i = 0; i < s->slot_count; i++)
        if (strlen(s->slots[i].name) == length && strncmp(s->slots[i].name, name, length) == 0) return NULL;
    if (length == 0 || length >= sizeof s->slots->name) return "a slot's name is empty or too long";
    fv_spec_slot *slots = realloc(s->slots, (s->slot_count + 1) * sizeof *slots);
    if (!slots) return "out of memory";
    s->slots = slots;
    slots[s->slot_count] = (fv_spec_slot){0};
    memcpy(slots[s->slot_count++].name, name, length);
    return NULL;
}

static const char *add_grad(fv_spec *s, const char *name, const char *form) {
    for (size_t i = 0; i < s->grad_count; i++)
        if (strcmp(s->grads[i].name, name) == 0)
            return strcmp(s->grads[i].form, form) == 0 ? NULL : "another row states other files of this gradient row";
    if (strlen(name) >= sizeof s->grads->name) return "a gradient row's name is too long";
    fv_spec_grad *grads = realloc(s->grads, (s->grad_count + 1) * sizeof *grads);
    if (!grads) return "out of memory";
    s->grads = grads;
    grads[s->grad_count] = (fv_spec_grad){.form = form};
    snprintf(grads[s->grad_count++].name, sizeof grads->name, "%s", name);
    return NULL;
}

static const char *add_row(fv_spec *s, char *line) {
    char *field[columns + 1];
    size_t count = 0;
    for (char *at = line; at && count <= columns; count++) {
        field[count] = at;
        at = strchr(at, ',');
        if (at) *at++ = '\0';
    }
    if (count != columns) return "a row has six fields: section,operator,option,slots,grad,onnx";
    const fv_spec_row r = {field[0], field[1], field[2], field[3], field[4], field[5]};
    if (!*r.section || !*r.operator) return "a row needs a section and an operator";
    if (strcmp(r.onnx, "standard") != 0 && strcmp(r.onnx, "function") != 0 && strcmp(r.onnx, "none") != 0)
        return "onnx is standard, function or none";
    if (!*r.grad && strcmp(r.onnx, "none") != 0)
        return "the round trip is of the gradient row's network, which is missing";
    fv_spec_row *rows = realloc(s->rows, (s->row_count + 1) * sizeof *rows);
    if (!rows) return "out of memory";
    s->rows = rows;
    rows[s->row_count++] = r;
    const char *bad = *r.grad ? add_grad(s, r.grad, r.onnx) : NULL;
    for (const char *at = r.slots; *at && !bad; at += at[strcspn(at, ";")] ? strcspn(at, ";") + 1 : strlen(at))
        bad = add_slot(s, at, strcspn(at, ";"));
    return bad;
}

bool fv_spec_read(const char *path, fv_spec *out, const char **why) {
    fv_spec s = {.text = read_text(path)};
    if (!s.text) return fail(why, path, 0, errno ? strerror(errno) : "not a text of at most 1 MiB");
    const char *bad = NULL;
    size_t number = 0;
    for (char *line = s.text, *next; *line && !bad; line = next) {
        next = line + strcspn(line, "\n");
        if (*next) *next++ = '\0';
        line[strcspn(line, "\r")] = '\0';
        if (++number == 1)
            bad = strcmp(line, header) == 0 ? NULL : "the header is not section,operator,option,slots,grad,onnx";
        else if (*line)
            bad = add_row(&s, line);
    }
    if (!bad && s.row_count == 0) bad = "there is no row";
    if (bad) {
        fail(why, path, number, bad);
        fv_spec_free(&s);
        return false;
    }
    *out = s;
    return true;
}

void fv_spec_free(fv_spec *s) {
    free(s->rows);
    free(s->slots);
    free(s->grads);
    free(s->text);
    *s = (fv_spec){0};
}

/* ---- running ---- */

/* "conv.forward": every slot that the name matches has a function of the instruction set's own. */
typedef struct listing {
    bool any, borrowed;
} listing;

static void see_line(void *user, const char *line) {
    listing *l = user;
    l->any = true;
    const size_t n = strlen(line);
    l->borrowed = l->borrowed || (n >= 6 && strcmp(line + n - 6, "scalar") == 0);
}

static bool all_own(const fv_check_options *o) {
    fv_check_options list = *o;
    listing seen = {0};
    list.print = see_line;
    list.user = &seen;
    return fv_check_list(&list) == FV_CHECK_AGREE && seen.any && !seen.borrowed;
}

static void say(const fv_check_options *o, const char *what, const char *name, const char *isa) {
    char line[256];
    snprintf(line, sizeof line, "%s %s%s%s", what, name, isa ? " on " : "", isa ? isa : "");
    if (o->print) o->print(o->user, line);
}

static void run_slot(fv_spec_slot *slot, int isa, const fv_check_options *options) {
    fv_kernels table;
    if ((options->isa && strcmp(options->isa, fv_spec_isas[isa]) != 0) || !fv_kernels_for(fv_spec_isas[isa], &table))
        return;
    fv_check_options o = *options;
    fv_check_report report = {0};
    o.op = slot->name;
    o.isa = fv_spec_isas[isa];
    o.quiet = true;
    o.progress = NULL;
    const fv_check_result result = fv_check_run(&o, &report);
    const bool own = all_own(&o);
    if (result == FV_CHECK_NOTHING && (isa == FV_SPEC_SCALAR || options->isa))
        say(options, "no such slot:", slot->name, NULL);
    if (result == FV_CHECK_AGREE && !own) say(options, "scalar's function:", slot->name, o.isa);
    slot->isa[isa] = (fv_spec_cell){result == FV_CHECK_AGREE && own ? FV_SPEC_OK : FV_SPEC_FAILED, report.cases};
}

void fv_spec_run_slots(fv_spec *s, const fv_check_options *options) {
    const double all = (double)(s->slot_count * FV_SPEC_ISAS);
    for (size_t i = 0; i < s->slot_count; i++)
        for (int isa = 0; isa < FV_SPEC_ISAS; isa++) {
            run_slot(&s->slots[i], isa, options);
            if (options->progress) options->progress(options->user, (double)(i * FV_SPEC_ISAS + (size_t)isa + 1) / all);
        }
}

void fv_spec_run_grads(fv_spec *s, const fv_check_options *options) {
    for (size_t i = 0; i < s->grad_count; i++) {
        fv_spec_grad *g = &s->grads[i];
        fv_check_options o = *options;
        fv_grad_held held;
        o.op = g->name;
        o.quiet = true;
        o.progress = NULL;
        const fv_check_result result = fv_grad_check_held(&o, &held);
        if (result == FV_CHECK_NOTHING) say(options, "no such row of the gradient check:", g->name, NULL);
        const bool ran = result == FV_CHECK_AGREE || result == FV_CHECK_MISMATCH;
        g->forward =
            (fv_spec_cell){ran && held.outputs && !held.output_failures ? FV_SPEC_OK : FV_SPEC_FAILED, o.cases};
        g->gradient =
            (fv_spec_cell){ran && held.gradients && !held.gradient_failures ? FV_SPEC_OK : FV_SPEC_FAILED, o.cases};
        /* a surrogate gradient: right by its definition, and no derivative */
        if (g->gradient.state == FV_SPEC_OK && held.differences == 0) g->gradient.state = FV_SPEC_NONE;
        if (options->progress) options->progress(options->user, (double)(i + 1) / (double)s->grad_count);
    }
}

/* ---- cells ---- */

static bool names(const char *list, const char *slot) {
    const size_t n = strlen(slot);
    for (const char *at = list; *at; at += at[strcspn(at, ";")] ? strcspn(at, ";") + 1 : strlen(at))
        if (strcspn(at, ";") == n && strncmp(at, slot, n) == 0) return true;
    return false;
}

/* The worst of a row's slots, and their cases together. */
fv_spec_cell fv_spec_isa(const fv_spec *s, size_t row, int isa) {
    fv_spec_cell all = {FV_SPEC_NONE, 0};
    for (size_t i = 0; i < s->slot_count; i++) {
        if (!names(s->rows[row].slots, s->slots[i].name)) continue;
        const fv_spec_cell *c = &s->slots[i].isa[isa];
        all.cases += c->cases;
        if (all.state == FV_SPEC_NONE || c->state == FV_SPEC_FAILED || all.state == FV_SPEC_OK) all.state = c->state;
    }
    return all;
}

const fv_spec_grad *fv_spec_grad_of(const fv_spec *s, size_t row) {
    for (size_t i = 0; i < s->grad_count; i++)
        if (strcmp(s->grads[i].name, s->rows[row].grad) == 0) return &s->grads[i];
    return NULL;
}

void fv_spec_print_slots(const fv_spec *s, fv_check_print_fn print, void *user) {
    for (size_t i = 0; i < s->slot_count; i++)
        for (int isa = 0; isa < FV_SPEC_ISAS; isa++) {
            const fv_spec_cell *c = &s->slots[i].isa[isa];
            char line[128];
            if (c->state == FV_SPEC_NOT_RUN) continue;
            snprintf(line, sizeof line, "%s,%s,%s,%llu", fv_spec_isas[isa], s->slots[i].name,
                     c->state == FV_SPEC_OK ? "ok" : "failed", (unsigned long long)c->cases);
            print(user, line);
        }
}

bool fv_spec_take_line(fv_spec *s, int isa, const char *line) {
    char set[16], slot[64], state[16];
    unsigned long long cases;
    if (sscanf(line, "%15[^,],%63[^,],%15[^,],%llu", set, slot, state, &cases) != 4) return false;
    if (strcmp(set, fv_spec_isas[isa]) != 0) return false;
    const bool ok = strcmp(state, "ok") == 0;
    for (size_t i = 0; i < s->slot_count; i++)
        if (strcmp(s->slots[i].name, slot) == 0) {
            s->slots[i].isa[isa] = (fv_spec_cell){ok && cases > 0 ? FV_SPEC_OK : FV_SPEC_FAILED, cases};
            return true;
        }
    return false;
}

/* inspect.c - see inspect.h. */
#include "admin/inspect.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "keys/inspect.h"
#include "store/inspect.h"

enum { ENVELOPE_MAX = 1 << 20, NAMES_MAX = 64 };

static const char *const envelopes[] = { "envelope.1", "envelope.2" };

struct tally {
    struct bw *w;
    struct census_row row[CUSTODY_GEN_MAX];
    size_t n_rows;
    uint64_t n_files, bytes, problems, authenticated;
};

static void hex_field(struct bw *w, const char *name, const uint8_t *p, size_t len)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    hex_encode(SLICE(p, len), &text);
    bw_str(w, name, buf_cstr(&text));
}

static void problem(struct tally *t, const char *what)
{
    bw_str(t->w, "problem", what);
    t->problems++;
}

/* ---- the store's files ------------------------------------------------------------------------------------------- */

static void count_generation(struct tally *t, uint32_t gen, uint64_t bytes)
{
    size_t i = 0;

    while (i < t->n_rows && t->row[i].gen != gen)
        i++;
    if (i == ARRAY_LEN(t->row))
        /* more than an envelope holds: each such file has its problem in the list already */
        return;
    if (i == t->n_rows)
        t->row[t->n_rows++] = (struct census_row){ .gen = gen };
    t->row[i].n_files++;
    t->row[i].bytes += bytes;
}

static void tell_file(void *arg, const struct store_file_facts *f)
{
    struct tally *t = arg;

    bw_doc_begin(t->w, NULL);
    bw_str(t->w, "name", f->name);
    bw_str(t->w, "role", f->role);
    bw_i64(t->w, "bytes", (int64_t)f->bytes);
    if (f->gen) {
        bw_str(t->w, "layout", f->layout);
        bw_i64(t->w, "generation", f->gen);
        hex_field(t->w, "salt", f->salt, sizeof(f->salt));
        bw_i64(t->w, strcmp(f->layout, "block") == 0 ? "chunks" : "frames", (int64_t)f->units);
        bw_bool(t->w, "authenticated", f->authenticated);
        count_generation(t, f->gen, f->bytes);
    }
    if (f->torn)
        bw_i64(t->w, "tornBytes", (int64_t)f->torn);
    if (f->unfinished)
        bw_bool(t->w, "unfinished", true);
    if (f->problem)
        problem(t, f->problem);
    bw_doc_end(t->w);
    t->n_files++;
    t->bytes += f->bytes;
    t->authenticated += f->authenticated;
}

/* ---- what stands beside the store -------------------------------------------------------------------------------- */

static bool is_envelope(const char *name)
{
    return strcmp(name, envelopes[0]) == 0 || strcmp(name, envelopes[1]) == 0;
}

static void tell_envelope(struct tally *t, const char *name, struct slice content)
{
    struct custody_status st;
    struct err why = { 0 };

    bw_doc_begin(t->w, NULL);
    bw_str(t->w, "name", name);
    bw_i64(t->w, "bytes", (int64_t)content.len);
    if (envelope_inspect(content, &st, &why).failed) {
        problem(t, why.msg);
        err_reset(&why);
        bw_doc_end(t->w);
        return;
    }
    bw_str(t->w, "mode", key_mode_name(st.mode));
    bw_i64(t->w, "sequence", (int64_t)st.sequence);
    hex_field(t->w, "lineage", st.lineage, sizeof(st.lineage));
    bw_str(t->w, "wrapAlgorithm", st.alg);
    bw_str(t->w, "keyVersion", st.version);
    bw_array_begin(t->w, "generations");
    for (size_t i = 0; i < st.n; i++) {
        bw_doc_begin(t->w, NULL);
        bw_i64(t->w, "generation", st.row[i].gen);
        bw_str(t->w, "state", gen_state_name(st.row[i].state));
        bw_bool(t->w, "current", st.row[i].gen == st.current);
        bw_str(t->w, "keyVersion", st.row[i].version);
        bw_doc_end(t->w);
    }
    bw_array_end(t->w);
    bw_doc_end(t->w);
}

static RC tell_envelopes(struct tally *t, const char *dir, size_t *found, struct err *e)
{
    rc_t rc = RC_OK;

    *found = 0;
    bw_array_begin(t->w, "envelopes");
    for (size_t i = 0; i < ARRAY_LEN(envelopes) && !rc.failed; i++) {
        AUTO(mem_freep) char *path = mem_printf("%s/%s", dir, envelopes[i]);
        AUTO(buf_fini) struct buf content = BUF_INIT;
        struct err why = { 0 };
        if (file_read(path, ENVELOPE_MAX, &content, &why).failed) {
            if (why.code != ERR_NOT_FOUND) {
                *e = why;
                rc = RC_FAILED;
            }
            continue;
        }
        ++*found;
        t->n_files++;
        t->bytes += content.len;
        tell_envelope(t, envelopes[i], buf_view(&content));
    }
    bw_array_end(t->w);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Whatever is neither the store nor an envelope is nothing of ours. */
static RC tell_others(struct tally *t, const char *dir, struct err *e)
{
    DIR *d = opendir(dir);
    struct dirent *ent;
    char *names[NAMES_MAX];
    size_t n = 0;

    if (!d)
        return file_err(e, errno, "open", dir);
    while (n < NAMES_MAX && (ent = readdir(d)))
        if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0 &&
            strcmp(ent->d_name, "store") != 0 && !is_envelope(ent->d_name))
            names[n++] = mem_strdup(ent->d_name);
    closedir(d);
    if (n)
        qsort(names, n, sizeof(names[0]), by_name);
    for (size_t i = 0; i < n; i++) {
        struct store_file_facts f = {
            .name = names[i],
            .role = "foreign",
            .layout = "",
            .problem = "no file of a data directory has such a name",
        };
        tell_file(t, &f);
        mem_free(names[i]);
    }
    return RC_OK;
}

static void write_totals(struct tally *t, bool keys)
{
    bw_array_begin(t->w, "generations");
    for (size_t i = 0; i < t->n_rows; i++) {
        bw_doc_begin(t->w, NULL);
        bw_i64(t->w, "generation", t->row[i].gen);
        bw_i64(t->w, "files", (int64_t)t->row[i].n_files);
        bw_i64(t->w, "bytes", (int64_t)t->row[i].bytes);
        bw_doc_end(t->w);
    }
    bw_array_end(t->w);
    bw_doc_begin(t->w, "totals");
    bw_i64(t->w, "files", (int64_t)t->n_files);
    bw_i64(t->w, "bytes", (int64_t)t->bytes);
    bw_i64(t->w, "problems", (int64_t)t->problems);
    bw_bool(t->w, "keys", keys);
    bw_i64(t->w, "authenticated", (int64_t)t->authenticated);
    bw_doc_end(t->w);
}

RC admin_inspect(const char *dir, const char *shown_as, struct keyring *keys, struct bw *w,
                 uint64_t *n_problems, struct err *e)
{
    AUTO(mem_freep) char *store = mem_printf("%s/store", dir);
    struct tally t = { .w = w };
    struct store_inspection sum;
    size_t found;

    *n_problems = 0;
    bw_str(w, "directory", shown_as ? shown_as : dir);
    bw_str(w, "algorithm", "AES-256-GCM");
    TRY(tell_envelopes(&t, dir, &found, e));
    if (!found && !path_exists(store))
        FAIL(e, ERR_NOT_FOUND,
             "\"%s\" is no data directory: it has neither a key envelope nor a store", dir);
    bw_array_begin(w, "files");
    if (found == 0) {
        bw_doc_begin(w, NULL);
        bw_str(w, "name", envelopes[0]);
        problem(&t, "there is no key envelope: nothing here can be opened");
        bw_doc_end(w);
    }
    TRY(tell_others(&t, dir, e));
    if (path_exists(store))
        TRY(store_inspect(store, keys, tell_file, &t, &sum, e));
    bw_array_end(w);
    if (path_exists(store))
        hex_field(w, "storeId", sum.id, sizeof(sum.id));
    write_totals(&t, keys != NULL);
    *n_problems = t.problems;
    return RC_OK;
}

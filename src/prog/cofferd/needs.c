/* needs.c - see needs.h. */
#include "needs.h"

#include <string.h>

#include "backups.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/store.h"

enum { OLDER_MAX = 4096, CENSUS_MAX = CUSTODY_GEN_MAX };

struct needs {
    struct arena *a;
    struct bw *w;
    const struct custody_status *st; /* NULL: sealed */
    const char *in_use;              /* the version in use */
    const char **older;              /* OLDER_MAX; distinct */
    int n_older;
    bool more; /* than fit */
};

static void note_version(struct needs *n, const char *version)
{
    if (!*version || strcmp(version, n->in_use) == 0)
        return;
    for (int i = 0; i < n->n_older; i++)
        if (strcmp(n->older[i], version) == 0)
            return;
    if (n->n_older < OLDER_MAX)
        n->older[n->n_older++] = arena_strdup(n->a, version);
    else
        n->more = true;
}

static void begin(struct needs *n, const char *by, const char *version, uint32_t gen)
{
    bw_doc_begin(n->w, NULL);
    bw_str(n->w, "by", by);
    bw_str(n->w, "version", version);
    if (gen)
        bw_i32(n->w, "generation", (int32_t)gen);
    note_version(n, version);
}

/* ---- what is on disk here ---------------------------------------------------------------------------------------- */

/* Rows of a count that are under another generation than the current one. less: what another count has of the same files; NULL = nothing. */
static void show_census(struct needs *n, const char *by, const struct custody_status *st,
                        const struct store_census_row *rows, int n_rows,
                        const struct store_census_row *less, int n_less)
{
    for (int i = 0; i < n_rows; i++) {
        const struct generation_status *g = custody_status_of(st, rows[i].gen);
        uint64_t files = rows[i].n_files, bytes = rows[i].bytes;

        for (int k = 0; k < n_less; k++) {
            if (less[k].gen == rows[i].gen) {
                files -= MIN(files, less[k].n_files);
                bytes -= MIN(bytes, less[k].bytes);
            }
        }
        if (rows[i].gen == st->current || !files)
            continue;
        begin(n, by, g ? g->version : "", rows[i].gen);
        bw_i64(n->w, "files", (int64_t)files);
        bw_i64(n->w, "bytes", (int64_t)bytes);
        bw_doc_end(n->w);
    }
}

static RC count_archive(struct process *p, struct store_census_row *rows, int *n, struct err *e)
{
    AUTO(mem_freep) char *archive = mem_printf("%s/archive", p->store_dir);

    *n = 0;
    if (!path_exists(archive))
        return RC_OK;
    return store_census_dir(archive, rows, CENSUS_MAX, n, e);
}

static RC show_data(struct needs *n, const struct status_source *s, const struct custody_status *st,
                    struct err *e)
{
    struct store_census_row all[CENSUS_MAX], archived[CENSUS_MAX];
    int n_all, n_archived;

    TRY(store_census(s->store, all, CENSUS_MAX, &n_all, e));
    TRY(count_archive(s->process, archived, &n_archived, e));
    show_census(n, "data", st, all, n_all, archived, n_archived);
    show_census(n, "archivedJournals", st, archived, n_archived, NULL, 0);
    return RC_OK;
}

static void show_envelope(struct needs *n, const struct custody_status *st)
{
    begin(n, "cluster", st->version, st->current);
    bw_doc_end(n->w);
    if (*st->pending) {
        begin(n, "rotation", st->pending, 0);
        bw_str(n->w, "state", rotation_state_name(st->rotation));
        bw_doc_end(n->w);
    }
    for (size_t i = 0; i < st->n; i++) {
        if (st->row[i].state != GEN_RETIRED)
            continue;
        begin(n, "retiredGeneration", st->row[i].version, st->row[i].gen);
        bw_doc_end(n->w);
    }
}

/* ---- backups ----------------------------------------------------------------------------------------------------- */

static void show_backup(const struct backup_facts *b, void *arg)
{
    struct needs *n = arg;

    begin(n, "backup", b->version, b->generation);
    bw_str(n->w, "dir", b->dir);
    bw_bool(n->w, "present", b->present);
    if (n->st) /* false: the backup's own envelope is all that opens it */
        bw_bool(n->w, "inEnvelope", custody_status_of(n->st, b->generation) != NULL);
    bw_date(n->w, "made", b->made_ms);
    if (b->verified_ms) {
        bw_date(n->w, "verified", b->verified_ms);
        bw_bool(n->w, "good", !*b->verify_error);
        if (*b->verify_error)
            bw_str(n->w, "verifyError", b->verify_error);
    }
    if (*b->url)
        bw_str(n->w, "url", b->url);
    bw_array_begin(n->w, "generations");
    for (size_t i = 0; b->keys && i < b->keys->n; i++) {
        if (b->keys->row[i].state != GEN_LIVE)
            continue;
        bw_doc_begin(n->w, NULL);
        bw_i32(n->w, "generation", (int32_t)b->keys->row[i].gen);
        bw_str(n->w, "version", b->keys->row[i].version);
        bw_doc_end(n->w);
        note_version(n, b->keys->row[i].version);
    }
    bw_array_end(n->w);
    bw_doc_end(n->w);
}

/* ---- all of it ---------------------------------------------------------------------------------------------------- */

static void show_sealed(struct needs *n, struct process *p, struct custody_root *root)
{
    struct err e = { 0 };

    if (!custody_root(p->data_dir, root, &e).failed) {
        n->in_use = root->version;
        begin(n, "cluster", root->version, 0);
        bw_doc_end(n->w);
    }
    err_reset(&e);
}

void needs_write(const struct status_source *s, struct bw *w)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(mem_freep) struct custody_status *st = s->custody ? NEW(struct custody_status) : NULL;
    struct needs n = {
        .a = a, .w = w, .in_use = "", .older = ARENA_ARRAY(a, const char *, OLDER_MAX)
    };
    struct err uncounted = { 0 }, unlisted = { 0 };
    struct custody_root root = { 0 };

    bw_array_begin(w, "needed");
    if (st) {
        custody_status(s->custody, st);
        n.st = st;
        n.in_use = st->version;
        show_envelope(&n, st);
        (void)show_data(&n, s, st, &uncounted).failed;
    } else {
        show_sealed(&n, s->process, &root);
    }
    (void)backups_each(s->process, a, show_backup, &n, &unlisted).failed;
    bw_array_end(w);
    bw_array_begin(w, "olderVersionsNeeded");
    for (int i = 0; i < n.n_older; i++)
        bw_str(w, NULL, n.older[i]);
    bw_array_end(w);
    if (n.more)
        bw_bool(w, "olderVersionsIncomplete", true);
    if (uncounted.code)
        bw_str(w, "censusError", uncounted.msg);
    if (unlisted.code)
        bw_str(w, "neededError", unlisted.msg);
    err_reset(&uncounted);
    err_reset(&unlisted);
}

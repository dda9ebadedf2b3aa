/* backups.c - see backups.h. The file is a JSON document {"format": 1, "backups": [{dir, made, url, version, generation, verified, verifyError}]}, newest last. */
#include "backups.h"

#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "keys/inspect.h"

enum { BACKUPS_FORMAT = 1, BACKUPS_MAX = 1 << 20, ENVELOPE_MAX = 2 << 20, BACKUPS_KEPT = 1000 };

static const char *text_of(struct arena *a, struct bdoc d, const char *name)
{
    struct bval v = bdoc_get(d, name);

    return v.type == BT_STRING ? arena_strndup(a, (const char *)bval_str(v).p, bval_str(v).len)
                               : "";
}

static RC load(struct process *p, struct arena *a, struct bdoc *list, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct err why = { 0 };
    struct bdoc d;
    int64_t format;

    *list = BDOC_EMPTY;
    if (file_read(p->backups_path, BACKUPS_MAX, &text, &why).failed) {
        if (why.code == ERR_NOT_FOUND) {
            err_reset(&why);
            return RC_OK;
        }
        return err_take(e, &why);
    }
    if (bdoc_from_json(a, buf_cstr(&text), &d, &why).failed ||
        !bval_to_i64(bdoc_get(d, "format"), &format) || format != BACKUPS_FORMAT ||
        bdoc_get(d, "backups").type != BT_ARRAY) {
        err_reset(&why);
        FAIL(e, ERR_CORRUPT, "the list of backups \"%s\" cannot be read", p->backups_path);
    }
    *list = bval_doc(bdoc_get(d, "backups"));
    return RC_OK;
}

/* The envelope of the backup says itself what opens it; the list only says where it was. */
static bool read_envelope(struct arena *a, struct backup_facts *b)
{
    struct custody_status *st = arena_alloc(a, sizeof(*st));

    for (int copy = 1; copy <= 2; copy++) {
        AUTO(mem_freep) char *path = mem_printf("%s/envelope.%d", b->dir, copy);
        AUTO(buf_fini) struct buf bytes = BUF_INIT;
        struct err ignored = { 0 };

        if (!file_read(path, ENVELOPE_MAX, &bytes, &ignored).failed &&
            !envelope_inspect(buf_view(&bytes), st, &ignored).failed) {
            b->version = st->version;
            b->generation = st->current;
            b->keys = st;
            return true;
        }
        err_reset(&ignored);
    }
    return false;
}

RC backups_each(struct process *p, struct arena *a,
                void (*fn)(const struct backup_facts *b, void *arg), void *arg, struct err *e)
{
    struct bdoc list;
    struct biter it;

    TRY(load(p, a, &list, e));
    biter_init(&it, list);
    while (biter_next(&it)) {
        int64_t gen = 0;
        if (it.val.type != BT_DOCUMENT)
            continue;
        struct bdoc d = bval_doc(it.val);
        struct bval made = bdoc_get(d, "made");
        struct backup_facts b = { .dir = text_of(a, d, "dir"),
                                  .made_ms = made.type == BT_DATE ? bval_i64(made) : 0,
                                  .url = text_of(a, d, "url"),
                                  .version = text_of(a, d, "version") };
        if (bval_to_i64(bdoc_get(d, "generation"), &gen))
            b.generation = (uint32_t)gen;
        struct bval verified = bdoc_get(d, "verified");
        b.verified_ms = verified.type == BT_DATE ? bval_i64(verified) : 0;
        b.verify_error = text_of(a, d, "verifyError");
        b.present = read_envelope(a, &b);
        fn(&b, arg);
    }
    return RC_OK;
}

static void describe(struct process *p, struct custody *custody, const char *dir, struct bw *w)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    struct keyconf conf;

    custody_status(custody, st);
    process_conf(p, &conf);
    bw_doc_begin(w, NULL);
    bw_str(w, "dir", dir);
    bw_date(w, "made", clock_real_ms());
    bw_str(w, "url", conf.mode == KEY_MODE_CMK ? conf.value[KEYCONF_KEY_URL] : "");
    bw_str(w, "version", st->version);
    bw_i32(w, "generation", (int32_t)st->current);
    bw_doc_end(w);
    keyconf_fini(&conf);
}

static bool is_of(struct arena *a, struct bval row, const char *dir)
{
    return row.type == BT_DOCUMENT && strcmp(text_of(a, bval_doc(row), "dir"), dir) == 0;
}

/* What becomes of the newest row of a directory: an older one may have been moved away. */
typedef void (*row_fn)(struct bdoc row, void *arg, struct bw *w);

/* The newest keep rows, the newest one of dir by way of fn. dir NULL: all as they are. */
static RC copy_rows(struct process *p, int keep, const char *dir, row_fn fn, void *arg,
                    struct bw *w, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct bdoc list;
    struct biter it;
    int n = 0, of_dir = -1;

    TRY(load(p, a, &list, e));
    biter_init(&it, list);
    for (; biter_next(&it); n++)
        if (dir && is_of(a, it.val, dir))
            of_dir = n;
    int first = MAX(0, n - keep);
    bw_i32(w, "format", BACKUPS_FORMAT);
    bw_array_begin(w, "backups");
    biter_init(&it, list);
    for (int i = 0; biter_next(&it); i++) {
        if (i == of_dir)
            fn(bval_doc(it.val), arg, w);
        else if (i >= first)
            bw_val(w, NULL, it.val);
    }
    return RC_OK;
}

static RC store_list(struct process *p, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    bw_array_end(w);
    bval_to_json(bval_of_doc(bw_finish(w), BT_DOCUMENT), &text);
    return file_write_atomic(p->backups_path, 0600, buf_view(&text), e);
}

RC backups_note(struct process *p, struct custody *custody, const char *dir, struct err *e)
{
    AUTO(buf_fini) struct buf doc = BUF_INIT;
    struct bw w;

    bw_init(&w, &doc);
    TRY(copy_rows(p, BACKUPS_KEPT - 1, NULL, NULL, NULL, &w, e));
    describe(p, custody, dir, &w);
    return store_list(p, &w, e);
}

static void drop_row(struct bdoc row, void *arg, struct bw *w)
{
    (void)row;
    (void)arg;
    (void)w;
}

RC backups_forget(struct process *p, const char *dir, struct err *e)
{
    AUTO(buf_fini) struct buf doc = BUF_INIT;
    struct bw w;

    bw_init(&w, &doc);
    TRY(copy_rows(p, BACKUPS_KEPT, dir, drop_row, NULL, &w, e));
    return store_list(p, &w, e);
}

struct outcome {
    int64_t when_ms;
    const char *error;
};

static void note_outcome(struct bdoc row, void *arg, struct bw *w)
{
    const struct outcome *o = arg;
    struct biter it;

    bw_doc_begin(w, NULL);
    biter_init(&it, row);
    while (biter_next(&it))
        if (!slice_eq_str(it.name, "verified") && !slice_eq_str(it.name, "verifyError"))
            bw_val_slice(w, it.name, it.val);
    bw_date(w, "verified", o->when_ms);
    bw_str(w, "verifyError", o->error);
    bw_doc_end(w);
}

RC backups_verified(struct process *p, const char *dir, int64_t when_ms, const char *error,
                    struct err *e)
{
    AUTO(buf_fini) struct buf doc = BUF_INIT;
    struct outcome o = { .when_ms = when_ms, .error = error };
    struct bw w;

    bw_init(&w, &doc);
    TRY(copy_rows(p, BACKUPS_KEPT, dir, note_outcome, &o, &w, e));
    return store_list(p, &w, e);
}

/* backups.c - see backups.h. The file is a JSON document {"format": 1, "backups": [{dir, made, url, version, generation}]}, newest last. */
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
        return err_set(e, why.code, why.file, why.line, "%s", why.msg);
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
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);

    for (int copy = 1; copy <= 2; copy++) {
        AUTO(mem_freep) char *path = mem_printf("%s/envelope.%d", b->dir, copy);
        AUTO(buf_fini) struct buf bytes = BUF_INIT;
        struct err ignored = { 0 };

        if (!file_read(path, ENVELOPE_MAX, &bytes, &ignored).failed &&
            !envelope_inspect(buf_view(&bytes), st, &ignored).failed) {
            b->version = arena_strdup(a, st->version);
            b->generation = st->current;
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

RC backups_note(struct process *p, struct custody *custody, const char *dir, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf doc = BUF_INIT, text = BUF_INIT;
    struct bdoc list;
    struct biter it;
    struct bw w;

    TRY(load(p, a, &list, e));
    int skip = (int)bdoc_count(list) + 1 - BACKUPS_KEPT;
    bw_init(&w, &doc);
    bw_i32(&w, "format", BACKUPS_FORMAT);
    bw_array_begin(&w, "backups");
    biter_init(&it, list);
    while (biter_next(&it))
        if (--skip < 0)
            bw_val(&w, NULL, it.val);
    describe(p, custody, dir, &w);
    bw_array_end(&w);
    bval_to_json(bval_of_doc(bw_finish(&w), BT_DOCUMENT), &text);
    return file_write_atomic(p->backups_path, 0600, buf_view(&text), e);
}

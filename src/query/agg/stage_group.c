/* stage_group.c - $group: a hash table of groups; what does not fit is partitioned on disk.
 *
 * While memory lasts every document finds or makes its group. Once over the budget, documents of groups already here still go in, all
 * others are written to one of PARTITIONS files by a hash of their key: key and evaluated arguments. When the input ends the groups here
 * are given out, then each file is read as an input of its own (with other hash bits), so order within a group is that of the input.
 * An accumulator that alone grows past the budget ($push of everything) is ERR_EXCEEDED_MEMORY_LIMIT.
 */
#include <stdio.h>

#include "acc_priv.h"

#include "base/mem.h"

enum { PARTITIONS = 16, LEVELS_MAX = 8 };

struct group {
    struct expr *id;
    struct acc *accs;
    int n_accs;
};

struct group_row {
    struct bval id;
    uint64_t hash;
    struct acc_state *st;
};

struct table {
    struct arena *mem;
    struct group_row *rows;
    uint32_t n, cap, at;
    uint32_t *slot;
    uint32_t n_slots;
};

/* A file of records waiting to be grouped. */
struct pending {
    struct pending *next;
    void *file;
    int level;
};

struct group_iter {
    struct iter it;
    struct table t;
    struct pending *pending, *reading;
    void *parts[PARTITIONS];
    int level;
    struct buf rec;
    bool loaded;
};

static void table_init(struct table *t)
{
    *t = (struct table){ .mem = arena_new(0) };
}

static void table_fini(struct table *t)
{
    mem_free(t->rows);
    mem_free(t->slot);
    arena_free(t->mem);
    *t = (struct table){ 0 };
}

static uint64_t hash_of(const struct qctx *q, struct bval id)
{
    uint64_t h = bval_hash_in(q->collator, id);

    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdull; /* murmur3's finaliser: every bit counts in the partitions */
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ull;
    return h ^ h >> 33;
}

static void table_grow(struct table *t)
{
    uint32_t n = t->n_slots ? t->n_slots * 2 : 256;

    mem_free(t->slot);
    t->slot = mem_calloc(n, sizeof(*t->slot));
    t->n_slots = n;
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t h = (uint32_t)t->rows[i].hash & (n - 1);
        while (t->slot[h])
            h = (h + 1) & (n - 1);
        t->slot[h] = i + 1;
    }
}

static struct group_row *table_find(struct table *t, const struct qctx *q, uint64_t hash,
                                    struct bval id)
{
    if (!t->n_slots)
        return NULL;
    for (uint32_t h = (uint32_t)hash & (t->n_slots - 1); t->slot[h];
         h = (h + 1) & (t->n_slots - 1)) {
        struct group_row *r = &t->rows[t->slot[h] - 1];
        if (r->hash == hash && bval_cmp_in(q->collator, r->id, id) == 0)
            return r;
    }
    return NULL;
}

static RC table_add(struct table *t, const struct group *g, struct qctx *q, uint64_t hash,
                    struct bval id, struct group_row **out, struct err *e)
{
    if (t->n * 4 >= t->n_slots * 3)
        table_grow(t);
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 256;
        t->rows = mem_realloc(t->rows, sizeof(*t->rows) * t->cap);
    }
    struct group_row *r = &t->rows[t->n];
    r->id = bval_dup(t->mem, id);
    r->hash = hash;
    r->st = arena_alloc(t->mem, sizeof(*r->st) * ((size_t)g->n_accs + 1));
    for (int i = 0; i < g->n_accs; i++)
        TRY(acc_init(&g->accs[i], &r->st[i], t->mem, q, r->id, e));
    uint32_t h = (uint32_t)hash & (t->n_slots - 1);
    while (t->slot[h])
        h = (h + 1) & (t->n_slots - 1);
    t->slot[h] = ++t->n;
    *out = r;
    return RC_OK;
}

static size_t table_bytes(const struct table *t)
{
    return arena_used(t->mem) + t->cap * sizeof(*t->rows) + t->n_slots * sizeof(*t->slot);
}

/* ---- spilling ---- */

static RC spill_row(struct group_iter *gi, uint64_t hash, struct bval id, const struct bval *args,
                    int n, struct err *e)
{
    const struct agg_spill_ops *ops;
    int k = (int)(hash >> (60 - 4 * gi->level)) & (PARTITIONS - 1);
    struct arena *a = gi->it.r.q->scratch;
    struct slice names[2] = { SLICE_LIT("i"), SLICE_LIT("a") };
    struct bval v[2] = { id, BVAL_MISSING }, rec;
    struct fields f = fields_in(a);

    TRY(stage__may_spill(&gi->it.r, "$group", e));
    if (gi->level >= LEVELS_MAX)
        FAIL(e, ERR_EXCEEDED_MEMORY_LIMIT,
             "$group could not divide its groups further to fit in memory");
    ops = gi->it.r.env->spill;
    if (!gi->parts[k])
        TRY(ops->open(gi->it.r.env->env, &gi->parts[k], e));
    for (int i = 0; i < n; i++) /* a missing argument is a missing field */
        fields_push(&f, slice_str(arena_printf(a, "%d", i)), args[i]);
    TRY(fields_object(&f, &v[1], e));
    TRY(vals_object(a, names, v, 2, &rec, e));
    return spill_write_doc(ops, gi->parts[k], bval_doc(rec), e);
}

static RC add_row(struct group_iter *gi, struct bval id, const struct bval *args, struct err *e)
{
    const struct group *g = gi->it.s->data;
    size_t budget = stage__memory(&gi->it.r);
    uint64_t hash = hash_of(gi->it.r.q, id);
    struct group_row *r = table_find(&gi->t, gi->it.r.q, hash, id);

    if (!r) {
        if (gi->t.n > 0 && table_bytes(&gi->t) > stage__spill_at(&gi->it.r))
            return spill_row(gi, hash, id, args, g->n_accs, e);
        TRY(table_add(&gi->t, g, gi->it.r.q, hash, id, &r, e));
    } else if (table_bytes(&gi->t) > 2 * budget) {
        FAIL(e, ERR_EXCEEDED_MEMORY_LIMIT,
             "$group used too much memory in one group's accumulators: the limit is %zu bytes",
             budget);
    }
    for (int i = 0; i < g->n_accs; i++)
        TRY(acc_add(&g->accs[i], &r->st[i], gi->t.mem, args[i], e));
    return RC_OK;
}

/* After an input has ended: its partitions become inputs to come. */
static void queue_parts(struct group_iter *gi)
{
    for (int k = 0; k < PARTITIONS; k++) {
        if (!gi->parts[k])
            continue;
        struct pending *p = NEW(struct pending);
        *p = (struct pending){ .next = gi->pending, .file = gi->parts[k], .level = gi->level + 1 };
        gi->pending = p;
        gi->parts[k] = NULL;
    }
}

/* eval_arg(): MongoDB runs $group in an engine where division by zero has codes of its own. */
static RC eval_arg(const struct acc *a, struct qctx *q, struct bdoc d, struct bval *out,
                   struct err *e)
{
    rc_t rc = acc_eval(a, q, d, out, e);

    if (rc.failed && e && e->code == ERR_BAD_VALUE && strcmp(e->msg, "can't $divide by zero") == 0)
        e->code = ERR_LOC(4848401);
    else if (rc.failed && e && e->code == ERR_LOC(16610))
        e->code = ERR_LOC(4848403);
    return rc;
}

static RC load_input(struct group_iter *gi, struct err *e)
{
    const struct group *g = gi->it.s->data;
    struct qctx *q = gi->it.r.q;

    for (;;) {
        struct arena_mark mark = arena_mark(q->scratch);
        struct bdoc d;
        struct bval id;
        bool valid;
        TRY(iter_pull(&gi->it, &d, &valid, e));
        if (!valid)
            break;
        struct bval *args = arena_alloc(q->scratch, sizeof(*args) * ((size_t)g->n_accs + 1));
        TRY(stage__eval(g->id, q, d, &id, e));
        if (bval_is_missing(id))
            id = bval_new_null();
        for (int i = 0; i < g->n_accs; i++)
            TRY(eval_arg(&g->accs[i], q, d, &args[i], e));
        TRY(add_row(gi, id, args, e));
        arena_rewind(q->scratch, mark);
        TRY(qctx_check(q, e));
    }
    queue_parts(gi);
    return RC_OK;
}

static RC load_file(struct group_iter *gi, struct err *e)
{
    const struct group *g = gi->it.s->data;
    const struct agg_spill_ops *ops = gi->it.r.env->spill;
    struct qctx *q = gi->it.r.q;

    gi->level = gi->reading->level;
    TRY(ops->rewind(gi->reading->file, e));
    for (;;) {
        struct arena_mark mark = arena_mark(q->scratch);
        struct bdoc d;
        bool valid;
        char name[12];
        TRY(spill_read_doc(ops, gi->reading->file, &gi->rec, &d, &valid, e));
        if (!valid)
            break;
        struct bval *args = arena_alloc(q->scratch, sizeof(*args) * ((size_t)g->n_accs + 1));
        struct bdoc in = bval_doc(bdoc_get(d, "a"));
        for (int i = 0; i < g->n_accs; i++) {
            snprintf(name, sizeof(name), "%d", i);
            args[i] = bdoc_get(in, name);
        }
        TRY(add_row(gi, bdoc_get(d, "i"), args, e));
        arena_rewind(q->scratch, mark);
        TRY(qctx_check(q, e));
    }
    queue_parts(gi);
    return RC_OK;
}

static void close_pending(struct group_iter *gi, struct pending *p)
{
    if (!p)
        return;
    gi->it.r.env->spill->close(p->file);
    mem_free(p);
}

static RC emit(struct group_iter *gi, struct group_row *r, struct bdoc *doc, struct err *e)
{
    const struct group *g = gi->it.s->data;
    struct arena *a = gi->it.r.q->scratch;
    struct slice *names = arena_alloc(a, sizeof(*names) * ((size_t)g->n_accs + 1));
    struct bval *v = arena_alloc(a, sizeof(*v) * ((size_t)g->n_accs + 1)), o;

    names[0] = SLICE_LIT("_id");
    v[0] = r->id;
    for (int i = 0; i < g->n_accs; i++) {
        names[i + 1] = g->accs[i].field;
        TRY(acc_result(&g->accs[i], &r->st[i], a, &v[i + 1], e));
    }
    TRY(vals_object(a, names, v, (uint32_t)g->n_accs + 1, &o, e));
    *doc = bval_doc(o);
    return stage__check_made(*doc, e);
}

static RC group_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct group_iter *gi = (struct group_iter *)s;

    *valid = false;
    if (!gi->loaded) {
        TRY(load_input(gi, e));
        gi->loaded = true;
    }
    while (gi->t.at == gi->t.n) {
        if (!gi->pending)
            return RC_OK;
        close_pending(gi, gi->reading);
        gi->reading = gi->pending;
        gi->pending = gi->reading->next;
        table_fini(&gi->t);
        table_init(&gi->t);
        TRY(load_file(gi, e));
    }
    *valid = true;
    return emit(gi, &gi->t.rows[gi->t.at++], doc, e);
}

static void group_fini(struct iter *it)
{
    struct group_iter *gi = (struct group_iter *)it;

    table_fini(&gi->t);
    close_pending(gi, gi->reading);
    while (gi->pending) {
        struct pending *p = gi->pending;
        gi->pending = p->next;
        close_pending(gi, p);
    }
    for (int k = 0; k < PARTITIONS; k++)
        if (gi->parts[k])
            gi->it.r.env->spill->close(gi->parts[k]);
    buf_fini(&gi->rec);
}

static STAGE_OPEN(open_group)
{
    struct group_iter *gi = iter_new(sizeof(*gi), s, r, in, group_next, group_fini);

    (void)e;
    table_init(&gi->t);
    *out = &gi->it.src;
    return RC_OK;
}

/* {_id: {a: 1}} would read as a projection; a constant there is said with $literal. */
static RC check_id(struct bval id, struct err *e)
{
    struct biter it;

    if (id.type != BT_DOCUMENT)
        return RC_OK;
    biter_init(&it, bval_doc(id));
    while (biter_next(&it)) {
        if (it.name.len && it.name.p[0] == '$')
            return RC_OK;
        if (bval_is_number(it.val) || it.val.type == BT_BOOL)
            FAIL(e, ERR_LOC(17390), "$group does not support inclusion-style expressions");
    }
    return RC_OK;
}

STAGE_PARSE(stage__parse_group)
{
    struct group *g = ARENA_NEW(sp->q->arena, struct group);
    struct biter it;

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(15947), "a group's fields must be specified in an object");
    g->accs = ARENA_ARRAY(sp->q->arena, struct acc, bdoc_count(bval_doc(spec)) + 1);
    biter_init(&it, bval_doc(spec));
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "_id")) {
            if (g->id)
                FAIL(e, ERR_LOC(15948), "a group's _id may only be specified once");
            TRY(check_id(it.val, e));
            TRY(expr_parse(sp->q, it.val, &g->id, e));
            continue;
        }
        TRY(acc_parse_field(sp->q, it.name, it.val, &g->accs[g->n_accs], e));
        g->n_accs++;
    }
    if (!g->id)
        FAIL(e, ERR_LOC(15955), "a group specification must include an _id");
    pipeline__add(sp, def, spec, g)->open = open_group;
    return RC_OK;
}

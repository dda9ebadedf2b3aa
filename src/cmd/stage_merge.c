/* stage_merge.c - $merge: each document of the pipeline updates, replaces or joins the documents of a collection.
 *
 * Which document it meets is decided by the fields of `on`, for which the target must have a unique index. Each is one statement like those of update, so an
 * error leaves what else was merged.
 */
#include "cmd_stages.h"

#include "cmd_stmt.h"
#include "query/collate.h"

enum { ON_MAX = INDEX_FIELDS_MAX, MERGE_BATCH = 1000 };
enum matched { MATCHED_MERGE, MATCHED_REPLACE, MATCHED_KEEP, MATCHED_FAIL, MATCHED_PIPELINE };
enum unmatched { UNMATCHED_INSERT, UNMATCHED_DISCARD, UNMATCHED_FAIL };

struct merge_var {
    struct slice name;
    struct expr *x;
};

struct merge {
    struct cmd_stages *s;
    struct cmd_ns ns;
    struct slice on[ON_MAX];
    int n_on;
    const struct collator *collator; /* the command's; the index has it too */
    struct bval collation;           /* the same for statements; missing: the target's own */
    bool on_id;                      /* _id is one of them */
    bool null_key;                   /* the index holds documents without the fields */
    enum matched matched;
    enum unmatched unmatched;
    struct bval pipeline;
    struct merge_var *vars;
    int n_vars;
};

struct merge_args {
    struct bval into, on, let, matched, unmatched;
};
struct into_args {
    struct bval db, coll;
};

static RC parse_into(struct merge *m, struct qctx *q, struct bval v, bool short_form, struct err *e)
{
    static const struct arg table[] = {
        ARG(struct into_args, db, "db", ARG_ANY, 0),
        ARG(struct into_args, coll, "coll", ARG_ANY, 0),
    };
    static const char *const reserved[] = { "admin", "config", "local" };
    struct into_args a = { 0 };

    if (v.type != BT_STRING && v.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(51178),
             "$merge 'into' field must be either a string or an object, but found %s",
             btype_name(v.type));
    if (v.type == BT_STRING)
        a.coll = v;
    else
        TRY(cmd_fields(bval_doc(v), "$merge.into", table, ARRAY_LEN(table), &a, e));
    if (bval_is_nullish(a.coll))
        FAIL(e, ERR_LOC(5786801), "$merge 'into' field must specify a 'coll' that is not empty");
    if (a.coll.type != BT_STRING)
        return cmd_wrong_type("$merge.into", "coll", a.coll, "string", e);
    if (!bval_is_nullish(a.db) && a.db.type != BT_STRING)
        return cmd_wrong_type("$merge.into", "db", a.db, "string", e);
    struct slice db = a.db.type == BT_STRING && bval_str(a.db).len ? bval_str(a.db) : m->s->r->db,
                 coll = bval_str(a.coll);
    if (coll.len == 0)
        FAIL(e, short_form ? ERR_INVALID_NAMESPACE : ERR_LOC(5786800),
             "$merge needs the name of a collection");
    TRY(catalog_db_check(db, e));
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (slice_eq_str(db, reserved[i]))
            FAIL(e, ERR_LOC(31320), "Cannot $merge to internal database: %s", reserved[i]);
    if (slice_has_prefix(coll, SLICE_LIT("system.")))
        FAIL(e, ERR_LOC(31319), "Cannot $merge to special collection: %.*s",
             (int)MIN(coll.len, 100u), coll.p);
    TRY(catalog_ns_check(db, coll, e));
    m->ns = (struct cmd_ns){ .db = db, .coll = coll };
    m->ns.ns = arena_printf(q->arena, "%.*s.%.*s", (int)db.len, db.p, (int)coll.len, coll.p);
    return RC_OK;
}

static RC add_on(struct merge *m, struct qctx *q, struct slice path, struct err *e)
{
    const struct slice *parts;
    int n;

    if (path.len == 0)
        FAIL(e, ERR_LOC(40352), "FieldPath cannot be constructed with empty string");
    if (path.p[path.len - 1] == '.')
        FAIL(e, ERR_LOC(40353), "FieldPath must not end with a '.'.");
    if (memchr(path.p, 0, path.len))
        FAIL(e, ERR_LOC(16411), "FieldPath field names may not contain '\\0'.");
    TRY(expr_split_path(q->arena, path, &parts, &n, e));
    for (int i = 0; i < m->n_on; i++)
        if (slice_eq(m->on[i], path))
            FAIL(e, ERR_LOC(31465), "Found a duplicate field '%.*s'", (int)MIN(path.len, 100u),
                 path.p);
    if (m->n_on == ON_MAX)
        FAIL(e, ERR_LOC(51183), "Cannot find index to verify that join fields will be unique");
    m->on_id |= slice_eq_str(path, "_id");
    m->on[m->n_on++] = path;
    return RC_OK;
}

static RC parse_on(struct merge *m, struct qctx *q, struct bval v, struct err *e)
{
    struct biter it;

    if (bval_is_missing(v))
        return add_on(m, q, SLICE_LIT("_id"), e);
    if (v.type == BT_STRING)
        return add_on(m, q, bval_str(v), e);
    if (v.type != BT_ARRAY)
        FAIL(e, ERR_LOC(51186),
             "$merge 'on' field must be either a string or an array of strings, but found %s",
             btype_name(v.type));
    if (bdoc_is_empty(bval_doc(v)))
        FAIL(e, ERR_LOC(51187),
             "If explicitly specifying $merge 'on', must include at least one field");
    biter_init(&it, bval_doc(v));
    while (biter_next(&it))
        if (it.val.type != BT_STRING)
            FAIL(e, ERR_LOC(51134), "$merge 'on' array elements must be strings, but found %s",
                 btype_name(it.val.type));
    biter_init(&it, bval_doc(v));
    while (biter_next(&it))
        TRY(add_on(m, q, bval_str(it.val), e));
    return RC_OK;
}

static RC parse_modes(struct merge *m, struct bval matched, struct bval unmatched, struct err *e)
{
    static const char *const names[] = { "merge", "replace", "keepExisting", "fail" },
                             *const others[] = { "insert", "discard", "fail" };
    size_t i;

    if (matched.type == BT_ARRAY) {
        struct biter it;
        m->matched = MATCHED_PIPELINE;
        m->pipeline = matched;
        biter_init(&it, bval_doc(matched));
        while (biter_next(&it))
            if (it.val.type != BT_DOCUMENT)
                FAIL(e, ERR_TYPE_MISMATCH,
                     "Each element of the 'pipeline' array must be an object");
    } else if (!bval_is_missing(matched)) {
        if (matched.type != BT_STRING)
            FAIL(e, ERR_LOC(51191),
                 "$merge 'whenMatched' field must be either a string or an array, but found %s",
                 btype_name(matched.type));
        for (i = 0; i < ARRAY_LEN(names) && !slice_eq_str(bval_str(matched), names[i]); i++)
            ;
        if (i == ARRAY_LEN(names))
            FAIL(e, ERR_BAD_VALUE,
                 "Enumeration value '%.*s' for field '$merge.whenMatched' is not a valid value.",
                 (int)MIN(bval_str(matched).len, 64u), bval_str(matched).p);
        m->matched = (enum matched)i;
    }
    if (!bval_is_nullish(unmatched)) {
        if (unmatched.type != BT_STRING)
            return cmd_wrong_type("$merge", "whenNotMatched", unmatched, "string", e);
        for (i = 0; i < ARRAY_LEN(others) && !slice_eq_str(bval_str(unmatched), others[i]); i++)
            ;
        if (i == ARRAY_LEN(others))
            FAIL(e, ERR_BAD_VALUE,
                 "Enumeration value '%.*s' for field '$merge.whenNotMatched' is not a valid value.",
                 (int)MIN(bval_str(unmatched).len, 64u), bval_str(unmatched).p);
        m->unmatched = (enum unmatched)i;
    }
    if ((m->matched == MATCHED_KEEP || m->matched == MATCHED_FAIL) &&
        m->unmatched != UNMATCHED_INSERT)
        FAIL(e, ERR_LOC(51181),
             "Combination of {whenMatched: %s, whenNotMatched: %s} is not supported",
             names[m->matched], others[m->unmatched]);
    return RC_OK;
}

static RC parse_let(struct merge *m, struct qctx *q, struct bval let, struct err *e)
{
    struct biter it;

    if (!bval_is_nullish(let) && let.type != BT_DOCUMENT)
        return cmd_wrong_type("$merge", "let", let, "object", e);
    if (!bval_is_nullish(let) && m->matched != MATCHED_PIPELINE)
        FAIL(e, ERR_LOC(51199),
             "Cannot use 'let' variables with 'whenMatched' other than a pipeline");
    if (m->matched != MATCHED_PIPELINE)
        return RC_OK;
    struct bdoc vars = let.type == BT_DOCUMENT ? bval_doc(let) : BDOC_EMPTY;
    m->vars = ARENA_ARRAY(q->arena, struct merge_var, bdoc_count(vars) + 1);
    biter_init(&it, vars);
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "new")) {
            if (it.val.type != BT_STRING || !slice_eq_str(bval_str(it.val), "$$ROOT"))
                FAIL(
                    e, ERR_LOC(51273),
                    "'let' may not define a value for the reserved 'new' variable other than '$$ROOT'");
            continue;
        }
        TRY(expr_check_var_name(it.name, e));
        struct merge_var *v = &m->vars[m->n_vars++];
        v->name = it.name;
        TRY(expr_parse(q, it.val, &v->x, e));
    }
    return RC_OK; /* the pipeline itself is parsed with the first document that needs it */
}

static bool names_field(const struct merge *m, struct slice path)
{
    for (int i = 0; i < m->n_on; i++)
        if (slice_eq(m->on[i], path))
            return true;
    return false;
}

/* Some unique index over just these fields, in any order; of two, the one that holds documents without them. */
static RC check_index(struct merge *m, struct catalog_coll *target, struct err *e)
{
    struct coll_indexes *l = NULL;
    bool found = false;

    m->null_key = false;
    if (!target)
        found = m->n_on == 1 && m->on_id;
    if (target) {
        TRY(coll_ref_indexes(target, &l, e));
        for (int i = 0; i < l->n; i++) {
            const struct index_def *d = l->v[i];
            bool fits = d->unique && !d->partial && d->n_fields == m->n_on &&
                        collation_same(d->collator, m->collator);
            for (int k = 0; fits && k < d->n_fields; k++)
                fits = names_field(m, d->fields[k].path);
            found |= fits;
            m->null_key |= fits && !d->sparse && !d->is_id;
        }
        coll_indexes_unref(l);
    }
    if (!found)
        FAIL(e, ERR_LOC(51183), "Cannot find index to verify that join fields will be unique");
    return RC_OK;
}

/* compare_as(): how the statements compare: as the pipeline, whatever the target does by default. */
static struct bval compare_as(struct arena *a, const struct collator *c)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    if (c)
        return bval_of_doc(collation_doc(c), BT_DOCUMENT);
    bw_init(&w, &b);
    bw_str(&w, "locale", "simple");
    return bval_of_doc(bw_done_arena(&w, a), BT_DOCUMENT);
}

static RC parse(struct cmd_stages *s, struct qctx *q, struct bval spec, struct merge *m,
                struct err *e)
{
    static const struct arg table[] = {
        ARG(struct merge_args, into, "into", ARG_ANY, 0),
        ARG(struct merge_args, on, "on", ARG_ANY, 0),
        ARG(struct merge_args, let, "let", ARG_ANY, 0),
        ARG(struct merge_args, matched, "whenMatched", ARG_ANY, 0),
        ARG(struct merge_args, unmatched, "whenNotMatched", ARG_ANY, 0),
    };
    struct merge_args a = { 0 };

    *m = (struct merge){ .s = s, .collator = q->collator };
    if (spec.type != BT_STRING && spec.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH, "$merge requires a string or object argument, but found %s",
             btype_name(spec.type));
    if (spec.type == BT_STRING)
        a.into = spec;
    else
        TRY(cmd_fields(bval_doc(spec), "$merge", table, ARRAY_LEN(table), &a, e));
    if (bval_is_missing(a.into))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field '$merge.into' is missing but a required field");
    TRY(parse_into(m, q, a.into, spec.type == BT_STRING, e));
    TRY(parse_modes(m, a.matched, a.unmatched, e));
    TRY(parse_on(m, q, a.on, e));
    TRY(parse_let(m, q, a.let, e));
    AUTO(catalog_coll_unrefp) struct catalog_coll *target = cmd_coll(s->r, &m->ns);
    TRY(cmd_not_view(target, e));
    const struct collator *own;
    TRY(exec_collator(target, q->arena, &own, e));
    if (!collation_same(own, m->collator))
        m->collation = compare_as(q->arena, m->collator);
    return check_index(m, target, e);
}

RC cmd_stage_check_merge(struct cmd_stages *s, struct qctx *q, struct bval spec, struct err *e)
{
    struct merge m;

    return parse(s, q, spec, &m, e);
}

/* ---- Running ---- */

/* One document and what is made of it; all in r's arena, which is its own. */
struct step {
    struct cmd_req *r;
    /* as it would be stored; without _id when it has none and `on` does not ask for it */
    struct bdoc doc;
    struct bdoc filter;
};

static RC key_value(const struct merge *m, struct bdoc doc, struct slice path, struct bval *out,
                    struct err *e)
{
    struct bval v = bval_of_doc(doc, BT_DOCUMENT);
    const uint8_t *p = path.p, *end = path.p + path.len;

    while (p && v.type == BT_DOCUMENT) {
        const uint8_t *dot = memchr(p, '.', (size_t)(end - p));
        v = bdoc_get_slice(bval_doc(v), SLICE(p, (size_t)((dot ? dot : end) - p)));
        p = dot ? dot + 1 : NULL;
    }
    if (v.type == BT_ARRAY)
        FAIL(e, ERR_LOC(51185), "$merge write error: 'on' field '%.*s' is an array",
             (int)MIN(path.len, 100u), path.p);
    if (p)
        v = BVAL_MISSING;
    if (bval_is_nullish(v) && !m->null_key)
        FAIL(e, ERR_LOC(51132),
             "$merge write error: 'on' field '%.*s' cannot be missing, null or undefined",
             (int)MIN(path.len, 100u), path.p);
    *out = bval_is_missing(v) ? bval_new_null() : v;
    return RC_OK;
}

static struct bdoc without_id(struct arena *a, struct bdoc doc)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct biter it;
    struct bw w;

    bw_init(&w, &b);
    biter_init(&it, doc);
    while (biter_next(&it))
        if (!slice_eq_str(it.name, "_id"))
            bw_val_slice(&w, it.name, it.val);
    return bw_done_arena(&w, a);
}

static RC prepare(const struct merge *m, struct step *x, struct bdoc doc, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;
    bool has_id = !bval_is_missing(bdoc_get(doc, "_id"));

    doc = (struct bdoc){ .p = arena_dup(x->r->arena, doc.p, doc.len), .len = doc.len };
    TRY(cmd_prepare_insert(x->r->arena, doc, &x->doc, e));
    if (!has_id && !m->on_id)
        x->doc = without_id(x->r->arena, x->doc);
    bw_init(&w, &b);
    for (int i = 0; i < m->n_on; i++) {
        struct bval v;
        TRY(key_value(m, x->doc, m->on[i], &v, e));
        bw_doc_begin(&w, arena_strndup(x->r->arena, (const char *)m->on[i].p, m->on[i].len));
        bw_val(&w, "$eq", v);
        bw_doc_end(&w);
    }
    x->filter = bw_done_arena(&w, x->r->arena);
    return RC_OK;
}

static RC insert(const struct merge *m, struct step *x, struct err *e)
{
    struct inserter in = { .r = x->r, .ns = &m->ns, .bypass = m->s->bypass };
    struct bdoc doc;

    rc_t rc = cmd_prepare_insert(x->r->arena, x->doc, &doc, e);
    if (!rc.failed)
        rc = cmd_inserter_add(&in, doc, e);
    if (!rc.failed)
        rc = cmd_inserter_commit(&in, STORE_NOSYNC, e);
    cmd_inserter_fini(&in);
    return rc;
}

/* The variables of the pipeline: `new` and those of let; one whose value is missing is not defined. */
static RC variables(const struct merge *m, const struct qctx *q, struct step *x, struct bval *out,
                    struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct qctx own = *q;
    struct bval root = bval_of_doc(x->doc, BT_DOCUMENT);
    struct expr_env env = { .q = &own, .root = root, .current = root };
    struct bw w;

    own.scratch = x->r->arena;
    bw_init(&w, &b);
    bw_doc(&w, "new", x->doc);
    for (int i = 0; i < m->n_vars; i++) {
        struct bval v;
        TRY(expr_eval(m->vars[i].x, &env, &v, e));
        if (!bval_is_missing(v))
            bw_val_slice(&w, m->vars[i].name, v);
    }
    *out = bval_of_doc(bw_done_arena(&w, x->r->arena), BT_DOCUMENT);
    return RC_OK;
}

static struct bval modifier(struct arena *a, const char *name, struct bdoc doc)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    bw_init(&w, &b);
    bw_doc(&w, name, doc);
    return bval_of_doc(bw_done_arena(&w, a), BT_DOCUMENT);
}

static RC merge_one(const struct merge *m, const struct qctx *q, struct step *x, struct err *e)
{
    struct write_run run = { .r = x->r, .ns = &m->ns, .let = q->let, .bypass = m->s->bypass };
    bool pipeline = m->matched == MATCHED_PIPELINE;
    struct update_stmt st = { .q = bval_of_doc(x->filter, BT_DOCUMENT),
                              .collation = m->collation,
                              .upsert = m->unmatched == UNMATCHED_INSERT && !pipeline };

    switch (m->matched) {
    case MATCHED_MERGE: st.u = modifier(x->r->arena, "$set", x->doc); break;
    case MATCHED_REPLACE: st.u = bval_of_doc(x->doc, BT_DOCUMENT); break;
    case MATCHED_KEEP: st.u = modifier(x->r->arena, "$setOnInsert", x->doc); break;
    case MATCHED_FAIL: return insert(m, x, e);
    case MATCHED_PIPELINE:
        st.u = m->pipeline;
        TRY(variables(m, q, x, &st.c, e));
        break;
    }
    for (int attempt = 0;; attempt++) {
        struct write_result one;
        struct err why = { 0 };

        TRY(cmd_update_one(&run, &st, &one, e));
        if (one.n_matched || st.upsert || m->unmatched == UNMATCHED_DISCARD)
            return RC_OK;
        if (m->unmatched == UNMATCHED_FAIL)
            FAIL(
                e, ERR_LOC(13113),
                "$merge could not find a matching document in the target collection for at least one document in the source collection");
        if (!insert(m, x, &why).failed)
            return RC_OK;
        if (why.code != ERR_DUPLICATE_KEY || attempt > 0)
            return err_take(e, &why);
        err_reset(&why); /* somebody else inserted it just now */
    }
}

/* A document that cannot be merged does not keep the others of its batch from it; the first error is the stage's. */
static RC merge_all(struct merge *m, struct qctx *q, struct doc_source *in, struct err *e)
{
    AUTO(arena_freep) struct arena *work =
        arena_new((size_t)m->s->r->node->limits.request_memory_bytes);
    AUTO(arena_freep) struct arena *scratch = arena_new(0);
    struct cmd_req own = *m->s->r;
    struct step x = { .r = &own };

    own.arena = work;
    own.scratch = scratch;
    for (int n = 1;; n++) {
        struct bdoc doc;
        struct err why = { 0 };
        bool valid;

        arena_reset(q->scratch);
        arena_reset(work);
        arena_reset(scratch);
        TRY(in->next(in, &doc, &valid, e));
        if (!valid)
            return e->code ? RC_FAILED : RC_OK;
        TRY(prepare(m, &x, doc, e));
        if (!merge_one(m, q, &x, &why).failed)
            continue;
        if (e->code == 0 || cmd_is_fatal(&why)) {
            err_reset(e);
            *e = why;
        } else {
            err_reset(&why);
        }
        if (cmd_is_fatal(e) || n % MERGE_BATCH == 0)
            return RC_FAILED;
    }
}

RC cmd_stage_open_merge(struct cmd_stages *s, struct qctx *q, struct bval spec,
                        struct doc_source *in, struct doc_source **out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct merge m;
    struct bw w;

    if (s->explain) {
        *out = in;
        return RC_OK;
    }
    rc_t rc = parse(s, q, spec, &m, e);
    if (!rc.failed)
        rc = merge_all(&m, q, in, e);
    doc_source_close(in);
    if (!rc.failed && cmd_durability(s->r) == STORE_SYNC)
        rc = store_sync(s->r->node->store, e);
    if (rc.failed)
        return rc;
    bw_init(&w, &b);
    bw_array_begin(&w, "d");
    bw_array_end(&w);
    *out = cmd_stage_docs(q, &w);
    return RC_OK;
}

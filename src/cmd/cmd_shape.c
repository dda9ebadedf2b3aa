/* cmd_shape.c - the shape of a query: operators, names of fields and stages, with every constant replaced by the name of its type.
 *
 *   {a: 1, b: {$in: [2, 3]}}  ─▶  {$and: [{a: {$eq: "?number"}}, {b: {$in: "?array<?number>"}}]}
 *
 * Ways to write the same are one shape: {a: 1} and {a: {$eq: 1}}, {a: 1, b: 1} and {$and: [{a: 1}, {b: 1}]}. The order of conditions is kept.
 */
#include "cmd_shape.h"

#include "crypto/kdf.h"

struct shaper {
    struct arena *a;
    struct bw w;
};

static bool in_list(struct slice s, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (slice_eq_str(s, list[i]))
            return true;
    return false;
}

/* A name without bytes stands for the next place of an array. */
static void put(struct shaper *s, struct slice name, struct bval v)
{
    if (name.p)
        bw_val_slice(&s->w, name, v);
    else
        bw_val(&s->w, NULL, v);
}

static void doc_begin(struct shaper *s, struct slice name)
{
    if (name.p)
        bw_doc_begin_slice(&s->w, name);
    else
        bw_doc_begin(&s->w, NULL);
}

static void array_begin(struct shaper *s, struct slice name)
{
    if (name.p)
        bw_array_begin_slice(&s->w, name);
    else
        bw_array_begin(&s->w, NULL);
}

static const char *type_word(struct bval v)
{
    return bval_is_number(v) ? "number" : btype_name(v.type);
}

/* An array whose elements are of one kind says of which. */
static const char *element_word(struct bdoc array)
{
    const char *word = NULL;
    struct biter it;

    biter_init(&it, array);
    while (biter_next(&it)) {
        const char *next = type_word(it.val);
        if (word && strcmp(word, next) != 0)
            return "";
        word = next;
    }
    return word ? word : "";
}

static void put_constant(struct shaper *s, struct slice name, struct bval v)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    if (v.type == BT_ARRAY) {
        const char *word = element_word(bval_doc(v));
        buf_printf(&b, "?array<%s%s>", *word ? "?" : "", word);
    } else {
        buf_printf(&b, "?%s", type_word(v));
    }
    put(s, name, bval_new_str(s->a, buf_view(&b)));
}

/* ---- expressions ---- */

/* Where a string is a name and no constant. */
static bool is_naming(struct slice field)
{
    static const char *const names[] = { "from",
                                         "as",
                                         "localField",
                                         "foreignField",
                                         "coll",
                                         "into",
                                         "db",
                                         "path",
                                         "on",
                                         "whenMatched",
                                         "whenNotMatched",
                                         "unit",
                                         "field",
                                         "granularity",
                                         "method",
                                         "bounds",
                                         "includeArrayIndex",
                                         "connectFromField",
                                         "connectToField",
                                         "depthField",
                                         "partitionByFields" };

    return in_list(field, names, ARRAY_LEN(names));
}

static void put_stages(struct shaper *s, struct slice name, struct bdoc stages);
static void put_filter(struct shaper *s, struct bdoc filter);

static void put_expr(struct shaper *s, struct slice name, struct bval v)
{
    struct biter it;

    if (v.type == BT_STRING &&
        (slice_has_prefix(bval_str(v), SLICE_LIT("$")) || (name.p && is_naming(name)))) {
        put(s, name, v);
        return;
    }
    if (v.type == BT_ARRAY && name.p && slice_eq_str(name, "pipeline")) {
        put_stages(s, name, bval_doc(v));
        return;
    }
    if (v.type != BT_DOCUMENT && v.type != BT_ARRAY) {
        put_constant(s, name, v);
        return;
    }
    if (v.type == BT_ARRAY)
        array_begin(s, name);
    else
        doc_begin(s, name);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        struct slice key = v.type == BT_ARRAY ? SLICE_EMPTY : it.name;
        if (key.p && (slice_eq_str(key, "$literal") || slice_eq_str(key, "$const")))
            put_constant(s, key, it.val);
        else
            put_expr(s, key, it.val);
    }
    if (v.type == BT_ARRAY)
        bw_array_end(&s->w);
    else
        bw_doc_end(&s->w);
}

/* ---- filters ---- */

static void put_ops(struct shaper *s, struct bdoc ops);

static bool is_ops(struct bval v)
{
    struct biter it;

    if (v.type != BT_DOCUMENT)
        return false;
    biter_init(&it, bval_doc(v));
    return biter_next(&it) && it.name.len && it.name.p[0] == '$' &&
           !slice_eq_str(it.name, "$ref") && !slice_eq_str(it.name, "$id") &&
           !slice_eq_str(it.name, "$db");
}

static bool is_logical(struct slice name)
{
    static const char *const names[] = { "$and", "$or", "$nor", "$expr" };

    return in_list(name, names, ARRAY_LEN(names));
}

/* A document of operators, or of conditions on the fields of an element. */
static void put_elem_match(struct shaper *s, struct slice name, struct bval v)
{
    struct biter it;

    doc_begin(s, name);
    biter_init(&it, bval_doc(v));
    if (is_ops(v) && biter_next(&it) && !is_logical(it.name))
        put_ops(s, bval_doc(v));
    else
        put_filter(s, bval_doc(v));
    bw_doc_end(&s->w);
}

/* $type takes numbers and names, one or a list. */
static void put_type_list(struct shaper *s, struct bval v)
{
    struct biter it;

    bw_array_begin(&s->w, "$type");
    if (v.type == BT_ARRAY) {
        biter_init(&it, bval_doc(v));
        while (biter_next(&it))
            bw_val(&s->w, NULL, it.val);
    } else {
        bw_val(&s->w, NULL, v);
    }
    bw_array_end(&s->w);
}

static void put_not(struct shaper *s, const char *op, struct bval v)
{
    bw_doc_begin(&s->w, "$not");
    put_constant(s, slice_str(op), v);
    bw_doc_end(&s->w);
}

static void put_exists(struct shaper *s, bool exists)
{
    if (!exists)
        bw_doc_begin(&s->w, "$not");
    bw_bool(&s->w, "$exists", true);
    if (!exists)
        bw_doc_end(&s->w);
}

static void put_all(struct shaper *s, struct bval v)
{
    struct biter it;

    bw_array_begin(&s->w, "$all");
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        struct bval inner =
            it.val.type == BT_DOCUMENT ? bdoc_get(bval_doc(it.val), "$elemMatch") : BVAL_MISSING;
        if (inner.type == BT_DOCUMENT)
            put_elem_match(s, SLICE_EMPTY, inner);
        else
            put_constant(s, SLICE_EMPTY, it.val);
    }
    bw_array_end(&s->w);
}

static void put_op(struct shaper *s, struct slice op, struct bval v)
{
    if (slice_eq_str(op, "$ne")) {
        put_not(s, "$eq", v);
    } else if (slice_eq_str(op, "$nin")) {
        put_not(s, "$in", v);
    } else if (slice_eq_str(op, "$exists")) {
        put_exists(s, bval_truthy(v));
    } else if (slice_eq_str(op, "$type")) {
        put_type_list(s, v);
    } else if (slice_eq_str(op, "$not") && v.type == BT_DOCUMENT) {
        bw_doc_begin(&s->w, "$not");
        put_ops(s, bval_doc(v));
        bw_doc_end(&s->w);
    } else if (slice_eq_str(op, "$not")) {
        put_not(s, "$regex", v);
    } else if (slice_eq_str(op, "$elemMatch") && v.type == BT_DOCUMENT) {
        put_elem_match(s, op, v);
    } else if (slice_eq_str(op, "$all") && v.type == BT_ARRAY) {
        put_all(s, v);
    } else if (slice_eq_str(op, "$regex")) {
        bw_str(&s->w, "$regex", "?string"); /* a pattern, however it was written */
    } else {
        put_constant(s, op, v);
    }
}

static void put_ops(struct shaper *s, struct bdoc ops)
{
    struct biter it;

    biter_init(&it, ops);
    while (biter_next(&it))
        put_op(s, it.name, it.val);
}

/* put_conjuncts(): each condition as a document of its own. */
static void put_conjuncts(struct shaper *s, struct bdoc filter);

static void put_list(struct shaper *s, struct slice name, struct bval list)
{
    struct biter it;

    array_begin(s, name);
    biter_init(&it, bval_doc(list));
    while (biter_next(&it)) {
        bw_doc_begin(&s->w, NULL);
        if (it.val.type == BT_DOCUMENT)
            put_filter(s, bval_doc(it.val));
        bw_doc_end(&s->w);
    }
    bw_array_end(&s->w);
}

static void put_top_level(struct shaper *s, struct slice name, struct bval v)
{
    if (v.type == BT_ARRAY)
        put_list(s, name, v);
    else if (slice_eq_str(name, "$expr"))
        put_expr(s, name, v);
    else if (slice_eq_str(name, "$jsonSchema"))
        put(s, name, v); /* what it asks of a document is its shape */
    else if (v.type == BT_DOCUMENT)
        put_expr(s, name, v);
    else
        put_constant(s, name, v);
}

static void put_field_op(struct shaper *s, struct slice path, struct slice op, struct bval v)
{
    doc_begin(s, path);
    put_op(s, op, v);
    bw_doc_end(&s->w);
}

static bool joins_others(struct slice op)
{
    return slice_eq_str(op, "$options") || slice_eq_str(op, "$maxDistance") ||
           slice_eq_str(op, "$minDistance");
}

/* put_field(): the conditions on one path; wrap: each in a document of its own. */
static void put_field(struct shaper *s, struct slice path, struct bval v, bool wrap)
{
    struct biter it;

    if (!is_ops(v)) {
        if (wrap)
            bw_doc_begin(&s->w, NULL);
        put_field_op(s, path, v.type == BT_REGEX ? SLICE_LIT("$regex") : SLICE_LIT("$eq"), v);
        if (wrap)
            bw_doc_end(&s->w);
        return;
    }
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        if (joins_others(it.name))
            continue;
        if (wrap)
            bw_doc_begin(&s->w, NULL);
        put_field_op(s, path, it.name, it.val);
        if (wrap)
            bw_doc_end(&s->w);
    }
}

static void put_conjuncts(struct shaper *s, struct bdoc filter)
{
    struct biter it;

    biter_init(&it, filter);
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "$comment"))
            continue;
        if (it.name.len && it.name.p[0] == '$') {
            bw_doc_begin(&s->w, NULL);
            put_top_level(s, it.name, it.val);
            bw_doc_end(&s->w);
        } else {
            put_field(s, it.name, it.val, true);
        }
    }
}

static int n_conjuncts(struct bdoc filter)
{
    struct biter it, op;
    int n = 0;

    biter_init(&it, filter);
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "$comment"))
            continue;
        if ((it.name.len && it.name.p[0] == '$') || !is_ops(it.val)) {
            n++;
            continue;
        }
        biter_init(&op, bval_doc(it.val));
        while (biter_next(&op))
            n += !joins_others(op.name);
    }
    return n;
}

static void put_filter(struct shaper *s, struct bdoc filter)
{
    struct biter it;

    if (n_conjuncts(filter) > 1) {
        bw_array_begin(&s->w, "$and");
        put_conjuncts(s, filter);
        bw_array_end(&s->w);
        return;
    }
    biter_init(&it, filter);
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "$comment"))
            continue;
        if (it.name.len && it.name.p[0] == '$')
            put_top_level(s, it.name, it.val);
        else
            put_field(s, it.name, it.val, false);
    }
}

/* ---- pipelines ---- */

/* Stages whose numbers and strings are part of what they are. */
static bool is_kept_whole(struct slice stage)
{
    static const char *const names[] = { "$sort", "$count", "$unset", "$out", "$merge", "$unwind" };

    return in_list(stage, names, ARRAY_LEN(names));
}

static void put_projection(struct shaper *s, struct slice name, struct bdoc spec)
{
    struct biter it;

    doc_begin(s, name);
    biter_init(&it, spec);
    while (biter_next(&it)) {
        if (bval_is_number(it.val) || it.val.type == BT_BOOL)
            bw_val_slice(&s->w, it.name, bval_new_bool(s->a, bval_truthy(it.val)));
        else
            put_expr(s, it.name, it.val);
    }
    bw_doc_end(&s->w);
}

static void put_stage(struct shaper *s, struct slice name, struct bval spec)
{
    struct biter it;

    if (slice_eq_str(name, "$match") && spec.type == BT_DOCUMENT) {
        doc_begin(s, name);
        put_filter(s, bval_doc(spec));
        bw_doc_end(&s->w);
    } else if (is_kept_whole(name) ||
               (slice_eq_str(name, "$unionWith") && spec.type == BT_STRING)) {
        put(s, name, spec);
    } else if (slice_eq_str(name, "$project") && spec.type == BT_DOCUMENT) {
        put_projection(s, name, bval_doc(spec));
    } else if (slice_eq_str(name, "$facet") && spec.type == BT_DOCUMENT) {
        doc_begin(s, name);
        biter_init(&it, bval_doc(spec));
        while (biter_next(&it))
            if (it.val.type == BT_ARRAY)
                put_stages(s, it.name, bval_doc(it.val));
        bw_doc_end(&s->w);
    } else {
        put_expr(s, name, spec);
    }
}

static void put_stages(struct shaper *s, struct slice name, struct bdoc stages)
{
    struct biter it, stage;

    array_begin(s, name);
    biter_init(&it, stages);
    while (biter_next(&it)) {
        bw_doc_begin(&s->w, NULL);
        if (it.val.type == BT_DOCUMENT) {
            biter_init(&stage, bval_doc(it.val));
            if (biter_next(&stage))
                put_stage(s, stage.name, stage.val);
        }
        bw_doc_end(&s->w);
    }
    bw_array_end(&s->w);
}

/* ---- commands ---- */

static void put_let(struct shaper *s, struct bdoc let)
{
    struct biter it;

    bw_doc_begin(&s->w, "let");
    biter_init(&it, let);
    while (biter_next(&it))
        put_expr(s, it.name, it.val);
    bw_doc_end(&s->w);
}

static void put_field_of_command(struct shaper *s, struct slice name, struct bval v)
{
    static const char *const kept[] = { "sort",        "collation", "key",
                                        "singleBatch", "returnKey", "showRecordId",
                                        "tailable",    "awaitData", "allowDiskUse" };
    static const char *const constants[] = { "limit", "skip" };

    if (slice_eq_str(name, "filter") || slice_eq_str(name, "query")) {
        doc_begin(s, name);
        if (v.type == BT_DOCUMENT)
            put_filter(s, bval_doc(v));
        bw_doc_end(&s->w);
    } else if (slice_eq_str(name, "projection") && v.type == BT_DOCUMENT) {
        put_projection(s, name, bval_doc(v));
    } else if (slice_eq_str(name, "pipeline") && v.type == BT_ARRAY) {
        put_stages(s, name, bval_doc(v));
    } else if (slice_eq_str(name, "let") && v.type == BT_DOCUMENT) {
        put_let(s, bval_doc(v));
    } else if ((slice_eq_str(name, "min") || slice_eq_str(name, "max")) && v.type == BT_DOCUMENT) {
        put_expr(s, name, v);
    } else if (in_list(name, kept, ARRAY_LEN(kept))) {
        put(s, name, v);
    } else if (in_list(name, constants, ARRAY_LEN(constants))) {
        put_constant(s, name, v);
    }
}

struct bdoc cmd_query_shape(struct arena *a, const char *command, const struct cmd_ns *ns,
                            struct bdoc body)
{
    static const char *const order[] = { "filter",      "query",     "key",          "pipeline",
                                         "projection",  "sort",      "limit",        "skip",
                                         "min",         "max",       "let",          "collation",
                                         "singleBatch", "returnKey", "showRecordId", "allowDiskUse",
                                         "tailable",    "awaitData" };
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct shaper s = { .a = a };

    bw_init(&s.w, &b);
    bw_doc_begin(&s.w, "cmdNs");
    bw_str_slice(&s.w, "db", ns->db);
    bw_str_slice(&s.w, "coll", ns->coll);
    bw_doc_end(&s.w);
    bw_str(&s.w, "command", command);
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        struct bval v = bdoc_get(body, order[i]);
        if (!bval_is_nullish(v))
            put_field_of_command(&s, slice_str(order[i]), v);
    }
    return bw_done_arena(&s.w, a);
}

RC cmd_hash_text(struct arena *a, struct slice text, size_t n, const char **out, struct err *e)
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t hash[SHA256_LEN];
    char *s = arena_alloc(a, n + 1);

    INVARIANT(n <= 2 * sizeof(hash));
    TRY(sha256(&text, 1, hash, e));
    for (size_t i = 0; i < n; i++)
        s[i] = digits[i % 2 ? hash[i / 2] & 15 : hash[i / 2] >> 4];
    s[n] = 0;
    *out = s;
    return RC_OK;
}

/* ---- what plans depend on behind the scan ---- */

struct fields {
    struct buf b;
    bool whole; /* any field may be needed */
};

static void note_paths(struct fields *f, struct bval v)
{
    struct biter it;

    if (v.type == BT_STRING && slice_has_prefix(bval_str(v), SLICE_LIT("$"))) {
        struct slice s = bval_str(v);
        if (slice_has_prefix(s, SLICE_LIT("$$ROOT")) || slice_has_prefix(s, SLICE_LIT("$$CURRENT")))
            f->whole = true;
        buf_push(&f->b, s.p, s.len);
        buf_push_u8(&f->b, 0);
    }
    if (v.type != BT_DOCUMENT && v.type != BT_ARRAY)
        return;
    biter_init(&it, bval_doc(v));
    while (biter_next(&it))
        note_paths(f, it.val);
}

static void note_names(struct fields *f, struct bval spec)
{
    struct biter it;

    if (spec.type != BT_DOCUMENT)
        return;
    biter_init(&it, bval_doc(spec));
    while (biter_next(&it)) {
        buf_push(&f->b, it.name.p, it.name.len);
        buf_push_u8(&f->b, 0);
        /* all but some of them */
        if ((bval_is_number(it.val) || it.val.type == BT_BOOL) && !bval_truthy(it.val) &&
            !slice_eq_str(it.name, "_id"))
            f->whole = true;
    }
}

/* What comes out of these depends on the fields that they name, and on nothing else. */
static bool is_narrow(struct slice stage)
{
    static const char *const names[] = { "$group", "$bucket",  "$bucketAuto",  "$sortByCount",
                                         "$count", "$project", "$replaceRoot", "$replaceWith" };

    return in_list(stage, names, ARRAY_LEN(names));
}

/* An order that a stage asks of what it reads. */
static struct bval order_of(struct slice stage, struct bval spec)
{
    if (slice_eq_str(stage, "$sort"))
        return spec;
    if (spec.type != BT_DOCUMENT)
        return BVAL_MISSING;
    if (slice_eq_str(stage, "$densify"))
        return bdoc_get(bval_doc(spec), "field");
    if (slice_eq_str(stage, "$setWindowFields") || slice_eq_str(stage, "$fill"))
        return bdoc_get(bval_doc(spec), "sortBy");
    return BVAL_MISSING;
}

static void note_stage(struct fields *f, struct slice stage, struct bval spec, struct buf *out,
                       bool *narrow)
{
    struct bval order = order_of(stage, spec);

    note_paths(f, spec);
    if (!bval_is_missing(order)) {
        buf_push(out, "o", 1);
        bval_to_json(order, out);
    }
    if (slice_eq_str(stage, "$lookup") && spec.type == BT_DOCUMENT) {
        buf_push(out, "j", 1);
        bval_to_json(bdoc_get(bval_doc(spec), "localField"), out);
    }
    *narrow = is_narrow(stage);
    if (slice_eq_str(stage, "$project"))
        note_names(f, spec);
}

struct slice cmd_stages_shape(struct arena *a, struct bdoc stages, int skip)
{
    AUTO(buf_fini) struct buf out = BUF_INIT;
    struct fields f = { .b = BUF_INIT };
    struct biter it, stage;
    bool narrow = false;

    biter_init(&it, stages);
    for (int i = 0; !narrow && biter_next(&it); i++) {
        if (i < skip || it.val.type != BT_DOCUMENT)
            continue;
        biter_init(&stage, bval_doc(it.val));
        if (biter_next(&stage))
            note_stage(&f, stage.name, stage.val, &out, &narrow);
    }
    if (narrow && !f.whole) {
        buf_push(&out, "f", 1);
        buf_push(&out, f.b.p, f.b.len);
    }
    buf_fini(&f.b);
    return SLICE(arena_dup(a, out.p, out.len), out.len);
}

/* schema.c - $jsonSchema: parsing to one struct for each schema. Checking values against it is in schema_eval.c.
 *
 * The dialect is JSON Schema draft 4 without references, plus bsonType. A keyword constrains only values of the type it speaks of.
 */
#include "schema_priv.h"

#include "base/mem.h"
#include "bsonx/dec.h"

struct keyword_ctx {
    struct match__parser *p;
    struct match__schema *s;
    struct bdoc doc; /* the schema that is being parsed */
    const char *name;
};

static RC parse_schema(struct match__parser *p, struct bval v, const char *where,
                       struct match__schema **out, struct err *e);

static RC want(const struct keyword_ctx *c, bool ok, const char *what, struct err *e)
{
    if (!ok)
        FAIL(e, ERR_TYPE_MISMATCH, "$jsonSchema keyword '%s' must be %s", c->name, what);
    return RC_OK;
}

/* ---- types ---- */

static RC json_type(const struct keyword_ctx *c, struct bval v, struct match__types *t,
                    struct err *e)
{
    static const struct {
        const char *name;
        uint32_t bits;
    } names[] = {
        { "object", 1u << BT_DOCUMENT },
        { "array", 1u << BT_ARRAY },
        { "boolean", 1u << BT_BOOL },
        { "string", 1u << BT_STRING },
        { "null", 1u << BT_NULL },
        { "number", 1u << BT_INT32 | 1u << BT_INT64 | 1u << BT_DOUBLE | 1u << BT_DECIMAL128 },
    };

    TRY(want(c, v.type == BT_STRING, "a string or an array of strings", e));
    if (slice_eq_str(bval_str(v), "integer"))
        FAIL(e, ERR_FAILED_TO_PARSE, "$jsonSchema type 'integer' is not currently supported");
    if (c->name[0] == 'b')
        return match__types_parse(v, SLICE_LIT("bsonType"), t, e);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq_str(bval_str(v), names[i].name)) {
            t->bits |= names[i].bits;
            return RC_OK;
        }
    }
    FAIL(e, ERR_BAD_VALUE, "unknown type name alias in $jsonSchema keyword 'type'");
}

static RC kw_type(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    struct match__types one, *t = &c->s->types;
    struct biter it;

    if (c->s->has_types)
        FAIL(e, ERR_FAILED_TO_PARSE,
             "cannot specify both $jsonSchema keywords 'type' and 'bsonType'");
    c->s->has_types = true;
    if (v.type != BT_ARRAY)
        return json_type(c, v, t, e);
    if (bdoc_is_empty(bval_doc(v)))
        FAIL(e, ERR_FAILED_TO_PARSE, "$jsonSchema keyword '%s' must name at least one type",
             c->name);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        one = (struct match__types){ 0 };
        TRY(json_type(c, it.val, &one, e));
        if ((one.bits & t->bits) == one.bits && (!one.min_key || t->min_key) &&
            (!one.max_key || t->max_key))
            FAIL(e, ERR_FAILED_TO_PARSE, "$jsonSchema keyword '%s' names a type twice", c->name);
        t->bits |= one.bits;
        t->min_key |= one.min_key;
        t->max_key |= one.max_key;
    }
    return RC_OK;
}

/* ---- numbers ---- */

static struct match_node *bound(const struct keyword_ctx *c, enum match_op closed,
                                enum match_op open, const char *exclusive, struct bval v)
{
    struct bval x = bdoc_get(c->doc, exclusive);
    struct match_node *n =
        match__node(c->p->q->arena, x.type == BT_BOOL && bval_bool(x) ? open : closed, SLICE_EMPTY);

    n->operand = v;
    return n;
}

static RC kw_minimum(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    TRY(want(c, bval_is_number(v), "a number", e));
    c->s->min = bound(c, MATCH_GTE, MATCH_GT, "exclusiveMinimum", v);
    return RC_OK;
}

static RC kw_maximum(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    TRY(want(c, bval_is_number(v), "a number", e));
    c->s->max = bound(c, MATCH_LTE, MATCH_LT, "exclusiveMaximum", v);
    return RC_OK;
}

static RC kw_exclusive(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    const char *base = strcmp(c->name, "exclusiveMinimum") == 0 ? "minimum" : "maximum";

    TRY(want(c, v.type == BT_BOOL, "a boolean", e));
    if (bval_is_missing(bdoc_get(c->doc, base)))
        FAIL(e, ERR_FAILED_TO_PARSE,
             "$jsonSchema keyword '%s' must be a present if '%s' is present", base, c->name);
    return RC_OK;
}

static RC kw_multiple_of(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    TRY(want(c, bval_is_number(v), "a number", e));
    struct dec128 d = bval_to_dec(v);

    if (dec_is_nan(d) || dec_cmp(d, DEC_ZERO) <= 0)
        FAIL(e, ERR_FAILED_TO_PARSE, "$jsonSchema keyword 'multipleOf' must have a positive value");
    c->s->multiple_of = v;
    return RC_OK;
}

static RC count_of(const struct keyword_ctx *c, struct bval v, int64_t *out, struct err *e)
{
    *out = -1;
    if (!bval_is_number(v) || !bval_to_i64(v, out) || *out < 0)
        FAIL(e, ERR_FAILED_TO_PARSE, "$jsonSchema keyword '%s' must be a non-negative integer",
             c->name);
    return RC_OK;
}

#define COUNT(fn, field)                                                                           \
    static RC fn(const struct keyword_ctx *c, struct bval v, struct err *e)                        \
    {                                                                                              \
        return count_of(c, v, &c->s->field, e);                                                    \
    }
COUNT(kw_min_length, min_length)
COUNT(kw_max_length, max_length)
COUNT(kw_min_items, min_items)
COUNT(kw_max_items, max_items)
COUNT(kw_min_properties, min_properties)
COUNT(kw_max_properties, max_properties)
#undef COUNT

/* ---- strings and values ---- */

static RC kw_pattern(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    TRY(want(c, v.type == BT_STRING, "a string", e));
    return match__regex_parse(c->p->q, bval_str(v), SLICE_LIT(""), &c->s->pattern, e);
}

static RC kw_text(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    return want(c, v.type == BT_STRING, "a string", e);
}

static RC kw_enum(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    struct biter it;

    TRY(want(c, v.type == BT_ARRAY, "an array", e));
    if (bdoc_is_empty(bval_doc(v)))
        FAIL(e, ERR_FAILED_TO_PARSE, "$jsonSchema keyword 'enum' cannot be an empty array");
    struct bval *list = ARENA_ARRAY(c->p->q->arena, struct bval, bdoc_count(bval_doc(v)));

    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        for (int i = 0; i < c->s->n_enums; i++) {
            if (bval_eq(list[i], it.val))
                FAIL(e, ERR_FAILED_TO_PARSE,
                     "$jsonSchema keyword 'enum' cannot hold a value twice");
        }
        list[c->s->n_enums++] = it.val;
    }
    c->s->enums = list;
    return RC_OK;
}

/* ---- documents ---- */

static RC kw_properties(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    struct biter it;

    TRY(want(c, v.type == BT_DOCUMENT, "an object", e));
    c->s->properties =
        ARENA_ARRAY(c->p->q->arena, struct schema__property, bdoc_count(bval_doc(v)) + 1);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        struct schema__property *prop = &c->s->properties[c->s->n_properties++];

        prop->name = it.name;
        TRY(parse_schema(c->p, it.val, c->name, &prop->schema, e));
    }
    return RC_OK;
}

static RC kw_pattern_properties(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    struct biter it;

    TRY(want(c, v.type == BT_DOCUMENT, "an object", e));
    c->s->patterns =
        ARENA_ARRAY(c->p->q->arena, struct schema__property, bdoc_count(bval_doc(v)) + 1);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        struct schema__property *prop = &c->s->patterns[c->s->n_patterns++];
        struct err why = { 0 };

        prop->name = it.name;
        if (match__regex_parse(c->p->q, it.name, SLICE_LIT(""), &prop->regex, &why).failed)
            FAIL(
                e, ERR_BAD_VALUE,
                "a name in $jsonSchema keyword 'patternProperties' is not a valid regular expression");
        TRY(parse_schema(c->p, it.val, c->name, &prop->schema, e));
    }
    return RC_OK;
}

static RC allowed_or_schema(const struct keyword_ctx *c, struct bval v, bool *refused,
                            struct match__schema **schema, struct err *e)
{
    TRY(want(c, v.type == BT_BOOL || v.type == BT_DOCUMENT, "either an object or a boolean", e));
    if (v.type == BT_BOOL) {
        *refused = !bval_bool(v);
        return RC_OK;
    }
    return parse_schema(c->p, v, c->name, schema, e);
}

static RC kw_additional_properties(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    return allowed_or_schema(c, v, &c->s->no_additional, &c->s->additional, e);
}

static RC names_of(const struct keyword_ctx *c, struct bval v, const struct slice **out, int *n,
                   struct err *e)
{
    struct biter it;

    *out = NULL;
    *n = 0;
    TRY(want(c, v.type == BT_ARRAY, "an array", e));
    if (bdoc_is_empty(bval_doc(v)))
        FAIL(e, ERR_FAILED_TO_PARSE, "$jsonSchema keyword '%s' cannot hold an empty array",
             c->name);
    struct slice *list = ARENA_ARRAY(c->p->q->arena, struct slice, bdoc_count(bval_doc(v)));

    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        TRY(want(c, it.val.type == BT_STRING, "an array of strings", e));
        struct slice name = bval_str(it.val);

        for (int i = 0; i < *n; i++) {
            if (slice_eq(list[i], name))
                FAIL(e, ERR_FAILED_TO_PARSE, "$jsonSchema keyword '%s' cannot hold a name twice",
                     c->name);
        }
        list[(*n)++] = name;
    }
    *out = list;
    return RC_OK;
}

static RC kw_required(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    return names_of(c, v, &c->s->required, &c->s->n_required, e);
}

static RC kw_dependencies(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    struct biter it;

    TRY(want(c, v.type == BT_DOCUMENT, "an object", e));
    c->s->dependencies =
        ARENA_ARRAY(c->p->q->arena, struct schema__dependency, bdoc_count(bval_doc(v)) + 1);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        struct schema__dependency *d = &c->s->dependencies[c->s->n_dependencies++];

        d->name = it.name;
        TRY(want(c, it.val.type == BT_DOCUMENT || it.val.type == BT_ARRAY,
                 "an object of objects and arrays", e));
        if (it.val.type == BT_DOCUMENT)
            TRY(parse_schema(c->p, it.val, c->name, &d->schema, e));
        else
            TRY(names_of(c, it.val, &d->required, &d->n_required, e));
    }
    return RC_OK;
}

/* ---- arrays and combinations ---- */

static RC schemas_of(const struct keyword_ctx *c, struct bval v, struct schema__list *out,
                     struct err *e)
{
    struct biter it;

    TRY(want(c, v.type == BT_ARRAY, "an array", e));
    out->v = ARENA_ARRAY(c->p->q->arena, struct match__schema *, bdoc_count(bval_doc(v)) + 1);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it))
        TRY(parse_schema(c->p, it.val, c->name, &out->v[out->n++], e));
    return RC_OK;
}

static RC kw_items(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    TRY(want(c, v.type == BT_DOCUMENT || v.type == BT_ARRAY, "an array or an object", e));
    if (v.type == BT_DOCUMENT)
        return parse_schema(c->p, v, c->name, &c->s->items, e);
    c->s->has_item_list = true;
    return schemas_of(c, v, &c->s->item_list, e);
}

static RC kw_additional_items(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    return allowed_or_schema(c, v, &c->s->no_additional_items, &c->s->additional_items, e);
}

static RC kw_unique_items(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    TRY(want(c, v.type == BT_BOOL, "a boolean", e));
    c->s->unique_items = bval_bool(v);
    return RC_OK;
}

static RC branches(const struct keyword_ctx *c, struct bval v, struct schema__list *out,
                   struct err *e)
{
    TRY(want(c, v.type == BT_ARRAY, "an array", e));
    if (bdoc_is_empty(bval_doc(v)))
        FAIL(e, ERR_BAD_VALUE, "$jsonSchema keyword '%s' must be a non-empty array", c->name);
    return schemas_of(c, v, out, e);
}

static RC kw_all_of(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    return branches(c, v, &c->s->all_of, e);
}

static RC kw_any_of(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    return branches(c, v, &c->s->any_of, e);
}

static RC kw_one_of(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    return branches(c, v, &c->s->one_of, e);
}

static RC kw_not(const struct keyword_ctx *c, struct bval v, struct err *e)
{
    TRY(want(c, v.type == BT_DOCUMENT, "an object", e));
    return parse_schema(c->p, v, c->name, &c->s->not, e);
}

static const struct {
    const char *name;
    RC (*parse)(const struct keyword_ctx *c, struct bval v, struct err *e);
} keywords[] = {
    { "type", kw_type },
    { "bsonType", kw_type },
    { "minimum", kw_minimum },
    { "maximum", kw_maximum },
    { "exclusiveMinimum", kw_exclusive },
    { "exclusiveMaximum", kw_exclusive },
    { "multipleOf", kw_multiple_of },
    { "minLength", kw_min_length },
    { "maxLength", kw_max_length },
    { "minItems", kw_min_items },
    { "maxItems", kw_max_items },
    { "minProperties", kw_min_properties },
    { "maxProperties", kw_max_properties },
    { "pattern", kw_pattern },
    { "title", kw_text },
    { "description", kw_text },
    { "enum", kw_enum },
    { "properties", kw_properties },
    { "patternProperties", kw_pattern_properties },
    { "additionalProperties", kw_additional_properties },
    { "required", kw_required },
    { "dependencies", kw_dependencies },
    { "items", kw_items },
    { "additionalItems", kw_additional_items },
    { "uniqueItems", kw_unique_items },
    { "allOf", kw_all_of },
    { "anyOf", kw_any_of },
    { "oneOf", kw_one_of },
    { "not", kw_not },
};

static RC parse_keyword(struct keyword_ctx *c, struct slice name, struct bval v, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
        if (slice_eq_str(name, keywords[i].name)) {
            c->name = keywords[i].name;
            return keywords[i].parse(c, v, e);
        }
    }
    FAIL(e, ERR_FAILED_TO_PARSE, "unknown or unsupported $jsonSchema keyword: %.*s", (int)name.len,
         name.p);
}

static RC parse_schema(struct match__parser *p, struct bval v, const char *where,
                       struct match__schema **out, struct err *e)
{
    struct biter it;

    *out = NULL;
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH, "$jsonSchema keyword '%s' must hold objects", where);
    TRY(match__enter(p, e));
    struct match__schema *s = ARENA_NEW(p->q->arena, struct match__schema);
    struct keyword_ctx c = { .p = p, .s = s, .doc = bval_doc(v), .name = where };

    s->min_length = s->max_length = s->min_items = s->max_items = s->min_properties =
        s->max_properties = -1;
    biter_init(&it, c.doc);
    while (biter_next(&it))
        TRY(parse_keyword(&c, it.name, it.val, e));
    p->depth--;
    *out = s;
    return RC_OK;
}

RC match__schema_parse(struct match__parser *p, struct bval v, struct match__schema **out,
                       struct err *e)
{
    return parse_schema(p, v, "$jsonSchema", out, e);
}

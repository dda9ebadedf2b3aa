/* schema_eval.c - a value against a parsed JSON schema. */
#include <stdlib.h>

#include "base/text.h"
#include "bsonx/dec.h"
#include "schema_priv.h"

static bool valid(struct match__eval *ev, const struct match__schema *s, struct bval v);

static bool within(int64_t n, int64_t min, int64_t max)
{
    return (min < 0 || n >= min) && (max < 0 || n <= max);
}

static bool number_valid(struct match__eval *ev, const struct match__schema *s, struct bval v)
{
    if (s->min && !match__test(ev, s->min, v))
        return false;
    if (s->max && !match__test(ev, s->max, v))
        return false;
    if (bval_is_missing(s->multiple_of))
        return true;
    struct dec128 d = bval_to_dec(v);

    return !dec_is_nan(d) && !dec_is_inf(d) &&
           dec_is_zero(dec_mod(d, bval_to_dec(s->multiple_of), NULL));
}

static bool string_valid(struct match__eval *ev, const struct match__schema *s, struct bval v)
{
    struct slice text = bval_str(v);

    if (s->min_length >= 0 || s->max_length >= 0) {
        const uint8_t *p = text.p, *end = text.p + text.len;
        int64_t n = 0;
        uint32_t code;

        for (; p < end; n++)
            p += utf8_next(p, end, &code);
        if (!within(n, s->min_length, s->max_length))
            return false;
    }
    return !s->pattern || match__regex_run(ev, s->pattern, text);
}

static bool has_all(struct bdoc d, const struct slice *names, int n)
{
    for (int i = 0; i < n; i++) {
        if (bval_is_missing(bdoc_get_slice(d, names[i])))
            return false;
    }
    return true;
}

static bool field_valid(struct match__eval *ev, const struct match__schema *s, struct slice name,
                        struct bval v)
{
    bool known = false;

    for (int i = 0; i < s->n_properties; i++) {
        if (!slice_eq(s->properties[i].name, name))
            continue;
        known = true;
        if (!valid(ev, s->properties[i].schema, v))
            return false;
    }
    for (int i = 0; i < s->n_patterns; i++) {
        if (!match__regex_run(ev, s->patterns[i].regex, name))
            continue;
        known = true;
        if (!valid(ev, s->patterns[i].schema, v))
            return false;
    }
    if (known)
        return true;
    return !s->no_additional && (!s->additional || valid(ev, s->additional, v));
}

static bool document_valid(struct match__eval *ev, const struct match__schema *s, struct bdoc d)
{
    struct biter it;
    int64_t n = 0;

    if (!has_all(d, s->required, s->n_required))
        return false;
    for (int i = 0; i < s->n_dependencies; i++) {
        const struct schema__dependency *dep = &s->dependencies[i];

        if (bval_is_missing(bdoc_get_slice(d, dep->name)))
            continue;
        if (dep->schema ? !valid(ev, dep->schema, bval_of_doc(d, BT_DOCUMENT))
                        : !has_all(d, dep->required, dep->n_required))
            return false;
    }
    biter_init(&it, d);
    for (; biter_next(&it); n++) {
        if (!field_valid(ev, s, it.name, it.val))
            return false;
    }
    return within(n, s->min_properties, s->max_properties);
}

static int by_value(const void *a, const void *b)
{
    return bval_cmp(*(const struct bval *)a, *(const struct bval *)b);
}

static bool all_differ(struct match__eval *ev, struct bdoc list)
{
    struct bval *v = ARENA_ARRAY(ev->q->scratch, struct bval, bdoc_count(list) + 1);
    struct biter it;
    size_t n = 0;

    biter_init(&it, list);
    while (biter_next(&it))
        v[n++] = it.val;
    if (n > 1)
        qsort(v, n, sizeof(*v), by_value);
    for (size_t i = 1; i < n; i++) {
        if (bval_eq(v[i - 1], v[i]))
            return false;
    }
    return true;
}

static bool item_valid(struct match__eval *ev, const struct match__schema *s, int64_t at,
                       struct bval v)
{
    if (s->items)
        return valid(ev, s->items, v);
    if (!s->has_item_list)
        return true;
    if (at < s->item_list.n)
        return valid(ev, s->item_list.v[at], v);
    return !s->no_additional_items && (!s->additional_items || valid(ev, s->additional_items, v));
}

static bool array_valid(struct match__eval *ev, const struct match__schema *s, struct bdoc list)
{
    struct biter it;
    int64_t n = 0;

    biter_init(&it, list);
    for (; biter_next(&it); n++) {
        if (!item_valid(ev, s, n, it.val))
            return false;
    }
    return within(n, s->min_items, s->max_items) && (!s->unique_items || all_differ(ev, list));
}

static int count_valid(struct match__eval *ev, const struct schema__list *l, struct bval v)
{
    int n = 0;

    for (int i = 0; i < l->n; i++)
        n += valid(ev, l->v[i], v);
    return n;
}

static bool combinations_valid(struct match__eval *ev, const struct match__schema *s, struct bval v)
{
    if (count_valid(ev, &s->all_of, v) != s->all_of.n)
        return false;
    if (s->any_of.n > 0 && count_valid(ev, &s->any_of, v) == 0)
        return false;
    if (s->one_of.n > 0 && count_valid(ev, &s->one_of, v) != 1)
        return false;
    return !s->not|| !valid(ev, s->not, v);
}

static bool valid(struct match__eval *ev, const struct match__schema *s, struct bval v)
{
    bool listed = s->n_enums == 0;

    if (ev->failed)
        return false;
    if (s->has_types && !match__types_has(&s->types, v.type))
        return false;
    for (int i = 0; !listed && i < s->n_enums; i++)
        listed = bval_eq(s->enums[i], v);
    if (!listed || !combinations_valid(ev, s, v))
        return false;
    if (bval_is_number(v))
        return number_valid(ev, s, v);
    switch (v.type) {
    case BT_STRING: return string_valid(ev, s, v);
    case BT_DOCUMENT: return document_valid(ev, s, bval_doc(v));
    case BT_ARRAY: return array_valid(ev, s, bval_doc(v));
    default: return true;
    }
}

bool match__schema_test(struct match__eval *ev, const struct match__schema *s, struct bdoc doc)
{
    return valid(ev, s, bval_of_doc(doc, BT_DOCUMENT));
}

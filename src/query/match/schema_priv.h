/* schema_priv.h - a parsed JSON schema, shared by its parser and its evaluator. Counts of -1 and null pointers ask for nothing. */
#ifndef QUERY_SCHEMA_PRIV_H
#define QUERY_SCHEMA_PRIV_H

#include "match_priv.h"

struct schema__list {
    struct match__schema **v;
    int n;
};

struct schema__property {
    struct slice name;
    struct match__regex *regex; /* patternProperties */
    struct match__schema *schema;
};

struct schema__dependency {
    struct slice name;
    struct match__schema *schema; /* or */
    const struct slice *required;
    int n_required;
};

struct match__schema {
    bool has_types;
    struct match__types types;
    /* numbers */
    struct match_node *min, *max;
    struct bval multiple_of; /* missing: none */
    /* strings */
    int64_t min_length, max_length; /* code points */
    struct match__regex *pattern;
    /* any value */
    const struct bval *enums;
    int n_enums;
    struct schema__list all_of, any_of, one_of;
    struct match__schema * not;
    /* documents */
    struct schema__property *properties, *patterns;
    int n_properties, n_patterns;
    bool no_additional;
    struct match__schema *additional;
    const struct slice *required;
    int n_required;
    struct schema__dependency *dependencies;
    int n_dependencies;
    int64_t min_properties, max_properties;
    /* arrays */
    int64_t min_items, max_items;
    bool unique_items, has_item_list, no_additional_items;
    struct match__schema *items, *additional_items;
    struct schema__list item_list;
};

#endif

/* expr_priv.h - nodes, the operator table and the helpers that operator families share.
 *
 * How an operator is added: a row in table.c (names sorted), an evaluation function in the file of its family; a parse function only when
 * its argument is neither a plain list nor a document of named arguments.
 */
#ifndef QUERY_EXPR_PRIV_H
#define QUERY_EXPR_PRIV_H

#include "query/expr.h"
#include "query/vals.h"

enum expr_kind { EXPR_CONST, EXPR_PATH, EXPR_OBJECT, EXPR_ARRAY, EXPR_CALL };

/* Variable ids: the fixed ones, then those that $let, $map, ... bind. */
enum expr_var_id {
    VAR_CURRENT,
    VAR_ROOT,
    VAR_NOW,
    VAR_REMOVE,
    VAR_COMMAND_LET,
    VAR_USER_ROLES,
    VAR_SEARCH_META,
    VAR_FIRST_USER
};

typedef
    RC (*expr_eval_fn)(const struct expr *x, struct expr_env *env, struct bval *out, struct err *e);

struct expr {
    expr_eval_fn eval;
    enum expr_kind kind;
    const struct expr_op *op; /* EXPR_CALL */
    int n_args;
    struct expr **args; /* by position; NULL where a named argument was left out */
    struct bval val;    /* EXPR_CONST */
    /* EXPR_OBJECT: field names; EXPR_PATH: components after the variable */
    const struct slice *names;
    int n_names;
    /* EXPR_PATH: enum expr_var_id or a bound variable's id; binders: the first id they bind */
    uint32_t var;
    struct slice text; /* EXPR_PATH: without the dollar; VAR_COMMAND_LET: the name */
    void *impl;        /* the operator's own */
};

/* Names in scope while parsing, innermost first. */
struct expr_scope {
    const struct expr_scope *up;
    struct slice name;
    uint32_t id;
};

struct expr_parser {
    struct qctx *q;
    const struct expr_scope *scope;
    uint32_t next_id;
    int dead; /* inside branches that are never taken: what fails to fold there stays unfolded */
};

typedef RC (*expr_parse_fn)(struct expr_parser *ps, const struct expr_op *op, struct bval arg,
                            struct expr **out, struct err *e);

struct expr_param {
    const char *name;
    int missing_code; /* error when it is absent; 0 = optional */
};

/* An argument document: {$op: {name: expression, ...}}. */
struct expr_named {
    const struct expr_param *params;
    int n;
    int not_object_code, unknown_code;
};

enum expr_op_flags {
    OP_IMPURE = 1,   /* never folded ($rand) */
    OP_AGG_LIST = 2, /* $sum, $avg, ...: one argument is an array to walk, several are the list */
};

struct expr_op {
    const char *name; /* without the dollar */
    int min, max;     /* arguments; max -1 = any number */
    unsigned flags;
    expr_parse_fn parse; /* NULL: a list of expressions */
    expr_eval_fn eval;
    const struct expr_named *named; /* for parse_named */
    int aux;                        /* tells apart operators that share a function */
};

const struct expr_op *expr_op_find(struct slice name);
const struct expr_op *expr_op_table(int *n); /* for the test that it is sorted */

enum cmp_kind { CMP_CMP, CMP_EQ, CMP_NE, CMP_GT, CMP_GTE, CMP_LT, CMP_LTE };

enum unary_kind { UNARY_ABS, UNARY_CEIL, UNARY_FLOOR, UNARY_ROUND, UNARY_TRUNC };
enum math_kind {
    MATH_SQRT,
    MATH_EXP,
    MATH_LN,
    MATH_LOG10,
    MATH_SIN,
    MATH_COS,
    MATH_TAN,
    MATH_ASIN,
    MATH_ACOS,
    MATH_ATAN,
    MATH_SINH,
    MATH_COSH,
    MATH_TANH,
    MATH_ASINH,
    MATH_ACOSH,
    MATH_ATANH,
    MATH_TO_RADIANS,
    MATH_TO_DEGREES
};
enum pick_kind { PICK_FIRST, PICK_LAST, PICK_MIN, PICK_MAX };
enum trim_kind { TRIM_LEFT = 1, TRIM_RIGHT = 2, TRIM_BOTH = 3 };
enum regex_kind { REGEX_MATCH, REGEX_FIND, REGEX_FIND_ALL };
enum date_part_kind {
    PART_YEAR,
    PART_MONTH,
    PART_DAY,
    PART_HOUR,
    PART_MINUTE,
    PART_SECOND,
    PART_MS,
    PART_WEEKDAY,
    PART_YEARDAY,
    PART_WEEK,
    PART_ISO_WEEK,
    PART_ISO_YEAR,
    PART_ISO_WEEKDAY
};
enum accum_kind { ACCUM_SUM, ACCUM_AVG, ACCUM_MAX, ACCUM_MIN, ACCUM_DEV_POP, ACCUM_DEV_SAMP };
enum bits_kind { BITS_AND, BITS_OR, BITS_XOR, BITS_NOT };

/* Parsing. */
RC expr__parse(struct expr_parser *ps, struct bval spec, struct expr **out, struct err *e);
RC expr__parse_list(struct expr_parser *ps, const struct expr_op *op, struct bval arg,
                    struct expr **out, struct err *e);
RC expr__parse_named(struct expr_parser *ps, const struct expr_op *op, struct bval arg,
                     struct expr **out, struct err *e);
/* expr__named_args(): splits a document by op->named into raw values (missing where absent). */
RC expr__named_args(const struct expr_op *op, struct bval arg, struct bval *raw, struct err *e);
struct expr *expr__new_call(struct expr_parser *ps, const struct expr_op *op, int n_args);
struct expr *expr__new_const(struct arena *a, struct bval v);
/* expr__fold(): replaces *x by its value when all arguments are constants. */
RC expr__fold(struct expr_parser *ps, struct expr **x, struct err *e);
RC expr__check_var_name(struct slice name, struct err *e);
/* expr__bind(): a new scope entry in the arena. */
const struct expr_scope *expr__bind(struct expr_parser *ps, struct slice name, uint32_t *id);
RC expr__check_field_name(struct slice name, struct err *e);
RC expr__split_path(struct arena *a, struct slice path, const struct slice **parts, int *n,
                    struct err *e);
/* expr__split_key(): a sort key's: any names but empty ones, those that start with a dollar included. */
RC expr__split_key(struct arena *a, struct slice path, const struct slice **parts, int *n,
                   struct err *e);

/* Evaluation. */
static inline RC expr__arg(const struct expr *x, int i, struct expr_env *env, struct bval *out,
                           struct err *e)
{
    return x->args[i]->eval(x->args[i], env, out, e);
}
static inline struct arena *env_arena(struct expr_env *env)
{
    return env->q->scratch;
}
static inline struct bval val_null(void)
{
    return bval_new_null();
}
/* expr__opt(): argument i, or missing with *given false when it was left out. */
RC expr__opt(const struct expr *x, int i, struct expr_env *env, bool *given, struct bval *out,
             struct err *e);

/* val__cmp(): order of all types with missing below null. */
int val__cmp(const struct collator *in, struct bval a, struct bval b);

/* Text of values. */
/* as $concat's family coerces; 16007 */
RC val__to_string(struct arena *a, struct bval v, struct slice *out, struct err *e);
struct slice val__double_text(struct arena *a, double d);
struct slice val__date_iso(struct arena *a, int64_t ms);
bool val__is_string(struct bval v);
struct bval val__int(struct arena *a, int64_t v); /* int32 when it fits, else int64 */

/* The shape of a parse and of an evaluation function. */
#define EXPR_PARSE(name)                                                                           \
    RC name(struct expr_parser *ps, const struct expr_op *op, struct bval arg, struct expr **out,  \
            struct err *e)
#define EXPR_EVAL(name)                                                                            \
    RC name(const struct expr *x, struct expr_env *env, struct bval *out, struct err *e)

/* Every operator of the table, by function. */
/* clang-format off */
#define EVALS(X) \
    X(abs_like) X(accum) X(add) X(and) X(array_elem_at) X(array_to_object) X(atan2) \
    X(binary_size) X(bits) X(bson_size) X(case) X(compare) X(concat) X(concat_arrays) X(cond) \
    X(convert) X(date_add) X(date_diff) X(date_from_parts) X(date_from_string) X(date_part) \
    X(date_to_parts) X(date_to_string) X(date_trunc) X(degrees) X(divide) X(elements_true) \
    X(filter) X(first_last) X(get_field) X(if_null) X(in) X(index_of) X(index_of_array) \
    X(is_array) X(is_number) X(let) X(log) X(map) X(math) X(merge_objects) X(meta) X(mod) \
    X(multiply) X(not) X(object_to_array) X(or) X(percentile) X(pick_n) X(pow) X(rand) \
    X(range) X(reduce) X(regex) X(replace) X(reverse_array) X(round) X(sample_rate) \
    X(set_difference) X(set_equals) X(set_field) X(set_intersection) X(set_is_subset) \
    X(set_union) X(sigmoid) X(size) X(slice) X(sort_array) X(split) X(str_len) X(strcasecmp) \
    X(substr_bytes) X(substr_cp) X(subtract) X(switch) X(to) X(trim) X(ts_part) X(type) X(zip)
/* clang-format on */
#define DECLARE(name) EXPR_EVAL(expr__eval_##name);
EVALS(DECLARE)
/* clang-format off */
#define PARSES(X) \
    X(and_or) X(cond) X(conversion) X(date_from_parts) X(date_part) X(dated) X(filter) X(get_field) \
    X(if_null) X(let) X(literal) X(map) X(meta) X(percentile) X(rand) X(reduce) X(regex) \
    X(sample_rate) X(set_equals) X(set_field) X(sigmoid) X(sort_array) X(switch) X(zip)
/* clang-format on */
#define DECLARE_PARSE(name) EXPR_PARSE(expr__parse_##name);
PARSES(DECLARE_PARSE)

#endif

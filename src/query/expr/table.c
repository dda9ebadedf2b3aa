/* table.c - every operator: name, arity, how it is parsed and evaluated. Names are sorted; find is a binary search, checked by a test. */
#include "expr_priv.h"

#include <stdlib.h>

#include "base/mem.h"

#define NAMED(id, not_object, unknown, ...)                                                        \
    static const struct expr_param id##_params[] = { __VA_ARGS__ };                                \
    static const struct expr_named id = { id##_params, (int)ARRAY_LEN(id##_params), not_object,    \
                                          unknown }

NAMED(n_convert, 9, 9, { "input", 9 }, { "to", 9 }, { "onError", 0 }, { "onNull", 0 },
      { "format", 0 }, { "byteOrder", 0 });
NAMED(n_date_add, 5166400, 5166401, { "startDate", 5166402 }, { "unit", 5166402 },
      { "amount", 5166402 }, { "timezone", 0 });
NAMED(n_date_diff, 5166301, 5166302, { "startDate", 5166303 }, { "endDate", 5166304 },
      { "unit", 5166305 }, { "timezone", 0 }, { "startOfWeek", 0 });
NAMED(n_date_from_parts, 40519, 40518, { "year", 0 }, { "month", 0 }, { "day", 0 }, { "hour", 0 },
      { "minute", 0 }, { "second", 0 }, { "millisecond", 0 }, { "isoWeekYear", 0 },
      { "isoWeek", 0 }, { "isoDayOfWeek", 0 }, { "timezone", 0 });
NAMED(n_date_from_string, 40540, 40541, { "dateString", 40542 }, { "format", 0 }, { "timezone", 0 },
      { "onError", 0 }, { "onNull", 0 });
NAMED(n_date_to_parts, 40524, 40520, { "date", 40522 }, { "timezone", 0 }, { "iso8601", 0 });
NAMED(n_date_to_string, 18629, 18534, { "date", 18628 }, { "format", 0 }, { "timezone", 0 },
      { "onNull", 0 });
NAMED(n_date_trunc, 5439007, 5439008, { "date", 5439009 }, { "unit", 5439010 }, { "binSize", 0 },
      { "timezone", 0 }, { "startOfWeek", 0 });
NAMED(n_median, 7436201, 40415, { "input", 40414 }, { "method", 40414 });
NAMED(n_percentile, 7429703, 40415, { "input", 40414 }, { "method", 40414 }, { "p", 40414 });
NAMED(n_pick, 5787900, 5787901, { "n", 5787906 }, { "input", 5787907 });
NAMED(n_regex, 51103, 31024, { "input", 31022 }, { "regex", 31023 }, { "options", 0 });
NAMED(n_replace, 51751, 51750, { "input", 51749 }, { "find", 51748 }, { "replacement", 51747 });
NAMED(n_trim, 50696, 50694, { "input", 50695 }, { "chars", 0 });

#define LIST(name, min, max, fn, aux) { name, min, max, 0, NULL, expr__eval_##fn, NULL, aux }
#define OWN(name, parse, fn, aux)                                                                  \
    { name, 0, -1, 0, expr__parse_##parse, expr__eval_##fn, NULL, aux }
#define ARGS(name, named, fn, aux)                                                                 \
    { name, 0, -1, 0, expr__parse_named, expr__eval_##fn, &(named), aux }
#define DATED(name, named, fn, aux)                                                                \
    { name, 0, -1, 0, expr__parse_dated, expr__eval_##fn, &(named), aux }
#define PART(name, aux) OWN(name, date_part, date_part, aux)
#define CONV(name, aux) { name, 1, 1, 0, expr__parse_conversion, expr__eval_to, NULL, aux }
#define MATH(name, aux) LIST(name, 1, 1, math, aux)

static const struct expr_op ops[] = {
    LIST("abs", 1, 1, abs_like, UNARY_ABS),
    MATH("acos", MATH_ACOS),
    MATH("acosh", MATH_ACOSH),
    LIST("add", 0, -1, add, 0),
    LIST("allElementsTrue", 1, 1, elements_true, 1),
    OWN("and", and_or, and, 0),
    LIST("anyElementTrue", 1, 1, elements_true, 0),
    LIST("arrayElemAt", 2, 2, array_elem_at, 0),
    LIST("arrayToObject", 1, 1, array_to_object, 0),
    MATH("asin", MATH_ASIN),
    MATH("asinh", MATH_ASINH),
    MATH("atan", MATH_ATAN),
    LIST("atan2", 2, 2, atan2, 0),
    MATH("atanh", MATH_ATANH),
    LIST("avg", 0, -1, accum, ACCUM_AVG),
    LIST("binarySize", 1, 1, binary_size, 0),
    LIST("bitAnd", 0, -1, bits, BITS_AND),
    LIST("bitNot", 1, 1, bits, BITS_NOT),
    LIST("bitOr", 0, -1, bits, BITS_OR),
    LIST("bitXor", 0, -1, bits, BITS_XOR),
    LIST("bsonSize", 1, 1, bson_size, 0),
    LIST("ceil", 1, 1, abs_like, UNARY_CEIL),
    LIST("cmp", 2, 2, compare, CMP_CMP),
    LIST("concat", 0, -1, concat, 0),
    LIST("concatArrays", 0, -1, concat_arrays, 0),
    { "cond", 3, 3, 0, expr__parse_cond, expr__eval_cond, NULL, 0 },
    { "const", 1, 1, 0, expr__parse_literal, NULL, NULL, 0 },
    ARGS("convert", n_convert, convert, 0),
    MATH("cos", MATH_COS),
    MATH("cosh", MATH_COSH),
    DATED("dateAdd", n_date_add, date_add, 1),
    DATED("dateDiff", n_date_diff, date_diff, 0),
    { "dateFromParts", 0, -1, 0, expr__parse_date_from_parts, expr__eval_date_from_parts,
      &n_date_from_parts, 0 },
    DATED("dateFromString", n_date_from_string, date_from_string, 0),
    DATED("dateSubtract", n_date_add, date_add, -1),
    DATED("dateToParts", n_date_to_parts, date_to_parts, 0),
    DATED("dateToString", n_date_to_string, date_to_string, 0),
    DATED("dateTrunc", n_date_trunc, date_trunc, 0),
    PART("dayOfMonth", PART_DAY),
    PART("dayOfWeek", PART_WEEKDAY),
    PART("dayOfYear", PART_YEARDAY),
    LIST("degreesToRadians", 1, 1, degrees, MATH_TO_RADIANS),
    LIST("divide", 2, 2, divide, 0),
    LIST("eq", 2, 2, compare, CMP_EQ),
    MATH("exp", MATH_EXP),
    OWN("filter", filter, filter, 0),
    LIST("first", 1, 1, first_last, 0),
    ARGS("firstN", n_pick, pick_n, PICK_FIRST),
    LIST("floor", 1, 1, abs_like, UNARY_FLOOR),
    OWN("getField", get_field, get_field, 0),
    LIST("gt", 2, 2, compare, CMP_GT),
    LIST("gte", 2, 2, compare, CMP_GTE),
    PART("hour", PART_HOUR),
    OWN("ifNull", if_null, if_null, 0),
    LIST("in", 2, 2, in, 0),
    LIST("indexOfArray", 2, 4, index_of_array, 0),
    LIST("indexOfBytes", 2, 4, index_of, 0),
    LIST("indexOfCP", 2, 4, index_of, 1),
    LIST("isArray", 1, 1, is_array, 0),
    LIST("isNumber", 1, 1, is_number, 0),
    PART("isoDayOfWeek", PART_ISO_WEEKDAY),
    PART("isoWeek", PART_ISO_WEEK),
    PART("isoWeekYear", PART_ISO_YEAR),
    LIST("last", 1, 1, first_last, -1),
    ARGS("lastN", n_pick, pick_n, PICK_LAST),
    OWN("let", let, let, 0),
    { "literal", 1, 1, 0, expr__parse_literal, NULL, NULL, 0 },
    MATH("ln", MATH_LN),
    LIST("log", 2, 2, log, 0),
    MATH("log10", MATH_LOG10),
    LIST("lt", 2, 2, compare, CMP_LT),
    LIST("lte", 2, 2, compare, CMP_LTE),
    ARGS("ltrim", n_trim, trim, TRIM_LEFT),
    OWN("map", map, map, 0),
    LIST("max", 0, -1, accum, ACCUM_MAX),
    ARGS("maxN", n_pick, pick_n, PICK_MAX),
    { "median", 0, -1, 0, expr__parse_percentile, expr__eval_percentile, &n_median, 0 },
    LIST("mergeObjects", 0, -1, merge_objects, 0),
    OWN("meta", meta, meta, 0),
    PART("millisecond", PART_MS),
    LIST("min", 0, -1, accum, ACCUM_MIN),
    ARGS("minN", n_pick, pick_n, PICK_MIN),
    PART("minute", PART_MINUTE),
    LIST("mod", 2, 2, mod, 0),
    PART("month", PART_MONTH),
    LIST("multiply", 0, -1, multiply, 0),
    LIST("ne", 2, 2, compare, CMP_NE),
    LIST("not", 1, 1, not, 0),
    LIST("objectToArray", 1, 1, object_to_array, 0),
    OWN("or", and_or, or, 1),
    { "percentile", 0, -1, 0, expr__parse_percentile, expr__eval_percentile, &n_percentile, 1 },
    LIST("pow", 2, 2, pow, 0),
    LIST("radiansToDegrees", 1, 1, degrees, MATH_TO_DEGREES),
    { "rand", 0, 0, OP_IMPURE, expr__parse_rand, expr__eval_rand, NULL, 0 },
    LIST("range", 2, 3, range, 0),
    OWN("reduce", reduce, reduce, 0),
    { "regexFind", 0, -1, 0, expr__parse_regex, expr__eval_regex, &n_regex, REGEX_FIND },
    { "regexFindAll", 0, -1, 0, expr__parse_regex, expr__eval_regex, &n_regex, REGEX_FIND_ALL },
    { "regexMatch", 0, -1, 0, expr__parse_regex, expr__eval_regex, &n_regex, REGEX_MATCH },
    ARGS("replaceAll", n_replace, replace, 1),
    ARGS("replaceOne", n_replace, replace, 0),
    LIST("reverseArray", 1, 1, reverse_array, 0),
    LIST("round", 1, 2, round, UNARY_ROUND),
    ARGS("rtrim", n_trim, trim, TRIM_RIGHT),
    { "sampleRate", 0, 0, OP_IMPURE, expr__parse_sample_rate, expr__eval_sample_rate, NULL, 0 },
    PART("second", PART_SECOND),
    LIST("setDifference", 2, 2, set_difference, 0),
    OWN("setEquals", set_equals, set_equals, 0),
    OWN("setField", set_field, set_field, 0),
    LIST("setIntersection", 0, -1, set_intersection, 0),
    LIST("setIsSubset", 2, 2, set_is_subset, 0),
    LIST("setUnion", 0, -1, set_union, 0),
    OWN("sigmoid", sigmoid, sigmoid, 0),
    MATH("sin", MATH_SIN),
    MATH("sinh", MATH_SINH),
    LIST("size", 1, 1, size, 0),
    LIST("slice", 2, 3, slice, 0),
    OWN("sortArray", sort_array, sort_array, 0),
    LIST("split", 2, 2, split, 0),
    MATH("sqrt", MATH_SQRT),
    LIST("stdDevPop", 0, -1, accum, ACCUM_DEV_POP),
    LIST("stdDevSamp", 0, -1, accum, ACCUM_DEV_SAMP),
    LIST("strLenBytes", 1, 1, str_len, 0),
    LIST("strLenCP", 1, 1, str_len, 1),
    LIST("strcasecmp", 2, 2, strcasecmp, 0),
    LIST("substr", 3, 3, substr_bytes, 0),
    LIST("substrBytes", 3, 3, substr_bytes, 0),
    LIST("substrCP", 3, 3, substr_cp, 0),
    LIST("subtract", 2, 2, subtract, 0),
    LIST("sum", 0, -1, accum, ACCUM_SUM),
    OWN("switch", switch, switch, 0),
    MATH("tan", MATH_TAN),
    MATH("tanh", MATH_TANH),
    CONV("toBool", BT_BOOL),
    CONV("toDate", BT_DATE),
    CONV("toDecimal", BT_DECIMAL128),
    CONV("toDouble", BT_DOUBLE),
    CONV("toInt", BT_INT32),
    CONV("toLong", BT_INT64),
    LIST("toLower", 1, 1, case, 0),
    CONV("toObjectId", BT_OBJECT_ID),
    CONV("toString", BT_STRING),
    CONV("toUUID", BT_BINARY),
    LIST("toUpper", 1, 1, case, 1),
    ARGS("trim", n_trim, trim, TRIM_BOTH),
    LIST("trunc", 1, 2, round, UNARY_TRUNC),
    LIST("tsIncrement", 1, 1, ts_part, 0),
    LIST("tsSecond", 1, 1, ts_part, 1),
    LIST("type", 1, 1, type, 0),
    { "unsetField", 0, -1, 0, expr__parse_set_field, expr__eval_set_field, NULL, 1 },
    PART("week", PART_WEEK),
    PART("year", PART_YEAR),
    OWN("zip", zip, zip, 0),
};

static int cmp_name(const void *key, const void *row)
{
    const struct slice *s = key;

    return slice_cmp(*s, slice_str(((const struct expr_op *)row)->name));
}

const struct expr_op *expr_op_find(struct slice name)
{
    return bsearch(&name, ops, ARRAY_LEN(ops), sizeof(ops[0]), cmp_name);
}

const struct expr_op *expr_op_table(int *n)
{
    *n = (int)ARRAY_LEN(ops);
    return ops;
}

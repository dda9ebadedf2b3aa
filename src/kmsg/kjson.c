/* kjson.c - bounded JSON over jansson. See kjson.h. */
#include "kmsg/kjson.h"

#include "crypto/wipe.h"

/* The deepest nesting of the text. A bracket inside a string does not count. */
static int depth_of(struct slice in)
{
    int depth = 0, deepest = 0;
    bool in_string = false;

    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.p[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > deepest)
                deepest = depth;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return deepest;
}

RC kjson_load(struct slice in, int max_depth, json_t **out, struct err *e)
{
    json_error_t je;

    *out = NULL;
    if (in.len == 0)
        FAIL(e, ERR_FAILED_TO_PARSE, "JSON text is empty");
    if (depth_of(in) > max_depth)
        FAIL(e, ERR_FAILED_TO_PARSE, "JSON text is nested more than %d levels deep", max_depth);
    json_t *j = json_loadb((const char *)in.p, in.len, JSON_REJECT_DUPLICATES, &je);
    if (!j)
        FAIL(e, ERR_FAILED_TO_PARSE, "JSON text is malformed at byte %d", je.position);
    if (!json_is_object(j)) {
        json_decref(j);
        FAIL(e, ERR_FAILED_TO_PARSE, "JSON text is not an object");
    }
    *out = j;
    return RC_OK;
}

void kjson_freep(json_t **j)
{
    if (*j)
        json_decref(*j);
    *j = NULL;
}

const char *kjson_str(const json_t *o, const char *member)
{
    return json_string_value(json_object_get(o, member));
}

const json_t *kjson_obj(const json_t *o, const char *member)
{
    const json_t *v = json_object_get(o, member);
    return json_is_object(v) ? v : NULL;
}

const json_t *kjson_arr(const json_t *o, const char *member)
{
    const json_t *v = json_object_get(o, member);
    return json_is_array(v) ? v : NULL;
}

bool kjson_i64(const json_t *o, const char *member, int64_t *out)
{
    const json_t *v = json_object_get(o, member);
    if (!json_is_integer(v))
        return false;
    *out = json_integer_value(v);
    return true;
}

bool kjson_bool(const json_t *o, const char *member, bool *out)
{
    const json_t *v = json_object_get(o, member);
    if (!json_is_boolean(v))
        return false;
    *out = json_is_true(v);
    return true;
}

bool kjson_has(const json_t *o, const char *member)
{
    const json_t *v = json_object_get(o, member);
    return v && !json_is_null(v);
}

static int dump_to_buf(const char *p, size_t len, void *arg)
{
    buf_push(arg, p, len);
    return 0;
}

void kjson_dump(const json_t *j, struct buf *out)
{
    (void)json_dump_callback(j, dump_to_buf, out, JSON_COMPACT | JSON_ENCODE_ANY);
}

void kjson_wiping(void)
{
    json_set_alloc_funcs(wipe_malloc, wipe_free);
}

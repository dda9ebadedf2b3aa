/* cmd_parameters.c - getParameter and setParameter (compatibility 20): what clients ask for, and what can be changed while the node runs. A change lasts until the node
 * stops; what lasts longer is a setting.
 */
#include "cmd_priv.h"

#include "base/log.h"
#include "identity/scram.h"

enum { VERBOSITY_MAX = 5, AUTH_SCHEMA = 5 };

enum settable { FIXED = 0, AT_STARTUP = 1, AT_RUNTIME = 2 };

struct parameter {
    const char *name;
    unsigned settable; /* enum settable */
    void (*put)(struct cmd_req *r, const char *name, struct bw *w);
    /* check(): whether v is a value; set(): v was checked. NULL unless AT_RUNTIME. */
    RC (*check)(const struct parameter *p, struct bval v, struct err *e);
    void (*set)(struct cmd_req *r, struct bval v);
    int64_t min, max;
};

/* ---- values ---- */

static RC check_int(const struct parameter *p, struct bval v, struct err *e)
{
    if (!bval_is_number(v) && v.type != BT_BOOL)
        FAIL(e, ERR_BAD_VALUE, "invalid value for parameter %s: not a number", p->name);
    int64_t n = v.type == BT_BOOL ? bval_bool(v) : cmd_i64(v);
    if (n < p->min || n > p->max)
        FAIL(e, ERR_BAD_VALUE, "invalid value for parameter %s: %lld is not within %lld and %lld",
             p->name, (long long)n, (long long)p->min, (long long)p->max);
    return RC_OK;
}

static int64_t int_of(struct bval v)
{
    return v.type == BT_BOOL ? bval_bool(v) : cmd_i64(v);
}

/* Everything is true or false. */
static RC check_bool(const struct parameter *p, struct bval v, struct err *e)
{
    (void)p;
    (void)v;
    (void)e;
    return RC_OK;
}

static RC check_text(const struct parameter *p, struct bval v, struct err *e)
{
    if (v.type != BT_STRING)
        FAIL(e, ERR_TYPE_MISMATCH, "value of parameter %s must be a string", p->name);
    if ((int64_t)bval_str(v).len > p->max)
        FAIL(e, ERR_OVERFLOW, "value of parameter %s must be no more than %lld bytes", p->name,
             (long long)p->max);
    return RC_OK;
}

/* ---- parameters ---- */

static void put_disk_use(struct cmd_req *r, const char *name, struct bw *w)
{
    bw_bool(w, name, !atomic_load(&r->node->p.no_disk_use));
}

static void set_disk_use(struct cmd_req *r, struct bval v)
{
    atomic_store(&r->node->p.no_disk_use, !bval_truthy(v));
}

static void put_mechanisms(struct cmd_req *r, const char *name, struct bw *w)
{
    (void)r;
    bw_array_begin(w, name);
    bw_str(w, NULL, "SCRAM-SHA-256");
    bw_array_end(w);
}

static void put_auth_schema(struct cmd_req *r, const char *name, struct bw *w)
{
    (void)r;
    bw_i32(w, name, AUTH_SCHEMA);
}

static void put_descriptor(struct cmd_req *r, const char *name, struct bw *w)
{
    char text[NODE_DESCRIPTOR_MAX + 1];

    node_descriptor(r->node, text);
    bw_str(w, name, text);
}

static void set_descriptor(struct cmd_req *r, struct bval v)
{
    node_set_descriptor(r->node, bval_str(v));
}

static void put_cursor_timeout(struct cmd_req *r, const char *name, struct bw *w)
{
    bw_i64(w, name, cursors_timeout_us(r->node->cursors) / 1000);
}

static void set_cursor_timeout(struct cmd_req *r, struct bval v)
{
    cursors_set_timeout(r->node->cursors, int_of(v) * 1000);
}

static void put_test_commands(struct cmd_req *r, const char *name, struct bw *w)
{
    bw_bool(w, name, r->node->test_commands);
}

static void put_fcv(struct cmd_req *r, const char *name, struct bw *w)
{
    bw_doc_begin(w, name);
    bw_str(w, "version", cmd_feature_version(r->node));
    bw_doc_end(w);
}

static void put_session_minutes(struct cmd_req *r, const char *name, struct bw *w)
{
    bw_i32(w, name, (int32_t)(r->node->limits.session_timeout_ms / 60000));
}

static void put_verbosity(struct cmd_req *r, const char *name, struct bw *w)
{
    bw_i32(w, name, atomic_load(&r->node->p.verbosity));
}

/* Our log has one level below the usual one. */
static void set_verbosity(struct cmd_req *r, struct bval v)
{
    struct node_params *p = &r->node->p;

    mutex_lock(&p->lock);
    int old = atomic_exchange(&p->verbosity, (int)int_of(v));
    if (int_of(v) > 0 && old == 0)
        p->usual_level = (int)log_set_level(LOG_DEBUG);
    if (int_of(v) == 0 && old > 0)
        log_set_level((enum log_level)p->usual_level);
    mutex_unlock(&p->lock);
}

static void put_query_memory(struct cmd_req *r, const char *name, struct bw *w)
{
    bw_i64(w, name, r->node->limits.query_memory_bytes);
}

static void put_iterations(struct cmd_req *r, const char *name, struct bw *w)
{
    (void)r;
    bw_i32(w, name, SCRAM_ITERATIONS);
}

static void put_ttl_enabled(struct cmd_req *r, const char *name, struct bw *w)
{
    bw_bool(w, name, !atomic_load(&r->node->p.no_ttl));
}

static void set_ttl_enabled(struct cmd_req *r, struct bval v)
{
    atomic_store(&r->node->p.no_ttl, !bval_truthy(v));
}

static void put_ttl_sleep(struct cmd_req *r, const char *name, struct bw *w)
{
    bw_i32(w, name, (int32_t)(atomic_load(&r->node->p.ttl_sleep_ms) / 1000));
}

static void set_ttl_sleep(struct cmd_req *r, struct bval v)
{
    atomic_store(&r->node->p.ttl_sleep_ms, int_of(v) * 1000);
}

static void put_quiet(struct cmd_req *r, const char *name, struct bw *w)
{
    bw_bool(w, name, atomic_load(&r->node->p.quiet));
}

static void set_quiet(struct cmd_req *r, struct bval v)
{
    atomic_store(&r->node->p.quiet, bval_truthy(v));
}

enum { BOTH = AT_STARTUP | AT_RUNTIME };
static const struct parameter parameters[] = {
    { "allowDiskUseByDefault", BOTH, put_disk_use, check_bool, set_disk_use, 0, 0 },
    { "authSchemaVersion", FIXED, put_auth_schema, NULL, NULL, 0, 0 },
    { "authenticationMechanisms", AT_STARTUP, put_mechanisms, NULL, NULL, 0, 0 },
    { "automationServiceDescriptor", BOTH, put_descriptor, check_text, set_descriptor, 0,
      NODE_DESCRIPTOR_MAX },
    { "cursorTimeoutMillis", BOTH, put_cursor_timeout, check_int, set_cursor_timeout, 1,
      INT64_MAX / 1000 },
    { "enableTestCommands", AT_STARTUP, put_test_commands, NULL, NULL, 0, 0 },
    { "featureCompatibilityVersion", FIXED, put_fcv, NULL, NULL, 0, 0 },
    { "internalQueryMaxBlockingSortMemoryUsageBytes", AT_STARTUP, put_query_memory, NULL, NULL, 0,
      0 },
    { "localLogicalSessionTimeoutMinutes", AT_STARTUP, put_session_minutes, NULL, NULL, 0, 0 },
    { "logLevel", BOTH, put_verbosity, check_int, set_verbosity, 0, VERBOSITY_MAX },
    { "quiet", BOTH, put_quiet, check_bool, set_quiet, 0, 0 },
    { "scramSHA256IterationCount", AT_STARTUP, put_iterations, NULL, NULL, 0, 0 },
    { "ttlMonitorEnabled", BOTH, put_ttl_enabled, check_bool, set_ttl_enabled, 0, 0 },
    { "ttlMonitorSleepSecs", BOTH, put_ttl_sleep, check_int, set_ttl_sleep, 1, INT32_MAX },
};

static const struct parameter *find_parameter(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++)
        if (slice_eq_str(name, parameters[i].name))
            return &parameters[i];
    return NULL;
}

/* ---- getParameter ---- */

struct wanted {
    bool details, all;
    struct slice set_at;
};

static const struct arg wanted_table[] = {
    ARG(struct wanted, details, "showDetails", ARG_SAFE_BOOL, 0),
    ARG(struct wanted, all, "allParameters", ARG_SAFE_BOOL, 0),
    ARG(struct wanted, set_at, "setAt", ARG_STR, 0),
};

static RC read_wanted(struct cmd_req *r, struct wanted *out, unsigned *settable, struct err *e)
{
    struct bval v = cmd_first(r);

    *out = (struct wanted){ 0 };
    *settable = 0;
    if (v.type == BT_STRING)
        out->all = slice_eq_str(bval_str(v), "*");
    if (v.type != BT_DOCUMENT)
        return RC_OK;
    TRY(cmd_fields(bval_doc(v), "getParameter", wanted_table, ARRAY_LEN(wanted_table), out, e));
    if (!out->set_at.p)
        return RC_OK;
    *settable = slice_eq_str(out->set_at, "startup")   ? AT_STARTUP
                : slice_eq_str(out->set_at, "runtime") ? AT_RUNTIME
                                                       : 0;
    if (!*settable)
        FAIL(e, ERR_BAD_VALUE,
             "Enumeration value '%.*s' for field 'getParameter.setAt' is not a valid value.",
             (int)MIN(out->set_at.len, 64u), out->set_at.p);
    return RC_OK;
}

static void put_parameter(struct cmd_req *r, const struct parameter *p, bool details, struct bw *w)
{
    if (!details) {
        p->put(r, p->name, w);
        return;
    }
    bw_doc_begin(w, p->name);
    p->put(r, "value", w);
    bw_bool(w, "settableAtRuntime", p->settable & AT_RUNTIME);
    bw_bool(w, "settableAtStartup", p->settable & AT_STARTUP);
    bw_doc_end(w);
}

RC cmd__getParameter(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct wanted x;
    unsigned settable;
    bool any = false;

    TRY(read_wanted(r, &x, &settable, e));
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++) {
        const struct parameter *p = &parameters[i];
        if (x.all ? settable && !(p->settable & settable)
                  : bdoc_get(r->body, p->name).type == BT_MISSING)
            continue;
        put_parameter(r, p, x.details, w);
        any = true;
    }
    if (!any)
        FAIL(e, ERR_INVALID_OPTIONS, "no option found to get");
    return RC_OK;
}

/* ---- setParameter ---- */

/* check_all(): every parameter that is named can be set to its value; *first is the one whose old value is told. */
static RC check_all(struct cmd_req *r, const struct parameter **first, struct err *e)
{
    struct biter it;

    *first = NULL;
    biter_init(&it, r->body);
    biter_next(&it);
    while (biter_next(&it)) {
        if (cmd_is_generic(it.name))
            continue;
        const struct parameter *p = find_parameter(it.name);
        if (!p)
            FAIL(e, ERR_INVALID_OPTIONS, "attempted to set unrecognized parameter [%.*s]",
                 (int)MIN(it.name.len, 100u), it.name.p);
        if (!(p->settable & AT_RUNTIME))
            FAIL(e, ERR_ILLEGAL_OPERATION, "not allowed to change [%s] at runtime", p->name);
        TRY(p->check(p, it.val, e));
        if (!*first)
            *first = p;
    }
    if (!*first)
        FAIL(e, ERR_INVALID_OPTIONS, "no option found to set");
    return RC_OK;
}

RC cmd__setParameter(struct cmd_req *r, struct bw *w, struct err *e)
{
    const struct parameter *first;
    struct biter it;

    TRY(check_all(r, &first, e));
    first->put(r, "was", w);
    biter_init(&it, r->body);
    biter_next(&it);
    while (biter_next(&it)) {
        const struct parameter *p = cmd_is_generic(it.name) ? NULL : find_parameter(it.name);
        if (!p)
            continue;
        p->set(r, it.val);
        log_event(EV_PARAMETER_SET, KV_STR("parameter", p->name));
    }
    return RC_OK;
}

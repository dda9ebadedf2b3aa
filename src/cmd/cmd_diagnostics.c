/* cmd_diagnostics.c - what the server says about itself: buildInfo, getCmdLineOpts, getLog, listCommands (compatibility 20). */
#include "cmd_priv.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd_version.h"
#include "crypto/aead.h"

RC cmd__buildInfo(struct cmd_req *r, struct bw *w, struct err *e)
{
    static const int parts[] = { CMD_VERSION_PARTS };

    TRY(cmd_no_args(r, e));
    bw_str(w, "version", CMD_VERSION);
    bw_str(w, "gitVersion", "CofferDB " COFFER_VERSION);
    bw_array_begin(w, "modules");
    bw_array_end(w);
    bw_str(w, "allocator", "system");
    bw_str(w, "javascriptEngine", "none");
    bw_str(w, "sysInfo", "deprecated");
    bw_array_begin(w, "versionArray");
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        bw_i32(w, NULL, parts[i]);
    bw_array_end(w);
    bw_doc_begin(w, "openssl");
    bw_str(w, "running", crypto_engine());
    bw_doc_end(w);
    bw_doc_begin(w, "buildEnvironment");
    bw_str(w, "target_os", "linux");
    bw_doc_end(w);
    bw_i32(w, "bits", 64);
    bw_bool(w, "debug", false);
    bw_i32(w, "maxBsonObjectSize", 16777216);
    bw_array_begin(w, "storageEngines");
    bw_str(w, NULL, "rocksdb");
    bw_array_end(w);
    return RC_OK;
}

/* Settings that differ from their defaults; secret ones are left out. */
static void write_settings(const struct settings *s, struct bw *w)
{
    for (int i = 0; s && i < settings_count(s); i++) {
        const struct setting_def *d = settings_def(s, i);

        if (settings_is_default(s, i) || (d->flags & SET_SECRET))
            continue;
        switch (d->type) {
        case SET_T_BOOL: bw_bool(w, d->name, settings_bool(s, i)); break;
        case SET_T_STR: bw_str(w, d->name, settings_str(s, i)); break;
        case SET_T_DURATION_MS: bw_i64(w, d->name, (int64_t)(settings_us(s, i) / 1000)); break;
        default: bw_i64(w, d->name, settings_i64(s, i)); break;
        }
    }
}

RC cmd__getCmdLineOpts(struct cmd_req *r, struct bw *w, struct err *e)
{
    TRY(cmd_no_args(r, e));
    bw_array_begin(w, "argv");
    for (int i = 0; i < r->node->argc; i++)
        bw_str(w, NULL, r->node->argv[i]);
    bw_array_end(w);
    bw_doc_begin(w, "parsed");
    write_settings(r->node->settings, w);
    bw_doc_end(w);
    return RC_OK;
}

/* ---- getLog ---- */

struct log_lines {
    struct bw *w;
    int n;
};

static void put_line(const char *line, void *arg)
{
    struct log_lines *l = arg;

    bw_str(l->w, NULL, line);
    l->n++;
}

RC cmd__getLog(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct bval which = cmd_first(r);
    struct log_lines l = { .w = w };
    struct slice name;

    TRY(cmd_no_args(r, e));
    if (which.type == BT_NULL)
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field 'getLog.getLog' is missing but a required field");
    if (which.type != BT_STRING)
        FAIL(e, ERR_TYPE_MISMATCH, "Argument to getLog must be of type String; found type %s",
             btype_name(which.type));
    name = bval_str(which);
    if (slice_eq_str(name, "*")) {
        bw_array_begin(w, "names");
        bw_str(w, NULL, "global");
        bw_str(w, NULL, "startupWarnings");
        bw_array_end(w);
        return RC_OK;
    }
    if (!slice_eq_str(name, "global") && !slice_eq_str(name, "startupWarnings"))
        FAIL(e, ERR_OPERATION_FAILED, "No log named '%.*s'", (int)MIN(name.len, (size_t)60),
             (const char *)name.p);
    bw_array_begin(w, "log");
    if (slice_eq_str(name, "global"))
        log_recent(put_line, &l);
    bw_array_end(w);
    bw_i32(w, "totalLinesWritten", l.n);
    return RC_OK;
}

/* ---- listCommands ---- */

RC cmd__listCommands(struct cmd_req *r, struct bw *w, struct err *e)
{
    (void)e;
    bw_doc_begin(w, "commands");
    for (int i = 0; i < cmd_count(); i++) {
        const struct cmd_def *d = cmd_at(i);

        if ((d->flags & CMD_TEST_ONLY) && !r->node->test_commands)
            continue;
        bw_doc_begin(w, d->name);
        bw_str(w, "help", d->help);
        bw_bool(w, "requiresAuth", !(d->flags & CMD_NO_AUTH));
        bw_bool(w, "secondaryOk", !(d->flags & CMD_WRITES));
        bw_bool(w, "adminOnly", (d->flags & CMD_ADMIN_ONLY) != 0);
        bw_array_begin(w, "apiVersions");
        if (d->flags & CMD_API_V1)
            bw_str(w, NULL, "1");
        bw_array_end(w);
        bw_array_begin(w, "deprecatedApiVersions");
        bw_array_end(w);
        bw_doc_end(w);
    }
    bw_doc_end(w);
    return RC_OK;
}

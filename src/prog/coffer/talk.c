/* talk.c - see talk.h. */
#include "talk.h"

#include <stdio.h>
#include <string.h>

#include "admin/admin.h"
#include "base/file.h"
#include "base/mem.h"

/* A cluster's name becomes part of a path. */
static bool is_name(const char *s)
{
    return *s && s[0] != '.' && !strchr(s, '/');
}

RC talk_socket(const struct coffer *c, const char *cluster, char **out, struct err *e)
{
    const char *given = settings_str(c->settings, CS_ADMIN_SOCKET);

    *out = NULL;
    if (*given && !cluster) {
        *out = mem_strdup(given);
        return RC_OK;
    }
    if (!cluster)
        TRY(coffer_node(c, &cluster, e));
    AUTO(mem_freep) char *data = is_name(cluster) ? coffer_path(c, cluster, "data") : NULL;
    if (!data || !path_exists(data))
        FAIL(e, ERR_NOT_FOUND, "%s has no cluster \"%.60s\"; see coffer cluster list", c->home,
             cluster);
    *out = coffer_path(c, cluster, "state/admin.sock");
    return RC_OK;
}

RC talk(const struct coffer *c, const char *cluster, struct bdoc request, uint64_t timeout_ms,
        struct arena *a, struct bdoc *answer, struct err *e)
{
    AUTO(mem_freep) char *socket = NULL;

    *answer = BDOC_EMPTY;
    TRY(talk_socket(c, cluster, &socket, e));
    return admin_call(socket, request, timeout_ms, a, answer, e);
}

RC talk_put_setting(const struct coffer *c, int row, struct bw *w, struct err *e)
{
    const struct setting_def *d = settings_def(c->settings, row);
    AUTO(mem_freep) char *path = NULL;

    if (settings_is_default(c->settings, row))
        return RC_OK;
    if (d->type == SET_T_BOOL) {
        bw_bool(w, d->name, settings_bool(c->settings, row));
        return RC_OK;
    }
    const char *value = settings_str(c->settings, row);
    if ((d->flags & SET_PATH) && *value)
        TRY(coffer_absolute(value, &path, e));
    bw_str(w, d->name, path ? path : value);
    return RC_OK;
}

/* ---- printing ---- */

static bool is_nested(struct bval v)
{
    return v.type == BT_DOCUMENT || v.type == BT_ARRAY;
}

/* A nested value goes below its name, two columns in; the elements of an array are marked by a dash. */
static void format_text(struct bdoc d, bool array, int indent, struct buf *out)
{
    struct biter it;

    biter_init(&it, d);
    while (biter_next(&it)) {
        if (indent == 0 && slice_eq_str(it.name, "ok"))
            continue;
        if (array)
            buf_printf(out, "%*s-", indent, "");
        else
            buf_printf(out, "%*s%.*s:", indent, "", (int)it.name.len, (const char *)it.name.p);
        if (is_nested(it.val)) {
            buf_printf(out, "\n");
            format_text(bval_doc(it.val), it.val.type == BT_ARRAY, indent + 2, out);
            continue;
        }
        if (it.val.type == BT_STRING) {
            struct slice s = bval_str(it.val);
            buf_printf(out, " %.*s\n", (int)s.len, (const char *)s.p);
            continue;
        }
        buf_printf(out, " ");
        bval_to_json(it.val, out);
        buf_printf(out, "\n");
    }
}

static void format_json(struct bval v, struct buf *out)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct biter it;
    struct bw w;

    if (v.type == BT_DOCUMENT) {
        bw_init(&w, &space);
        biter_init(&it, bval_doc(v));
        while (biter_next(&it))
            if (!slice_eq_str(it.name, "ok"))
                bw_val_slice(&w, it.name, it.val);
        v = bval_of_doc(bw_finish(&w), BT_DOCUMENT);
    }
    bval_to_json(v, out);
    buf_printf(out, "\n");
}

RC talk_format(const struct coffer *c, struct bval v, struct buf *out, struct err *e)
{
    const char *how = settings_str(c->settings, CS_OUTPUT);

    if (strcmp(how, "json") == 0)
        format_json(v, out);
    else if (strcmp(how, "text") == 0)
        format_text(bval_doc(v), v.type == BT_ARRAY, 0, out);
    else
        FAIL(e, ERR_CONFIG, "setting \"output\" takes text or json, not \"%.60s\"", how);
    return RC_OK;
}

RC talk_print(const struct coffer *c, struct bval v, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    TRY(talk_format(c, v, &text, e));
    printf("%s", buf_cstr(&text));
    return RC_OK;
}

RC talk_and_print(const struct coffer *c, const char *cluster, struct bdoc request,
                  uint64_t timeout_ms, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct bdoc answer;

    TRY(talk(c, cluster, request, timeout_ms, a, &answer, e));
    return talk_print(c, bval_of_doc(answer, BT_DOCUMENT), e);
}

/* talk.c - see talk.h. */
#include "talk.h"

#include <stdio.h>
#include <string.h>

#include "admin/admin.h"
#include "base/file.h"
#include "base/mem.h"

/* A node that replaces its image has its socket back much sooner. */
enum { PATIENCE_MS = 3000 };

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

/* Nobody listens on the socket of a cluster of this installation. */
static RC does_not_run(const struct coffer *c, const char *cluster, struct err *e)
{
    if (!cluster)
        TRY(coffer_node(c, &cluster, e));
    if (coffer_is_erased(c, cluster))
        FAIL(e, ERR_NOT_FOUND, "cluster \"%.60s\" was erased: see %s/%.60s/state/erased", cluster,
             c->home, cluster);
    FAIL(
        e, ERR_NOT_FOUND,
        "the node of cluster \"%.60s\" does not run; `coffer up` starts it, its log is %s/%.60s/log",
        cluster, c->home, cluster);
}

static RC ask(const struct coffer *c, const char *cluster, struct bdoc request, uint64_t timeout_ms,
              uint64_t patience_ms, struct arena *a, struct bdoc *answer, struct err *e)
{
    AUTO(mem_freep) char *socket = NULL;
    struct err why = { 0 };

    *answer = BDOC_EMPTY;
    TRY(talk_socket(c, cluster, &socket, e));
    if (!admin_call_patiently(socket, request, timeout_ms, patience_ms, a, answer, &why).failed)
        return RC_OK;
    bool there = path_exists(socket) || (!cluster && *settings_str(c->settings, CS_ADMIN_SOCKET));
    if (why.code != ERR_NOT_FOUND || there)
        return err_take(e, &why);
    err_reset(&why);
    return does_not_run(c, cluster, e);
}

RC talk(const struct coffer *c, const char *cluster, struct bdoc request, uint64_t timeout_ms,
        struct arena *a, struct bdoc *answer, struct err *e)
{
    return ask(c, cluster, request, timeout_ms, PATIENCE_MS, a, answer, e);
}

RC talk_once(const struct coffer *c, const char *cluster, struct bdoc request, uint64_t timeout_ms,
             struct arena *a, struct bdoc *answer, struct err *e)
{
    return ask(c, cluster, request, timeout_ms, /* patience_ms= */ 0, a, answer, e);
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

/* An answer without the "ok" that every one begins with. */
static struct bval without_ok(struct bval v, struct buf *space)
{
    struct biter it;
    struct bw w;

    if (v.type != BT_DOCUMENT)
        return v;
    bw_init(&w, space);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it))
        if (!slice_eq_str(it.name, "ok"))
            bw_val_slice(&w, it.name, it.val);
    return bval_of_doc(bw_finish(&w), BT_DOCUMENT);
}

RC talk_format(const struct coffer *c, struct bval v, struct buf *out, struct err *e)
{
    const char *how = settings_str(c->settings, CS_OUTPUT);
    AUTO(buf_fini) struct buf space = BUF_INIT;

    v = without_ok(v, &space);
    if (strcmp(how, "json") == 0) {
        bval_to_json(v, out);
        buf_push_u8(out, '\n');
    } else if (strcmp(how, "text") == 0) {
        talk_text(v, out);
    } else {
        FAIL(e, ERR_CONFIG, "setting \"output\" takes text or json, not \"%.60s\"", how);
    }
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

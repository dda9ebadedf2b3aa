/* cluster.c - `coffer cluster ...`: the clusters of an installation and the keys of each. An operation is one of the node's (cofferd's ops.c); here its
 * fields are taken from the command line.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "child.h"
#include "coffer.h"
#include "talk.h"

enum { CLUSTERS_MAX = 256, LIST_TIMEOUT_MS = 5000, KEY_TIMEOUT_MS = 120 * 1000 };

/* ---- coffer cluster list ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A cluster is a directory of the installation with data in it; the vault has none. */
static RC find_clusters(const struct coffer *c, char *names[CLUSTERS_MAX], int *n, struct err *e)
{
    DIR *d = opendir(c->home);
    struct dirent *entry;

    *n = 0;
    if (!d && errno == ENOENT)
        return RC_OK;
    if (!d)
        return file_err(e, errno, "open", c->home);
    while (*n < CLUSTERS_MAX && (entry = readdir(d))) {
        AUTO(mem_freep) char *data = coffer_path(c, entry->d_name, "data");
        if (entry->d_name[0] != '.' && path_exists(data))
            names[(*n)++] = mem_strdup(entry->d_name);
    }
    closedir(d);
    qsort(names, (size_t)*n, sizeof(names[0]), by_name);
    return RC_OK;
}

/* Why a node does not answer. */
static const char *silent_state(const struct coffer *c, const char *name)
{
    AUTO(mem_freep) char *pid_file = coffer_path(c, name, "pid");

    if (child_find(pid_file))
        return "NotAnswering";
    return coffer_is_erased(c, name) ? "Erased" : "Stopped";
}

/* One that does not answer is listed too: that is what somebody looks for. */
static void describe_cluster(const struct coffer *c, const char *name, struct bw *w)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf space = BUF_INIT;
    static const char *const shown[] = { "mode", "state", "since", "cause" };
    struct err why = { 0 };
    struct bdoc answer;
    struct bw request;

    bw_init(&request, &space);
    bw_str(&request, "op", "status");
    bw_str(w, "name", name);
    if (talk_once(c, name, bw_finish(&request), LIST_TIMEOUT_MS, a, &answer, &why).failed) {
        bw_str(w, "state", silent_state(c, name));
        err_reset(&why);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        struct bval v = bdoc_get(answer, shown[i]);
        if (!bval_is_missing(v))
            bw_val(w, shown[i], v);
    }
}

RC coffer_cluster_list(struct coffer *c, int argc, char **argv, struct err *e)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    char *names[CLUSTERS_MAX];
    struct bw w;
    int n;

    (void)argc;
    (void)argv;
    TRY(find_clusters(c, names, &n, e));
    bw_init(&w, &space);
    bw_array_begin(&w, "list");
    for (int i = 0; i < n; i++) {
        bw_doc_begin(&w, NULL);
        describe_cluster(c, names[i], &w);
        bw_doc_end(&w);
        mem_free(names[i]);
    }
    bw_array_end(&w);
    return talk_print(c, bdoc_get(bw_finish(&w), "list"), e);
}

/* ---- operations that take fields from the command line -------------------------------------------------------------- */

static const char *cluster_of(int argc, char **argv)
{
    return argc > 0 ? argv[0] : NULL;
}

/* The settings that are fields of an operation, under the same name. */
static const int key_fields[] = {
    CS_KEY_URL,      CS_KEY_CA_FILE,    CS_KEY_PROXY,         CS_KEY_AUDIENCE, CS_KEY_CONTEXT,
    CS_TOKEN_SOURCE, CS_TOKEN_ENDPOINT, CS_TOKEN_SECRET_FILE, CS_CLIENT_ID,    CS_TENANT_ID,
};

enum field_flags { KEY_FIELDS = 1, KEY_MODE_FIELD = 2, COMPROMISED_FIELD = 4 };

/* request(): {op, and what of the fields was given}. */
static RC request(const struct coffer *c, const char *op, unsigned fields, struct buf *space,
                  struct bdoc *out, struct err *e)
{
    struct bw w;

    bw_init(&w, space);
    bw_str(&w, "op", op);
    if (fields & KEY_MODE_FIELD)
        TRY(talk_put_setting(c, CS_KEY_MODE, &w, e));
    for (size_t i = 0; (fields & KEY_FIELDS) && i < ARRAY_LEN(key_fields); i++)
        TRY(talk_put_setting(c, key_fields[i], &w, e));
    if (fields & COMPROMISED_FIELD)
        TRY(talk_put_setting(c, CS_COMPROMISED, &w, e));
    *out = bw_finish(&w);
    return RC_OK;
}

static RC operate(const struct coffer *c, const char *cluster, const char *op, unsigned fields,
                  struct err *e)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct bdoc d;

    TRY(request(c, op, fields, &space, &d, e));
    return talk_and_print(c, cluster, d, KEY_TIMEOUT_MS, e);
}

RC coffer_cluster_status(struct coffer *c, int argc, char **argv, struct err *e)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct bdoc d;

    TRY(request(c, "status", 0, &space, &d, e));
    return talk_and_print(c, cluster_of(argc, argv), d, LIST_TIMEOUT_MS, e);
}

RC coffer_key_show(struct coffer *c, int argc, char **argv, struct err *e)
{
    return operate(c, cluster_of(argc, argv), "keyShow", 0, e);
}

/* A key that would not do is listed, and is a failure of the command: scripts look at its status. */
RC coffer_key_check(struct coffer *c, int argc, char **argv, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct bdoc d, answer;

    TRY(request(c, "keyCheck", KEY_FIELDS, &space, &d, e));
    TRY(talk(c, cluster_of(argc, argv), d, KEY_TIMEOUT_MS, a, &answer, e));
    TRY(talk_print(c, bval_of_doc(answer, BT_DOCUMENT), e));
    struct bval usable = bdoc_get(answer, "usable");
    if (usable.type != BT_BOOL || !bval_bool(usable))
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "the key would not do: see the rules whose verdict is \"failed\"");
    return RC_OK;
}

RC coffer_key_set(struct coffer *c, int argc, char **argv, struct err *e)
{
    return operate(c, cluster_of(argc, argv), "keySet", KEY_FIELDS | COMPROMISED_FIELD, e);
}

RC coffer_key_switch(struct coffer *c, int argc, char **argv, struct err *e)
{
    return operate(c, cluster_of(argc, argv), "keySwitch", KEY_MODE_FIELD | KEY_FIELDS, e);
}

RC coffer_key_follow(struct coffer *c, int argc, char **argv, struct err *e)
{
    return operate(c, cluster_of(argc, argv), "keyFollow", COMPROMISED_FIELD, e);
}

/* ---- rotation of the SMK ---- */

RC coffer_rotate_key(struct coffer *c, int argc, char **argv, struct err *e)
{
    return operate(c, cluster_of(argc, argv), "rotateKey", COMPROMISED_FIELD, e);
}

RC coffer_rotation_status(struct coffer *c, int argc, char **argv, struct err *e)
{
    return operate(c, cluster_of(argc, argv), "rotationStatus", 0, e);
}

static RC pause_rotation(struct coffer *c, int argc, char **argv, bool paused, struct err *e)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct bw w;

    bw_init(&w, &space);
    bw_str(&w, "op", "rotationPause");
    bw_bool(&w, "paused", paused);
    return talk_and_print(c, cluster_of(argc, argv), bw_finish(&w), KEY_TIMEOUT_MS, e);
}

RC coffer_rotation_pause(struct coffer *c, int argc, char **argv, struct err *e)
{
    return pause_rotation(c, argc, argv, true, e);
}

RC coffer_rotation_resume(struct coffer *c, int argc, char **argv, struct err *e)
{
    return pause_rotation(c, argc, argv, false, e);
}

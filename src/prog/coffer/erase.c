/* erase.c - `coffer cluster erase NAME --confirm=NAME`: of a node that answers over its administration socket, else by `cofferd erase` on its directories. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "child.h"
#include "coffer.h"
#include "talk.h"

enum {
    ASK_TIMEOUT_MS = 30000,
    ERASE_TIMEOUT_US = 120 * 1000000,
    POLL_US = 100000,
    REPORT_MAX = 4 << 20
};

extern char **environ;

static RC read_report(const char *path, struct arena *a, struct bdoc *out, bool *done,
                      struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    *done = false;
    TRY(file_read(path, REPORT_MAX, &text, e));
    TRY(bdoc_from_json(a, buf_cstr(&text), out, e));
    struct bval state = bdoc_get(*out, "state");
    *done = state.type == BT_STRING && slice_eq_str(bval_str(state), "erased");
    return RC_OK;
}

bool coffer_is_erased(const struct coffer *c, const char *cluster)
{
    AUTO(mem_freep) char *path = coffer_path(c, cluster, "state/erased");
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct err ignored = { 0 };
    struct bdoc report;
    bool done;

    (void)read_report(path, a, &report, &done, &ignored).failed;
    err_reset(&ignored);
    return done;
}

static RC print_report(const struct coffer *c, const char *path, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct bdoc report;
    bool done;

    TRY(read_report(path, a, &report, &done, e));
    TRY(talk_print(c, bval_of_doc(report, BT_DOCUMENT), e));
    if (!done)
        FAIL(e, ERR_OPERATION_FAILED,
             "the erasing is not over: see the rows of %s that failed, and call it again", path);
    return RC_OK;
}

/* The node answers first and erases then, in an image without keys. */
static RC wait_erased(const char *path, pid_t pid, const char *pid_file, struct err *e)
{
    uint64_t until = clock_mono_us() + ERASE_TIMEOUT_US;

    for (bool done = false; !done; clock_sleep_us(POLL_US)) {
        AUTO(arena_freep) struct arena *a = arena_new(0);
        struct bdoc report;
        bool ended = pid_file && child_find(pid_file) != pid;

        TRY(read_report(path, a, &report, &done, e));
        if (!done && ended)
            return RC_OK;
        if (clock_mono_us() > until)
            FAIL(e, ERR_TIMEOUT, "the node does not say that the erasing is over: see %s", path);
    }
    return RC_OK;
}

static RC ask_node(const struct coffer *c, const char *cluster, const char *confirm, char **report,
                   struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct bdoc answer;
    struct bw w;

    *report = NULL;
    bw_init(&w, &space);
    bw_str(&w, "op", "erase");
    bw_str(&w, "confirm", confirm);
    TRY(talk_put_setting(c, CS_KEEP_KEY_VERSION, &w, e));
    TRY(talk(c, cluster, bw_finish(&w), ASK_TIMEOUT_MS, a, &answer, e));
    struct slice path = bval_str(bdoc_get(answer, "report"));
    *report = mem_strndup((const char *)path.p, path.len);
    return RC_OK;
}

static RC run_offline(char *const argv[], struct err *e)
{
    int status;
    pid_t pid;

    int rc = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
    if (rc)
        return file_err(e, rc, "start", argv[0]);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return file_err(e, errno, "wait for", argv[0]);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        FAIL(e, ERR_OPERATION_FAILED, "%s could not erase the cluster; it says why above", argv[0]);
    return RC_OK;
}

static RC erase_stopped(struct coffer *c, const char *cluster, const char *confirm, struct err *e)
{
    AUTO(mem_freep) char *report = coffer_path(c, cluster, "state/erased");
    AUTO(mem_freep) char *data = coffer_path(c, cluster, "data");
    char *argv[COFFER_ARGS_MAX + 4];
    int n;

    if (!path_exists(data))
        FAIL(e, ERR_NOT_FOUND, "%s has no cluster \"%.60s\"; see coffer cluster list", c->home,
             cluster);
    coffer_node_args(c, cluster, argv, &n);
    argv[n++] = mem_printf("--confirm=%s", confirm);
    argv[n++] = mem_printf("--keep-key-version=%s",
                           settings_bool(c->settings, CS_KEEP_KEY_VERSION) ? "true" : "false");
    argv[n++] = mem_strdup("erase");
    argv[n] = NULL;
    rc_t rc = run_offline(argv, e);
    for (int i = 0; i < n; i++)
        mem_free(argv[i]);
    TRY(rc);
    return print_report(c, report, e);
}

RC coffer_cluster_erase(struct coffer *c, int argc, char **argv, struct err *e)
{
    const char *confirm = settings_str(c->settings, CS_CONFIRM), *cluster = argc ? argv[0] : NULL;
    AUTO(mem_freep) char *report = NULL,
                         *pid_file = cluster ? coffer_path(c, cluster, "pid") : NULL;
    struct err why = { 0 };

    if (!cluster && !*settings_str(c->settings, CS_ADMIN_SOCKET))
        FAIL(e, ERR_CONFIG, "name the cluster that is to be erased");
    if (!*confirm || (cluster && strcmp(confirm, cluster) != 0))
        FAIL(
            e, ERR_CONFIG,
            "this destroys the keys of the cluster for ever, and with them all of its data; if that is meant: --confirm=%.60s",
            cluster ? cluster : "NAME");
    pid_t pid = pid_file ? child_find(pid_file) : 0;
    if (!ask_node(c, cluster, confirm, &report, &why).failed) {
        TRY(wait_erased(report, pid, pid_file, e));
        return print_report(c, report, e);
    }
    if (why.code != ERR_NOT_FOUND || !cluster || pid)
        return err_take(e, &why);
    err_reset(&why);
    return erase_stopped(c, cluster, confirm, e);
}

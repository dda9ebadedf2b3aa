/* report.c - what runs and in which state; and what a node's administration socket offers. */
#include <stdio.h>
#include <string.h>

#include "admin/admin.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/mem.h"
#include "child.h"
#include "coffer.h"

enum {
    STATUS_TIMEOUT_MS = 5000,
    BACKUP_TIMEOUT_MS = 3600 * 1000,
    VERIFY_TIMEOUT_MS = 6 * 3600 * 1000
};

static const char *const programs[] = { "vault", "smk", "cmk" };

/* One line of JSON, whatever the setting output says: `coffer status` and its like are read by scripts. */
static RC ask(const char *socket, struct bdoc request, uint64_t timeout_ms, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct buf text = BUF_INIT;
    struct bdoc answer;

    if (admin_call(socket, request, timeout_ms, a, &answer, e).failed)
        return RC_FAILED;
    bval_to_json(bval_of_doc(answer, BT_DOCUMENT), &text);
    printf("%s\n", buf_cstr(&text));
    buf_fini(&text);
    return RC_OK;
}

static char *socket_of(const struct coffer *c, const char *node)
{
    return coffer_path(c, node, "state/admin.sock");
}

/* operate(): one request without arguments, or with a directory, to the node that the settings name. */
static RC operate(const struct coffer *c, const char *op, const char *directory,
                  uint64_t timeout_ms, struct err *e)
{
    struct buf buf = BUF_INIT;
    struct bw w;
    const char *given = settings_str(c->settings, CS_ADMIN_SOCKET);
    const char *node = NULL;

    if (!*given)
        TRY(coffer_node(c, &node, e));
    AUTO(mem_freep) char *socket = *given ? mem_strdup(given) : socket_of(c, node);
    bw_init(&w, &buf);
    bw_str(&w, "op", op);
    if (directory)
        bw_str(&w, "dir", directory);
    rc_t rc = ask(socket, bw_finish(&w), timeout_ms, e);
    buf_fini(&buf);
    return rc;
}

RC coffer_revalidate(struct coffer *c, int argc, char **argv, struct err *e)
{
    (void)argc;
    (void)argv;
    return operate(c, "revalidate", NULL, STATUS_TIMEOUT_MS * 4, e);
}

RC coffer_backup(struct coffer *c, int argc, char **argv, struct err *e)
{
    (void)argc;
    /* The node has another working directory than we do. */
    AUTO(mem_freep) char *directory = NULL;
    TRY(coffer_absolute(argv[0], &directory, e));
    return operate(c, "backup", directory, BACKUP_TIMEOUT_MS, e);
}

RC coffer_backup_verify(struct coffer *c, int argc, char **argv, struct err *e)
{
    (void)argc;
    AUTO(mem_freep) char *directory = NULL;
    TRY(coffer_absolute(argv[0], &directory, e));
    return operate(c, "backupVerify", directory, VERIFY_TIMEOUT_MS, e);
}

RC coffer_status(struct coffer *c, int argc, char **argv, struct err *e)
{
    (void)argc;
    (void)argv;
    if (*settings_str(c->settings, CS_ADMIN_SOCKET))
        return operate(c, "status", NULL, STATUS_TIMEOUT_MS, e);
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        AUTO(mem_freep) char *pid_file = coffer_path(c, programs[i], "pid");
        AUTO(mem_freep) char *port_file = coffer_path(c, programs[i], "port");
        AUTO(mem_freep) char *port = NULL;
        pid_t pid = child_find(pid_file);
        if (!pid) {
            printf("%-6s does not run\n", programs[i]);
            continue;
        }
        struct err ignored = { 0 };
        if (coffer_read_text(port_file, &port, &ignored).failed)
            err_reset(&ignored);
        printf("%-6s runs: process %d, port %s\n", programs[i], (int)pid, port ? port : "not open");
        if (strcmp(programs[i], "vault") == 0)
            continue;
        AUTO(mem_freep) char *socket = socket_of(c, programs[i]);
        struct buf buf = BUF_INIT;
        struct bw w;
        bw_init(&w, &buf);
        bw_str(&w, "op", "status");
        printf("       ");
        rc_t rc = ask(socket, bw_finish(&w), STATUS_TIMEOUT_MS, e);
        buf_fini(&buf);
        TRY(rc);
    }
    return RC_OK;
}

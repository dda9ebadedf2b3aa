/* report.c - what runs and in which state; and what a node's administration socket offers. */
#include <stdio.h>
#include <string.h>

#include "admin/admin.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "child.h"
#include "coffer.h"
#include "talk.h"

enum {
    STATUS_TIMEOUT_MS = 5000,
    BACKUP_TIMEOUT_MS = 3600 * 1000,
    VERIFY_TIMEOUT_MS = 6 * 3600 * 1000
};

static const char *const programs[] = { "vault", "smk", "cmk" };

static char *socket_of(const struct coffer *c, const char *node)
{
    return coffer_path(c, node, "state/admin.sock");
}

/* operate(): one request without arguments, or with a directory, to the node that the settings name. */
static RC operate(const struct coffer *c, const char *op, const char *directory,
                  uint64_t timeout_ms, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf buf = BUF_INIT;
    struct bdoc answer;
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
    TRY(admin_call(socket, bw_finish(&w), timeout_ms, a, &answer, e));
    return talk_print(c, bval_of_doc(answer, BT_DOCUMENT), e);
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

/* ---- what runs ------------------------------------------------------------------------------------------------------- */

static RC ask_state(const struct coffer *c, const char *program, struct arena *a, struct bdoc *out,
                    struct err *e)
{
    AUTO(mem_freep) char *socket = socket_of(c, program);
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct bw w;

    bw_init(&w, &space);
    bw_str(&w, "op", "status");
    return admin_call(socket, bw_finish(&w), STATUS_TIMEOUT_MS, a, out, e);
}

/* What a node says of itself in one line; the whole of it: coffer cluster status. */
static void print_state(struct bdoc status)
{
    static const char *const shown[] = { "state", "mode", "since", "cause" };

    printf("      ");
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        AUTO(buf_fini) struct buf space = BUF_INIT, text = BUF_INIT;
        struct bval v = bdoc_get(status, shown[i]);
        struct bw w;
        if (bval_is_missing(v))
            continue;
        bw_init(&w, &space);
        bw_val(&w, shown[i], v);
        talk_text(bval_of_doc(bw_finish(&w), BT_DOCUMENT), &text);
        printf(" %s%.*s", i ? " " : "", (int)(text.len - 1), buf_cstr(&text));
    }
    printf("\n");
}

/* w NULL: as text. */
static RC tell_program(const struct coffer *c, const char *program, struct bw *w, struct err *e)
{
    AUTO(mem_freep) char *pid_file = coffer_path(c, program, "pid"),
                         *port_file = coffer_path(c, program, "port"), *port = NULL;
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct err ignored = { 0 };
    struct bdoc status = BDOC_EMPTY;
    pid_t pid = child_find(pid_file);
    int64_t n;

    if (pid && coffer_read_text(port_file, &port, &ignored).failed)
        err_reset(&ignored);
    if (w) {
        bw_str(w, "program", program);
        bw_bool(w, "runs", pid != 0);
        if (pid)
            bw_i64(w, "pid", pid);
        if (port && text_i64(slice_str(port), &n))
            bw_i64(w, "port", n);
    } else if (pid) {
        printf("%-6s runs: process %d, port %s\n", program, (int)pid, port ? port : "not open");
    } else {
        printf("%-6s does not run\n", program);
    }
    if (!pid || strcmp(program, "vault") == 0)
        return RC_OK;
    TRY(ask_state(c, program, a, &status, e));
    if (w)
        bw_val(w, "status", bval_of_doc(status, BT_DOCUMENT));
    else
        print_state(status);
    return RC_OK;
}

RC coffer_status(struct coffer *c, int argc, char **argv, struct err *e)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    bool json = strcmp(settings_str(c->settings, CS_OUTPUT), "json") == 0;
    struct bw w;

    (void)argc;
    (void)argv;
    if (*settings_str(c->settings, CS_ADMIN_SOCKET))
        return operate(c, "status", NULL, STATUS_TIMEOUT_MS, e);
    bw_init(&w, &space);
    bw_array_begin(&w, "programs");
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        bw_doc_begin(&w, NULL);
        TRY(tell_program(c, programs[i], json ? &w : NULL, e));
        bw_doc_end(&w);
    }
    bw_array_end(&w);
    return json ? talk_print(c, bdoc_get(bw_finish(&w), "programs"), e) : RC_OK;
}

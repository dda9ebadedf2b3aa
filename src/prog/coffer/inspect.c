/* inspect.c - `coffer inspect DIRECTORY`: every file of a data directory or a backup, what it is, and that none of it is in the clear.
 *
 * Without keys this program reads the files itself: nothing needs to run, and it holds no key. With --with-keys-of=CLUSTER (or --admin-socket) the
 * node that has the keys verifies every tag of the directory; of the one that it writes to itself it verifies a consistent copy by links.
 */
#include <stdio.h>
#include <string.h>

#include "admin/inspect.h"
#include "base/arena.h"
#include "base/mem.h"
#include "coffer.h"
#include "talk.h"

enum { INSPECT_TIMEOUT_MS = 6 * 3600 * 1000 };

static const char *text_of(struct arena *a, struct bdoc d, const char *name)
{
    struct bval v = bdoc_get(d, name);

    return v.type == BT_STRING ? arena_strndup(a, (const char *)bval_str(v).p, bval_str(v).len)
                               : "";
}

static long long number_of(struct bdoc d, const char *name)
{
    struct bval v = bdoc_get(d, name);
    int64_t n = 0;

    return bval_to_i64(v, &n) ? (long long)n : 0;
}

static void print_files(struct arena *a, struct bdoc files, bool keys)
{
    struct biter it;

    printf("\n%-22s %-9s %4s %14s %9s  %-18s %s\n", "file", "role", "gen", "bytes", "units", "salt",
           keys ? "authenticated" : "");
    biter_init(&it, files);
    while (biter_next(&it)) {
        struct bdoc f = bval_doc(it.val);
        const char *what = text_of(a, f, "problem");
        bool verified = bval_truthy(bdoc_get(f, "authenticated"));
        long long units = number_of(f, "chunks") + number_of(f, "frames");
        printf("%-22s %-9s %4lld %14lld %9lld  %-16.16s%s %s%s\n", text_of(a, f, "name"),
               text_of(a, f, "role"), number_of(f, "generation"), number_of(f, "bytes"), units,
               text_of(a, f, "salt"), *text_of(a, f, "salt") ? ".." : "  ",
               *what      ? "PROBLEM: "
               : verified ? "yes"
                          : "",
               what);
    }
}

static void print_envelopes(struct arena *a, struct bdoc envelopes)
{
    struct biter it;

    biter_init(&it, envelopes);
    while (biter_next(&it)) {
        struct bdoc v = bval_doc(it.val);
        if (*text_of(a, v, "problem")) {
            printf("%s: PROBLEM: %s\n", text_of(a, v, "name"), text_of(a, v, "problem"));
            continue;
        }
        printf("%s: mode %s, sequence %lld, key version %s (%s)\n", text_of(a, v, "name"),
               text_of(a, v, "mode"), number_of(v, "sequence"), text_of(a, v, "keyVersion"),
               text_of(a, v, "wrapAlgorithm"));
    }
}

static void print_report(struct bdoc d)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct bdoc totals = bval_doc(bdoc_get(d, "totals"));
    bool keys = bval_truthy(bdoc_get(totals, "keys"));
    struct biter it;

    printf("%s: store %s, %s\n", text_of(a, d, "directory"), text_of(a, d, "storeId"),
           text_of(a, d, "algorithm"));
    print_envelopes(a, bval_doc(bdoc_get(d, "envelopes")));
    print_files(a, bval_doc(bdoc_get(d, "files")), keys);
    printf("\n");
    biter_init(&it, bval_doc(bdoc_get(d, "generations")));
    while (biter_next(&it)) {
        struct bdoc g = bval_doc(it.val);
        printf("key generation %lld: %lld files, %lld bytes\n", number_of(g, "generation"),
               number_of(g, "files"), number_of(g, "bytes"));
    }
    if (bval_truthy(bdoc_get(d, "consistentCopy")))
        printf(
            "the node writes to this directory: what was authenticated is a consistent copy of it, tables by links\n");
    if (*text_of(a, d, "envelopeNotOpened"))
        printf(
            "its envelope could not be opened, so the keys that the cluster has now were used: %s\n",
            text_of(a, d, "envelopeNotOpened"));
    printf("%lld files, %lld bytes, %lld problems: %s\n", number_of(totals, "files"),
           number_of(totals, "bytes"), number_of(totals, "problems"),
           number_of(totals, "problems") ? "see the list"
           : keys ? "every byte is authenticated ciphertext or its envelope"
                  : "nothing in the clear was found (not authenticated: no keys were used)");
}

static RC inspect_by_node(struct coffer *c, const char *cluster, const char *dir, struct arena *a,
                          struct bdoc *out, struct err *e)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct bw w;

    bw_init(&w, &space);
    bw_str(&w, "op", "inspect");
    bw_str(&w, "dir", dir);
    return talk(c, cluster, bw_finish(&w), INSPECT_TIMEOUT_MS, a, out, e);
}

RC coffer_inspect(struct coffer *c, int argc, char **argv, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(mem_freep) char *dir = NULL;
    AUTO(buf_fini) struct buf space = BUF_INIT;
    const char *cluster = settings_str(c->settings, CS_WITH_KEYS_OF);
    struct bdoc report;
    uint64_t problems;

    (void)argc;
    TRY(coffer_absolute(argv[0], &dir, e));
    if (*cluster || *settings_str(c->settings, CS_ADMIN_SOCKET)) {
        TRY(inspect_by_node(c, *cluster ? cluster : NULL, dir, a, &report, e));
    } else {
        struct bw w;
        bw_init(&w, &space);
        TRY(admin_inspect(dir, NULL, NULL, &w, &problems, e));
        report = bw_finish(&w);
    }
    problems = (uint64_t)number_of(bval_doc(bdoc_get(report, "totals")), "problems");
    if (strcmp(settings_str(c->settings, CS_OUTPUT), "text") == 0)
        print_report(report);
    else
        TRY(talk_print(c, bval_of_doc(report, BT_DOCUMENT), e));
    if (problems)
        FAIL(e, ERR_CORRUPT, "%llu problems in \"%s\"", (unsigned long long)problems, dir);
    return RC_OK;
}

/* cluster_report.c - `coffer cluster report`: what an auditor asks about the encryption of a cluster, in one signed text; and `--verify-report`.
 *
 * The report consists of what stays as it is while nothing happens to the cluster, and of the time at which it was made: two reports of one state
 * differ in the member `made`, and so in the signature, in nothing else. Probes, process ids and countdowns are therefore not in it.
 * It is signed by the key of the installation (HOME/report.key); HOME/report.pub is what the auditor is given, once, by another way.
 */
#include <stdio.h>
#include <string.h>

#include "admin/evidence.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "coffer.h"
#include "crypto/secret.h"
#include "evidence.h"
#include "talk.h"

enum { ASK_TIMEOUT_MS = 120 * 1000, SECRETS = 64 << 10, REPORT_MAX = 256 << 20, PEM_MAX = 4096 };

struct source {
    const struct coffer *c;
    const char *cluster;
    struct bdoc status, shown; /* the node's answers to status and keyShow */
};

static RC ask(struct source *s, const char *op, struct arena *a, struct bdoc *out, struct err *e)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct bw w;

    bw_init(&w, &space);
    bw_str(&w, "op", op);
    return talk(s->c, s->cluster, bw_finish(&w), ASK_TIMEOUT_MS, a, out, e);
}

static void copy(struct bw *w, struct bdoc from, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bw_val(w, names[i], bdoc_get(from, names[i]));
}

/* ---- sections ---- */

static void write_algorithms(const struct source *s, struct bw *w)
{
    bw_doc_begin(w, "algorithms");
    bw_val(w, "data", bdoc_get(s->status, "algorithm"));
    bw_str(w, "dataKeys",
           "HKDF-SHA256 from the SMK, a key for each file by a random salt of 256 bits");
    bw_val(w, "smkWrappedBy", bdoc_get_path(s->shown, "key.alg"));
    bw_str(w, "envelopeAuthenticatedBy", "HMAC-SHA256 under every live generation");
    bw_val(w, "engine", bdoc_get(s->status, "engine"));
    bw_str(w, "report", "Ed25519");
    bw_doc_end(w);
}

/* Who the node is to the vault; not where its credential lies. */
static void write_identity(const struct source *s, struct bw *w)
{
    static const char *const names[] = { "token-source", "client-id", "tenant-id" };
    struct bval conf = bdoc_get(s->shown, "configuration");

    bw_doc_begin(w, "identity");
    if (conf.type == BT_DOCUMENT)
        copy(w, bval_doc(conf), names, ARRAY_LEN(names));
    bw_doc_end(w);
}

static void write_key(const struct source *s, struct bw *w)
{
    bw_doc_begin(w, "key");
    bw_val(w, "url", bdoc_get_path(s->shown, "configuration.key-url"));
    struct bval key = bdoc_get(s->shown, "key");
    if (key.type == BT_DOCUMENT)
        bw_fields(w, bval_doc(key));
    bw_val(w, "gracePeriodMillis", bdoc_get_path(s->shown, "gracePeriod.totalMillis"));
    bw_val(w, "gracePeriodFrom", bdoc_get_path(s->shown, "gracePeriod.from"));
    bw_doc_end(w);
}

static RC write_key_use(const struct source *s, struct bw *w, struct err *e)
{
    struct bval url = bdoc_get_path(s->shown, "configuration.key-url");
    AUTO(mem_freep) char *text = url.type == BT_STRING
                                     ? mem_strndup((const char *)bval_str(url).p, bval_str(url).len)
                                     : mem_strdup("");

    return evidence_use(s->c, text, w, e);
}

static RC write_report(struct source *s, struct bw *w, struct err *e)
{
    static const char *const about[] = { "cluster", "version", "mode", "state", "since", "cause" };
    static const char *const keys[] = { "rotation", "degraded", "generations", "needed",
                                        "olderVersionsNeeded" };

    uint64_t problems;

    bw_str(w, "format", "coffer-report-1");
    bw_date(w, "made", clock_real_ms());
    copy(w, s->status, about, ARRAY_LEN(about));
    write_algorithms(s, w);
    write_key(s, w);
    write_identity(s, w);
    copy(w, s->shown, keys, ARRAY_LEN(keys));
    bw_val(w, "census", bdoc_get(s->status, "census"));
    TRY(evidence_disk(s->c, s->cluster, w, &problems, e));
    TRY(evidence_log(s->c, s->cluster, w, e));
    TRY(write_key_use(s, w, e));
    TRY(evidence_drills(s->c, s->cluster, w, e));
    evidence_answers(problems, w);
    return RC_OK;
}

/* ---- signed ---- */

static char *key_path(const struct coffer *c)
{
    return mem_printf("%s/report.key", c->home);
}

static char *public_path(const struct coffer *c)
{
    const char *given = settings_str(c->settings, CS_PUBLIC_KEY);

    return *given ? mem_strdup(given) : mem_printf("%s/report.pub", c->home);
}

/* The public half is written beside it once, and again when it is missing. */
static RC signing_key(const struct coffer *c, struct secret **out, struct err *e)
{
    AUTO(mem_freep) char *path = key_path(c), *pub = mem_printf("%s/report.pub", c->home);
    AUTO(buf_fini) struct buf pem = BUF_INIT;
    AUTO(secret_freep) struct secret *key = NULL;

    TRY(evidence_key(path, &key, e));
    TRY(evidence_public(key, &pem, e));
    if (!path_exists(pub))
        TRY(file_write_atomic(pub, 0644, buf_view(&pem), e));
    *out = TAKE(key);
    return RC_OK;
}

static RC print_signed(const struct coffer *c, struct bdoc report, struct err *e)
{
    AUTO(secret_freep) struct secret *key = NULL;
    AUTO(buf_fini) struct buf text = BUF_INIT;

    TRY(signing_key(c, &key, e));
    TRY(talk_format(c, bval_of_doc(report, BT_DOCUMENT), &text, e));
    TRY(evidence_sign(key, &text, e));
    if (fwrite(text.p, 1, text.len, stdout) != text.len || fflush(stdout) != 0)
        FAIL(e, ERR_IO, "could not write the report");
    return RC_OK;
}

static RC verify(const struct coffer *c, const char *path, struct err *e)
{
    AUTO(mem_freep) char *pub = public_path(c);
    AUTO(buf_fini) struct buf text = BUF_INIT, pem = BUF_INIT, space = BUF_INIT;
    uint8_t trusted[EVIDENCE_KEY_LEN];
    struct slice body;
    struct bw w;

    TRY(file_read(pub, PEM_MAX, &pem, e));
    if (evidence_read_public(buf_view(&pem), trusted, e).failed) {
        err_wrap(e, "\"%s\"", pub);
        return RC_FAILED;
    }
    TRY(file_read(path, REPORT_MAX, &text, e));
    if (evidence_verify(buf_view(&text), trusted, &body, e).failed) {
        err_wrap(e, "\"%s\"", path);
        return RC_FAILED;
    }
    bw_init(&w, &space);
    bw_str(&w, "report", path);
    bw_bool(&w, "verified", true);
    bw_str(&w, "publicKey", pub);
    return talk_print(c, bval_of_doc(bw_finish(&w), BT_DOCUMENT), e);
}

RC coffer_cluster_report(struct coffer *c, int argc, char **argv, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf space = BUF_INIT;
    const char *signed_text = settings_str(c->settings, CS_VERIFY_REPORT);
    struct source s = { .c = c, .cluster = argc > 0 ? argv[0] : NULL };
    struct bw w;

    if (*signed_text)
        return verify(c, signed_text, e);
    if (!s.cluster)
        TRY(coffer_node(c, &s.cluster, e));
    TRY(secret_arena_init(SECRETS, e));
    TRY(ask(&s, "status", a, &s.status, e));
    TRY(ask(&s, "keyShow", a, &s.shown, e));
    bw_init(&w, &space);
    TRY(write_report(&s, &w, e));
    return print_signed(c, bw_finish(&w), e);
}

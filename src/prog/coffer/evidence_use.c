/* evidence_use.c - who used the cluster's key, out of the audit log of the installation's own vault; or why that was not read.
 *
 * The log grows with every probe of the node. So that two reports of the same state are the same, records count up to the last full hour, or to the
 * time that the setting until names.
 */
#include "evidence.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "admin/admin.h"
#include "admin/key_use.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

enum { ASK_TIMEOUT_MS = 60 * 1000, VERIFY_TIMEOUT_MS = 600 * 1000, HOUR_MS = 3600 * 1000 };

/* Where else to look. */
static const struct {
    const char *scheme, *where;
} elsewhere[] = {
    { "https:",
      "the key's vault is none of this installation; its own log of audit events has the record" },
    { "aws-kms:", "the key is in AWS KMS: AWS CloudTrail has the record" },
    { "gcp-kms:",
      "the key is in Google Cloud KMS: Cloud Audit Logs (data access) have the record" },
    { "vault:", "the key is in a transit engine: the audit devices of its Vault have the record" },
    { "kmip:", "the key is in a KMIP server: its own audit log has the record" },
    { "pkcs11:", "the key is in a PKCS #11 token: what it records is the HSM's own" },
};

static void not_read(struct bw *w, const char *why)
{
    bw_bool(w, "read", false);
    bw_str(w, "why", why);
}

static void not_here(const char *url, struct bw *w)
{
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)
        if (strncasecmp(url, elsewhere[i].scheme, strlen(elsewhere[i].scheme)) == 0) {
            not_read(w, elsewhere[i].where);
            return;
        }
    not_read(w, "no record of its use is known of here");
}

/* ---- until when ---- */

/* "now", or a time as the report has it, with milliseconds or without. */
static RC read_until(const char *text, int64_t *ms, struct err *e)
{
    struct tm tm = { 0 };
    int64_t now = clock_real_ms();

    if (!*text || strcmp(text, "now") == 0) {
        *ms = *text ? now : now - now % HOUR_MS;
        return RC_OK;
    }
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    int fraction = 0;
    if (rest && *rest == '.' && strspn(rest + 1, "0123456789") == 3) {
        for (int i = 1; i <= 3; i++)
            fraction = fraction * 10 + (rest[i] - '0');
        rest += 4;
    }
    if (!rest || strcmp(rest, "Z") != 0 || timegm(&tm) < 0)
        FAIL(e, ERR_CONFIG,
             "setting \"until\" takes now or a time like 2026-11-24T17:00:00Z, not \"%.60s\"",
             text);
    *ms = (int64_t)timegm(&tm) * 1000 + fraction;
    return RC_OK;
}

/* ---- the installation's vault ---- */

struct source {
    const char *socket;
    struct arena *a;
    char *vault, *key; /* in a */
};

static RC ask(const struct source *s, const char *name, const char *value, struct arena *a,
              struct bdoc *out, struct err *e)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    bool verify = strcmp(name, "verify") == 0;
    struct bw w;

    bw_init(&w, &space);
    bw_str(&w, "op", *name ? "audit" : "status");
    if (verify)
        bw_bool(&w, "verify", true);
    else if (*name)
        bw_str(&w, name, value);
    return admin_call(s->socket, bw_finish(&w), verify ? VERIFY_TIMEOUT_MS : ASK_TIMEOUT_MS, a, out,
                      e);
}

/* The vault whose URL the key's begins with, and the key's name in it. false: none of these. */
static bool find_vault(struct source *s, struct bdoc status, const char *url)
{
    struct bval vaults = bdoc_get(status, "vaults");
    struct biter it;

    if (vaults.type != BT_DOCUMENT)
        return false;
    biter_init(&it, bval_doc(vaults));
    while (biter_next(&it)) {
        struct bval v = it.val.type == BT_DOCUMENT ? bdoc_get(bval_doc(it.val), "url") : it.val;
        if (v.type != BT_STRING)
            continue;
        const char *start =
            arena_printf(s->a, "%.*s/keys/", (int)bval_str(v).len, (const char *)bval_str(v).p);
        if (strncasecmp(url, start, strlen(start)) != 0)
            continue;
        const char *key = url + strlen(start);
        s->vault = arena_strndup(s->a, (const char *)it.name.p, it.name.len);
        s->key = arena_strndup(s->a, key, strcspn(key, "/, ")); /* the first of a list decides */
        return true;
    }
    return false;
}

static RC read_lines(const struct source *s, struct key_use *u, struct err *e)
{
    int64_t last = 0;

    for (;;) {
        AUTO(arena_freep) struct arena *a = arena_new(0);
        char after[24];
        struct bdoc answer;
        (void)snprintf(after, sizeof(after), "%lld", (long long)last);
        TRY(ask(s, "after", after, a, &answer, e));
        struct bval lines = bdoc_get(answer, "lines");
        int64_t next;
        if (lines.type != BT_STRING || !bval_to_i64(bdoc_get(answer, "last"), &next))
            FAIL(e, ERR_PROTOCOL_ERROR, "the vault's answer has no lines of its audit log");
        if (bval_str(lines).len == 0 || next <= last)
            return RC_OK;
        key_use_add(u, bval_str(lines));
        last = next;
    }
}

static RC read_log(const struct source *s, int64_t until_ms, struct bw *w, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    char until[32];
    AUTO(key_use_freep) struct key_use *u =
        key_use_new(s->vault, s->key, clock_iso8601(until_ms, until, sizeof(until)));
    struct err broken = { 0 };
    struct bdoc answer;

    bool whole = !ask(s, "verify", "", a, &answer, &broken).failed;
    rc_t rc = read_lines(s, u, e);
    if (!rc.failed) {
        bw_bool(w, "read", true);
        bw_str(w, "vault", s->vault);
        bw_str(w, "key", s->key);
        bw_date(w, "until", until_ms);
        bw_bool(w, "chainVerified", whole);
        if (!whole)
            bw_str(w, "chainBroken", broken.msg);
        key_use_write(u, w);
    }
    err_reset(&broken);
    return rc;
}

/* Errors are told in the report: it is one about the cluster, whether its vault can be asked or not. */
static void write_use(const struct coffer *c, const char *url, int64_t until_ms, struct bw *w)
{
    AUTO(mem_freep) char *socket = coffer_path(c, "vault", "state/admin.sock");
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct source s = { .socket = socket, .a = a };
    struct err why = { 0 };
    struct bdoc status;

    if (strncasecmp(url, "https:", 6) != 0 || !path_exists(socket)) {
        not_here(url, w);
        return;
    }
    rc_t rc = ask(&s, "", "", a, &status, &why);
    if (!rc.failed && !find_vault(&s, status, url)) {
        not_here(url, w);
        return;
    }
    if (!rc.failed)
        rc = read_log(&s, until_ms, w, &why);
    if (rc.failed)
        not_read(w, why.msg);
    err_reset(&why);
}

RC evidence_use(const struct coffer *c, const char *url, struct bw *w, struct err *e)
{
    int64_t until_ms = 0;

    TRY(read_until(settings_str(c->settings, CS_UNTIL), &until_ms, e));
    bw_doc_begin(w, "keyUse");
    if (*url)
        write_use(c, url, until_ms, w);
    else
        not_read(w, "the service manages the key: no vault has a record of its use");
    bw_doc_end(w);
    return RC_OK;
}

/* erase.c - see erase.h. */
#include "erase.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backups.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "keys/inspect.h"
#include "kms/kms.h"
#include "provider.h"

enum { ERASE_FORMAT = 1, MARKER_MAX = 4 << 20, ENVELOPE_MAX = 2 << 20, ROWS_MAX = 4096 };

/* What became of one copy. Words of the file. */
static const char destroyed[] = "destroyed", disabled[] = "disabled", kept[] = "kept",
                  failed[] = "failed", absent[] = "absent";

struct row {
    const char *what, *path, *outcome, *why;
};

struct erase {
    struct process *p;
    struct arena *a; /* owned; of all strings */
    const char *cluster, *lineage, *mode, *url, *version;
    bool done, disable;
    int64_t asked_ms, done_ms;
    struct row row[ROWS_MAX];
    int n;
};

static void erase_freep(struct erase **x)
{
    if (*x)
        arena_free((*x)->a);
    mem_freep(x);
}

static struct erase *erase_new(struct process *p)
{
    struct erase *x = NEW(struct erase);

    x->p = p;
    x->a = arena_new(0);
    x->cluster = x->lineage = x->mode = x->url = x->version = "";
    return x;
}

static char *marker_path(const struct process *p)
{
    return mem_printf("%s/erased", p->state_dir);
}

static char *notice_path(const struct process *p)
{
    return mem_printf("%s/ERASED", p->data_dir);
}

/* ---- the marker --------------------------------------------------------------------------------------------------- */

static const char *text_of(struct erase *x, struct bdoc d, const char *name)
{
    struct bval v = bdoc_get(d, name);

    return v.type == BT_STRING ? arena_strndup(x->a, (const char *)bval_str(v).p, bval_str(v).len)
                               : "";
}

static int64_t date_of(struct bdoc d, const char *name)
{
    struct bval v = bdoc_get(d, name);

    return v.type == BT_DATE ? bval_i64(v) : 0;
}

static void read_rows(struct erase *x, struct bdoc rows)
{
    struct biter it;

    biter_init(&it, rows);
    while (x->n < ROWS_MAX && biter_next(&it)) {
        struct bdoc d = it.val.type == BT_DOCUMENT ? bval_doc(it.val) : BDOC_EMPTY;
        x->row[x->n++] = (struct row){ .what = text_of(x, d, "what"),
                                       .path = text_of(x, d, "path"),
                                       .outcome = text_of(x, d, "outcome"),
                                       .why = text_of(x, d, "why") };
    }
}

static RC parse(struct erase *x, const char *text, struct err *e)
{
    struct err why = { 0 };
    struct bdoc d;
    int64_t format;

    if (bdoc_from_json(x->a, text, &d, &why).failed ||
        !bval_to_i64(bdoc_get(d, "format"), &format)) {
        err_reset(&why);
        FAIL(e, ERR_CORRUPT, "the marker of an erased cluster in \"%s\" cannot be read",
             x->p->state_dir);
    }
    if (format != ERASE_FORMAT)
        FAIL(e, ERR_UNKNOWN_FORMAT, "the marker of an erased cluster has format %lld",
             (long long)format);
    const char *state = text_of(x, d, "state");
    x->done = strcmp(state, "erased") == 0;
    x->cluster = text_of(x, d, "cluster");
    x->lineage = text_of(x, d, "lineage");
    x->mode = text_of(x, d, "mode");
    x->url = text_of(x, d, "url");
    x->version = text_of(x, d, "keyVersion");
    x->asked_ms = date_of(d, "asked");
    x->done_ms = date_of(d, "done");
    struct bval disable = bdoc_get(d, "disable");
    x->disable = disable.type == BT_BOOL && bval_bool(disable);
    struct bval rows = bdoc_get(d, "rows");
    if (rows.type == BT_ARRAY)
        read_rows(x, bval_doc(rows));
    return RC_OK;
}

/* ERR_NOT_FOUND: nobody asked for it. */
static RC load(struct erase *x, struct err *e)
{
    AUTO(mem_freep) char *path = marker_path(x->p);
    AUTO(buf_fini) struct buf text = BUF_INIT;

    TRY(file_read(path, MARKER_MAX, &text, e));
    return parse(x, buf_cstr(&text), e);
}

/* What nobody here can know, for whoever reads the report. */
static void write_unknown(const struct erase *x, struct bw *w)
{
    bw_array_begin(w, "notKnown");
    bw_str(w, NULL, "copies of the data directory, of its disk or of snapshots that others made");
    bw_str(w, NULL, "backups that were copied or moved to other places than those in the list");
    bw_str(w, NULL,
           "blocks of disks, SSDs and copying file systems on which the envelope stood before");
    if (strcmp(x->mode, "cmk") == 0)
        bw_str(
            w, NULL,
            "each of them is closed by destroying, in the vault, every version of the key that ever wrapped this cluster: only that is a proof");
    else
        bw_str(
            w, NULL,
            "each of them needs the service root key: copies of that file that others made open them");
    bw_array_end(w);
}

static void print(const struct erase *x, struct buf *text)
{
    AUTO(buf_fini) struct buf doc = BUF_INIT;
    struct bw w;

    bw_init(&w, &doc);
    bw_i32(&w, "format", ERASE_FORMAT);
    bw_str(&w, "cluster", x->cluster);
    bw_str(&w, "lineage", x->lineage);
    bw_str(&w, "state", x->done ? "erased" : "erasing");
    bw_date(&w, "asked", x->asked_ms);
    if (x->done)
        bw_date(&w, "done", x->done_ms);
    bw_str(&w, "mode", x->mode);
    bw_str(&w, "url", x->url);
    bw_str(&w, "keyVersion", x->version);
    bw_bool(&w, "disable", x->disable);
    bw_array_begin(&w, "rows");
    for (int i = 0; i < x->n; i++) {
        bw_doc_begin(&w, NULL);
        bw_str(&w, "what", x->row[i].what);
        bw_str(&w, "path", x->row[i].path);
        bw_str(&w, "outcome", x->row[i].outcome);
        if (*x->row[i].why)
            bw_str(&w, "why", x->row[i].why);
        bw_doc_end(&w);
    }
    bw_array_end(&w);
    write_unknown(x, &w);
    bval_to_json(bval_of_doc(bw_finish(&w), BT_DOCUMENT), text);
    buf_push_u8(text, '\n');
}

static RC save(const struct erase *x, struct err *e)
{
    AUTO(mem_freep) char *path = marker_path(x->p);
    AUTO(buf_fini) struct buf text = BUF_INIT;

    print(x, &text);
    return file_write_atomic(path, 0600, buf_view(&text), e);
}

/* ---- asking for it ------------------------------------------------------------------------------------------------ */

static const char *lineage_of_pin(struct erase *x)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT, hex = BUF_INIT;
    struct err ignored = { 0 };
    struct pin_facts pin;

    if (!file_read(x->p->pin_path, ENVELOPE_MAX, &bytes, &ignored).failed &&
        !pin_inspect(buf_view(&bytes), &pin, &ignored).failed)
        hex_encode(SLICE(pin.lineage, LINEAGE_LEN), &hex);
    err_reset(&ignored);
    return hex.len ? arena_strdup(x->a, buf_cstr(&hex)) : "";
}

static void describe(struct erase *x)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    AUTO(buf_fini) struct buf hex = BUF_INIT;
    AUTO(keyconf_fini) struct keyconf conf = KEYCONF_INIT;
    struct err ignored = { 0 };

    process_conf(x->p, &conf);
    x->cluster = arena_strdup(x->a, settings_str(x->p->set, SET_CLUSTER_NAME));
    x->mode = key_mode_name(conf.mode);
    x->url = conf.mode == KEY_MODE_CMK ? arena_strdup(x->a, conf.value[KEYCONF_KEY_URL]) : "";
    /* What is damaged is erased too; then the report does not name its version. */
    if (envelope_inspect_dir(x->p->data_dir, st, &ignored).failed) {
        x->lineage = lineage_of_pin(x);
    } else {
        hex_encode(SLICE(st->lineage, LINEAGE_LEN), &hex);
        x->lineage = arena_strdup(x->a, buf_cstr(&hex));
        x->version = arena_strdup(x->a, st->version);
        x->mode = key_mode_name(st->mode);
    }
    err_reset(&ignored);
}

RC erase_mark(struct process *p, const char *confirm, bool keep_version, struct err *e)
{
    AUTO(erase_freep) struct erase *x = erase_new(p);
    const char *name = settings_str(p->set, SET_CLUSTER_NAME);

    if (strcmp(confirm, name) != 0)
        FAIL(e, ERR_BAD_VALUE,
             "to erase the cluster, and for ever, its name \"%.60s\" is needed as a confirmation",
             name);
    TRY(erase_refuse(p, e));
    if (erase_is_due(p))
        return RC_OK;
    if (!custody_exists(p->data_dir))
        FAIL(e, ERR_NOT_FOUND, "no cluster is in \"%s\"", p->data_dir);
    describe(x);
    x->asked_ms = clock_real_ms();
    x->disable = !keep_version && strcmp(x->mode, "cmk") == 0;
    return save(x, e);
}

bool erase_is_due(const struct process *p)
{
    AUTO(erase_freep) struct erase *x = erase_new((struct process *)p);
    struct err why = { 0 };
    bool due = !load(x, &why).failed ? !x->done : why.code != ERR_NOT_FOUND;

    err_reset(&why);
    return due;
}

static RC say_erased(const struct erase *x, struct err *e)
{
    AUTO(mem_freep) char *path = marker_path(x->p);
    char when[32] = "an unknown date";
    time_t t = (time_t)(x->done_ms / 1000);
    struct tm tm;

    if (x->done_ms && gmtime_r(&t, &tm))
        (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
    FAIL(e, ERR_CLUSTER_ERASED, "the cluster \"%.60s\" was erased on %s: see \"%.60s\"", x->cluster,
         when, path);
}

RC erase_refuse(const struct process *p, struct err *e)
{
    AUTO(erase_freep) struct erase *x = erase_new((struct process *)p);
    AUTO(mem_freep) char *notice = notice_path(p);
    struct err why = { 0 };

    if (!load(x, &why).failed)
        return x->done ? say_erased(x, e) : RC_OK;
    bool unmarked = why.code == ERR_NOT_FOUND;
    err_reset(&why);
    if (unmarked && !custody_exists(p->data_dir) && path_exists(notice))
        FAIL(e, ERR_CLUSTER_ERASED, "the cluster whose data is in \"%.60s\" was erased",
             p->data_dir);
    return RC_OK;
}

/* ---- one copy ----------------------------------------------------------------------------------------------------- */

static struct row *row_of(struct erase *x, const char *what, const char *path)
{
    for (int i = 0; i < x->n; i++)
        if (strcmp(x->row[i].what, what) == 0 && strcmp(x->row[i].path, path) == 0)
            return &x->row[i];
    if (x->n == ROWS_MAX)
        return NULL;
    x->row[x->n] =
        (struct row){ .what = what, .path = arena_strdup(x->a, path), .outcome = "", .why = "" };
    return &x->row[x->n++];
}

static bool is_over(const struct row *r)
{
    return strcmp(r->outcome, destroyed) == 0 || strcmp(r->outcome, disabled) == 0;
}

static RC set_outcome(struct erase *x, const char *what, const char *path, const char *outcome,
                      const char *why, struct err *e)
{
    struct row *r = row_of(x, what, path);

    if (!r || is_over(r)) /* what an earlier run has done, or more than a list can hold */
        return RC_OK;
    r->outcome = outcome;
    r->why = arena_strdup(x->a, why);
    if (strcmp(outcome, absent) != 0)
        log_event(EV_ERASE_STEP, KV_STR("what", what), KV_STR("path", path),
                  KV_STR("outcome", outcome), KV_STR("why", why));
    return save(x, e);
}

/* The bytes first, then the name: on a disk that writes in place nothing is left of them. */
static RC overwrite(const char *path, struct err *e)
{
    static const uint8_t zeros[4096];
    struct stat st;
    AUTO(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 || fstat(fd, &st) < 0)
        return file_err(e, errno, "open", path);
    if (!S_ISREG(st.st_mode))
        FAIL(e, ERR_IO, "\"%s\" is no regular file", path);
    for (off_t left = st.st_size; left > 0; left -= (off_t)sizeof(zeros))
        TRY(file_write_fd(fd, SLICE(zeros, MIN((size_t)left, sizeof(zeros))), e));
    if (fsync(fd) < 0)
        return file_err(e, errno, "sync", path);
    return RC_OK;
}

/* False: it is there still. */
static bool destroy(const char *path, struct err *e)
{
    struct err first = { 0 };
    rc_t rc = fault_step("erase.file", "the erasing", &first);

    if (!rc.failed)
        rc = overwrite(path, &first);
    /* a file that cannot be overwritten can perhaps be removed: that is better than nothing, and is told */
    if (file_remove(path, e).failed) {
        err_reset(&first);
        return false;
    }
    if (rc.failed)
        (void)err_set(e, first.code, __FILE__, __LINE__, "removed, but not overwritten: %s",
                      first.msg)
            .failed;
    err_reset(&first);
    return true;
}

/* must: the erasing is not over before it is gone. */
static RC erase_file(struct erase *x, const char *what, const char *path, bool must, bool *all,
                     struct err *e)
{
    struct err why = { 0 };
    struct stat st;

    if (lstat(path, &st) < 0 && errno == ENOENT)
        return set_outcome(x, what, path, absent, "", e);
    bool gone = destroy(path, &why);
    *all &= gone || !must;
    rc_t rc = set_outcome(x, what, path, gone ? destroyed : failed, why.msg, e);
    err_reset(&why);
    return rc;
}

/* Every file of dir whose name begins so: what an interrupted write left is a copy, too. */
static RC erase_named(struct erase *x, const char *what, const char *dir, const char *prefix,
                      bool must, bool *all, struct err *e)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    rc_t rc = RC_OK;

    if (!d)
        return errno == ENOENT ? RC_OK : file_err(e, errno, "open", dir);
    while (!rc.failed && (entry = readdir(d))) {
        AUTO(mem_freep) char *path = mem_printf("%s/%s", dir, entry->d_name);
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
            rc = erase_file(x, what, path, must, all, e);
    }
    closedir(d);
    return rc;
}

/* ---- all of them --------------------------------------------------------------------------------------------------- */

static RC ask_vault(struct erase *x, struct err *e)
{
    AUTO(provider_freep) struct key_provider *v = NULL;
    AUTO(keyconf_fini) struct keyconf conf = KEYCONF_INIT;
    uint64_t deadline_us = clock_mono_us() + settings_us(x->p->set, SET_PROBE_TIMEOUT) * 2;

    process_conf(x->p, &conf);
    if (conf.mode != KEY_MODE_CMK)
        FAIL(e, ERR_CONFIG, "the configuration of the key is not there any more");
    TRY(provider_for_probe(x->p, &conf, &v, e));
    if (!v->set_enabled)
        FAIL(e, ERR_ILLEGAL_OPERATION, "%s", kms_disabling(x->url).note);
    return v->set_enabled(v, x->version, false, deadline_us, e);
}

static RC disable_version(struct erase *x, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/%s", x->url, x->version);
    struct err why = { 0 };

    if (strcmp(x->mode, "cmk") != 0)
        return RC_OK;
    if (!x->disable)
        return set_outcome(x, "keyVersion", path, kept, "as was asked for", e);
    const struct row *r = row_of(x, "keyVersion", path);
    /* it was asked before a stop, when the way to the vault was known still */
    if (!r || *r->outcome)
        return RC_OK;
    if (!*x->version)
        return set_outcome(x, "keyVersion", path, failed,
                           "the envelope that names it cannot be read", e);
    bool done = !ask_vault(x, &why).failed;
    /* a vault that has no such verb was not asked for anything */
    const char *outcome = done ? disabled : why.code == ERR_ILLEGAL_OPERATION ? kept : failed;
    rc_t rc =
        set_outcome(x, "keyVersion", path, outcome, done ? kms_disabling(x->url).note : why.msg, e);
    err_reset(&why);
    return rc;
}

struct backup_walk {
    struct erase *x;
    rc_t rc;
    struct err *e;
};

static bool is_ours(const struct erase *x, const struct custody_status *st)
{
    AUTO(buf_fini) struct buf hex = BUF_INIT;

    hex_encode(SLICE(st->lineage, LINEAGE_LEN), &hex);
    return strcmp(buf_cstr(&hex), x->lineage) == 0;
}

/* Some of the directory's copies are gone already: what is unreadable there is what a stop left of the others. */
static bool has_destroyed(const struct erase *x, const char *dir)
{
    size_t len = strlen(dir);

    for (int i = 0; i < x->n; i++)
        if (strncmp(x->row[i].path, dir, len) == 0 && x->row[i].path[len] == '/' &&
            is_over(&x->row[i]))
            return true;
    return false;
}

static void erase_backup(const struct backup_facts *b, void *arg)
{
    struct backup_walk *w = arg;
    bool ignored = true;

    if (w->rc.failed)
        return;
    if (!b->present && !has_destroyed(w->x, b->dir)) {
        w->rc = set_outcome(w->x, "backupEnvelope", b->dir, kept,
                            "no envelope is there: it may be somewhere else", w->e);
        return;
    }
    if (b->present && !is_ours(w->x, b->keys)) {
        w->rc = set_outcome(w->x, "backupEnvelope", b->dir, kept,
                            "another cluster's backup is there now", w->e);
        return;
    }
    w->rc = erase_named(w->x, "backupEnvelope", b->dir, "envelope.", false, &ignored, w->e);
}

static RC erase_backups(struct erase *x, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct backup_walk w = { .x = x, .rc = RC_OK, .e = e };
    struct err why = { 0 };

    if (backups_each(x->p, a, erase_backup, &w, &why).failed) {
        w.rc = set_outcome(x, "backups", x->p->backups_path, failed, why.msg, e);
        err_reset(&why);
    }
    return w.rc;
}

/* A root key in this cluster's own state directory is this cluster's alone. */
static RC erase_root_key(struct erase *x, bool *all, struct err *e)
{
    AUTO(mem_freep) char *dir = mem_printf("%s/", x->p->state_dir);
    const char *path = x->p->root_key_path, *slash = strrchr(path, '/');

    if (strncmp(path, dir, strlen(dir)) != 0)
        return path_exists(path)
                   ? set_outcome(x, "serviceRootKey", path, kept,
                                 "it is not in the state directory: other clusters may use it", e)
                   : RC_OK;
    AUTO(mem_freep) char *folder = mem_strndup(path, (size_t)(slash - path));
    return erase_named(x, "serviceRootKey", folder, slash + 1, true, all, e);
}

static RC write_notice(struct erase *x, struct err *e)
{
    AUTO(mem_freep) char *path = notice_path(x->p);
    AUTO(buf_fini) struct buf text = BUF_INIT;

    buf_printf(
        &text,
        "The keys of the cluster \"%s\" (%s) were destroyed. Nothing here can be read any more.\n",
        x->cluster, x->lineage);
    return file_write_atomic(path, 0600, buf_view(&text), e);
}

static RC erase_all(struct erase *x, bool *all, struct err *e)
{
    struct process *p = x->p;

    TRY(write_notice(x, e));
    TRY(fault_step("erase.begin", "the erasing", e));
    TRY(disable_version(x, e));
    TRY(fault_step("erase.asked-vault", "the erasing", e));
    TRY(erase_named(x, "envelope", p->data_dir, "envelope.", true, all, e));
    TRY(fault_step("erase.envelopes", "the erasing", e));
    TRY(erase_backups(x, e));
    TRY(fault_step("erase.backups", "the erasing", e));
    TRY(erase_root_key(x, all, e));
    TRY(fault_step("erase.root-key", "the erasing", e));
    TRY(erase_file(x, "pin", p->pin_path, true, all, e));
    TRY(erase_named(x, "keyConfig", p->state_dir, "key-config", true, all, e));
    return fault_step("erase.end", "the erasing", e);
}

RC erase_run(struct process *p, struct err *e)
{
    AUTO(erase_freep) struct erase *x = erase_new(p);
    bool all = true;
    int n = 0;

    TRY(load(x, e));
    log_event(EV_CLUSTER_ERASING, KV_STR("cluster", x->cluster), KV_STR("lineage", x->lineage));
    TRY(erase_all(x, &all, e));
    if (!all)
        FAIL(e, ERR_OPERATION_FAILED, "not every copy could be destroyed: see \"%s/erased\"",
             p->state_dir);
    for (int i = 0; i < x->n; i++)
        n += strcmp(x->row[i].outcome, destroyed) == 0;
    x->done = true;
    x->done_ms = clock_real_ms();
    TRY(save(x, e));
    log_event(EV_CLUSTER_ERASED, KV_STR("cluster", x->cluster), KV_STR("lineage", x->lineage),
              KV_I64("destroyed", n));
    return RC_OK;
}

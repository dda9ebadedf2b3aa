/* evidence.c - see evidence.h. */
#include "evidence.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/inspect.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/mem.h"

/* Of each kind of entry the newest are shown: a log may be years long. */
enum { SHOWN_MAX = 1000, ROLES_MAX = 24, PROBLEMS_MAX = 100 };

/* ---- lines of JSON -------------------------------------------------------------------------------------------------- */

struct lines {
    FILE *f;
    char *line;
    size_t cap;
};

static void lines_close(struct lines *l)
{
    if (l->f)
        (void)fclose(l->f);
    free(l->line);
}

/* The next line that is a document; *unreadable counts the others, such as one that a crash cut short. */
static bool next_line(struct lines *l, struct arena *a, struct bdoc *out, int64_t *unreadable)
{
    ssize_t n;

    while ((n = getline(&l->line, &l->cap, l->f)) >= 0) {
        struct err ignored = { 0 };
        bool ok = !bdoc_from_json(a, l->line, out, &ignored).failed;
        err_reset(&ignored);
        if (ok)
            return true;
        *unreadable += n > 1;
    }
    return false;
}

/* *there: whether there is such a file. */
static RC lines_open(const char *path, struct lines *out, bool *there, struct err *e)
{
    out->f = fopen(path, "re");
    *there = out->f != NULL;
    if (!out->f && errno != ENOENT)
        return file_err(e, errno, "open", path);
    return RC_OK;
}

/* ---- the node's log --------------------------------------------------------------------------------------------------- */

enum kind { KIND_KEY, KIND_ACCESS, KIND_NR };

static const struct {
    enum kind kind;
    const char *event;
} kept_events[] = {
    { KIND_KEY, "keyCreated" },        { KIND_KEY, "keyRewrapped" },
    { KIND_KEY, "keyChanged" },        { KIND_KEY, "keyChangeFailed" },
    { KIND_KEY, "keyChangeSettled" },  { KIND_KEY, "rotationBegun" },
    { KIND_KEY, "generationRetired" }, { KIND_KEY, "generationDestroyed" },
    { KIND_KEY, "keySealing" },        { KIND_KEY, "keySealed" },
    { KIND_KEY, "keyReturning" },      { KIND_KEY, "keyUnsealed" },
    { KIND_KEY, "keyAlarm" },          { KIND_KEY, "keyRuleBroken" },
    { KIND_KEY, "rootKeyMade" },       { KIND_KEY, "rootKeySameDevice" },
    { KIND_ACCESS, "adminOperation" }, { KIND_ACCESS, "adminFailed" },
    { KIND_ACCESS, "adminRefused" },
};

static const char *const section_names[KIND_NR] = { "keyEvents", "access" };

static bool find_kind(struct bdoc d, enum kind *out)
{
    struct bval event = bdoc_get(d, "event");

    for (size_t i = 0; event.type == BT_STRING && i < ARRAY_LEN(kept_events); i++)
        if (slice_eq_str(bval_str(event), kept_events[i].event)) {
            *out = kept_events[i].kind;
            return true;
        }
    return false;
}

/* Without what is the same in every line, or says where in the program it was written. */
static void write_event(struct bdoc d, struct bw *w)
{
    static const char *const left_out[] = { "level", "program", "pid", "msg", "at", "advice" };
    struct biter it;

    bw_doc_begin(w, NULL);
    biter_init(&it, d);
    while (biter_next(&it)) {
        bool shown = true;
        for (size_t i = 0; i < ARRAY_LEN(left_out); i++)
            shown &= !slice_eq_str(it.name, left_out[i]);
        if (shown)
            bw_val_slice(w, it.name, it.val);
    }
    bw_doc_end(w);
}

/* scan(): with w, the entries of one kind but for the first ones; without, only how many there are. */
static RC scan(const char *path, enum kind kind, int64_t skip, struct bw *w, int64_t n[KIND_NR],
               int64_t *unreadable, bool *there, struct err *e)
{
    AUTO(lines_close) struct lines l = { 0 };
    int64_t seen = 0;

    TRY(lines_open(path, &l, there, e));
    while (*there) {
        AUTO(arena_freep) struct arena *a = arena_new(0);
        enum kind k;
        struct bdoc d;
        if (!next_line(&l, a, &d, unreadable))
            break;
        if (!find_kind(d, &k))
            continue;
        n[k]++;
        if (w && k == kind && seen++ >= skip)
            write_event(d, w);
    }
    return RC_OK;
}

RC evidence_log(const struct coffer *c, const char *cluster, struct bw *w, struct err *e)
{
    AUTO(mem_freep) char *path = coffer_path(c, cluster, "log");
    int64_t n[KIND_NR] = { 0 }, unreadable = 0;
    bool there;

    TRY(scan(path, KIND_NR, 0, NULL, n, &unreadable, &there, e));
    for (int k = 0; k < KIND_NR; k++) {
        int64_t again[KIND_NR] = { 0 }, ignored = 0;
        bw_array_begin(w, section_names[k]);
        TRY(scan(path, (enum kind)k, MAX(n[k] - SHOWN_MAX, (int64_t)0), w, again, &ignored, &there,
                 e));
        bw_array_end(w);
    }
    bw_doc_begin(w, "log");
    bw_bool(w, "found", there);
    for (int k = 0; k < KIND_NR; k++)
        bw_i64(w, section_names[k], n[k]);
    bw_i64(w, "unreadableLines", unreadable);
    bw_doc_end(w);
    return RC_OK;
}

/* ---- drills ------------------------------------------------------------------------------------------------------------ */

RC evidence_drills(const struct coffer *c, const char *cluster, struct bw *w, struct err *e)
{
    static const char *const shown[] = { "begun",    "ended",  "keyVersion", "failed",
                                         "detect_s", "seal_s", "return_s" };
    AUTO(mem_freep) char *path = coffer_path(c, cluster, "drills.jsonl");
    AUTO(lines_close) struct lines l = { 0 };
    int64_t unreadable = 0;
    bool there;

    TRY(lines_open(path, &l, &there, e));
    bw_array_begin(w, "drills");
    while (there) {
        AUTO(arena_freep) struct arena *a = arena_new(0);
        struct bdoc d;
        struct biter it;
        int32_t rounds = 0;
        if (!next_line(&l, a, &d, &unreadable))
            break;
        struct bval all = bdoc_get(d, "rounds");
        if (all.type == BT_ARRAY)
            for (biter_init(&it, bval_doc(all)); biter_next(&it);)
                rounds++;
        bw_doc_begin(w, NULL);
        bw_i32(w, "rounds", rounds);
        for (size_t i = 0; i < ARRAY_LEN(shown); i++)
            bw_val(w, shown[i], bdoc_get(d, shown[i]));
        bw_doc_end(w);
    }
    bw_array_end(w);
    if (unreadable)
        bw_i64(w, "unreadableDrills", unreadable);
    return RC_OK;
}

/* ---- the disk ---------------------------------------------------------------------------------------------------------- */

struct role {
    struct slice name;
    int64_t files, bytes;
};

static void count_role(struct role *roles, int *n, struct bdoc file)
{
    struct bval name = bdoc_get(file, "role"), bytes = bdoc_get(file, "bytes");
    struct slice s = name.type == BT_STRING ? bval_str(name) : SLICE_LIT("other");
    int64_t size = 0;
    int i = 0;

    (void)bval_to_i64(bytes, &size);
    while (i < *n && !slice_eq(roles[i].name, s))
        i++;
    if (i == *n && *n < ROLES_MAX)
        roles[(*n)++].name = s;
    i = MIN(i, ROLES_MAX - 1);
    roles[i].files++;
    roles[i].bytes += size;
}

static void write_roles(const struct role *roles, int n, struct bw *w)
{
    bw_array_begin(w, "roles");
    for (int i = 0; i < n; i++) {
        bw_doc_begin(w, NULL);
        bw_str_slice(w, "role", roles[i].name);
        bw_i64(w, "files", roles[i].files);
        bw_i64(w, "bytes", roles[i].bytes);
        bw_doc_end(w);
    }
    bw_array_end(w);
}

/* A file whose problem is that it is no file of ours stands here by name, so that somebody can go and look. */
static void write_problems(struct bdoc files, struct bw *w)
{
    struct biter it;
    int n = 0;

    bw_array_begin(w, "problems");
    biter_init(&it, files);
    while (biter_next(&it)) {
        struct bdoc f = bval_doc(it.val);
        struct bval problem = bdoc_get(f, "problem");
        if (bval_is_missing(problem) || n++ >= PROBLEMS_MAX)
            continue;
        bw_doc_begin(w, NULL);
        bw_val(w, "name", bdoc_get(f, "name"));
        bw_val(w, "problem", problem);
        bw_doc_end(w);
    }
    bw_array_end(w);
}

RC evidence_disk(const struct coffer *c, const char *cluster, struct bw *w, uint64_t *problems,
                 struct err *e)
{
    AUTO(mem_freep) char *dir = coffer_path(c, cluster, "data");
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct role roles[ROLES_MAX] = { 0 };
    struct biter it;
    struct bw inner;
    int n = 0;

    bw_init(&inner, &space);
    TRY(admin_inspect(dir, NULL, NULL, &inner, problems, e));
    struct bdoc found = bw_finish(&inner);
    struct bdoc files = bval_doc(bdoc_get(found, "files"));
    biter_init(&it, files);
    while (biter_next(&it))
        count_role(roles, &n, bval_doc(it.val));
    bw_doc_begin(w, "disk");
    bw_val(w, "storeId", bdoc_get(found, "storeId"));
    bw_val(w, "algorithm", bdoc_get(found, "algorithm"));
    bw_val(w, "envelopes", bdoc_get(found, "envelopes"));
    write_roles(roles, n, w);
    bw_val(w, "generations", bdoc_get(found, "generations"));
    write_problems(files, w);
    bw_val(w, "totals", bdoc_get(found, "totals"));
    bw_doc_end(w);
    return RC_OK;
}

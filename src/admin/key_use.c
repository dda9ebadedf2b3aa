/* key_use.c - see admin/key_use.h. */
#include "admin/key_use.h"

#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "bsonx/bval.h"

enum { TIME_LEN = 24 };

struct row {
    const char *who, *object_id, *operation; /* of a caller */
    const char *version;                     /* of a version */
    int64_t done, failed;
    char first[TIME_LEN + 1], last[TIME_LEN + 1];
};

struct rows {
    struct row row[KEY_USE_ROWS];
    int n;
};

struct key_use {
    struct arena *a; /* owned; of the rows' texts */
    char *vault, *key, *until;
    int64_t through;
    char chain[KEY_USE_TEXT + 1];
    int64_t records, further, unreadable;
    struct rows users, versions;
};

struct key_use *key_use_new(const char *vault, const char *key, const char *until)
{
    struct key_use *u = NEW(struct key_use);

    u->a = arena_new(0);
    u->vault = mem_strdup(vault);
    u->key = mem_strdup(key);
    u->until = mem_strdup(until);
    return u;
}

void key_use_free(struct key_use *u)
{
    if (!u)
        return;
    arena_free(u->a);
    mem_free(u->vault);
    mem_free(u->key);
    mem_free(u->until);
    mem_free(u);
}

void key_use_freep(struct key_use **u)
{
    key_use_free(*u);
    *u = NULL;
}

/* ---- one record ---- */

static struct slice text_at(struct bdoc d, const char *path)
{
    struct bval v = bdoc_get_path(d, path);
    struct slice s = v.type == BT_STRING ? bval_str(v) : SLICE_EMPTY;

    /* not in the middle of a character */
    size_t len = MIN(s.len, (size_t)KEY_USE_TEXT);
    while (len < s.len && len > 0 && (s.p[len] & 0xc0) == 0x80)
        len--;
    return SLICE(s.p, len);
}

static const char *keep(struct key_use *u, struct slice s)
{
    return arena_strndup(u->a, (const char *)s.p, s.len);
}

static bool same(struct slice s, const char *text)
{
    return slice_eq_str(s, text);
}

static void count(struct row *r, bool done, const char *time)
{
    r->done += done;
    r->failed += !done;
    if (!*r->first || strcmp(time, r->first) < 0)
        memcpy(r->first, time, sizeof(r->first));
    if (strcmp(time, r->last) > 0)
        memcpy(r->last, time, sizeof(r->last));
}

/* NULL: there is no room for another one. */
static struct row *new_row(struct rows *rows)
{
    return rows->n == KEY_USE_ROWS ? NULL : &rows->row[rows->n++];
}

static struct row *row_of_user(struct key_use *u, struct bdoc d)
{
    struct slice who = text_at(d, "identity.claim.name"), id = text_at(d, "identity.claim.oid"),
                 operation = text_at(d, "operationName");

    for (int i = 0; i < u->users.n; i++) {
        struct row *r = &u->users.row[i];
        if (same(who, r->who) && same(id, r->object_id) && same(operation, r->operation))
            return r;
    }
    struct row *r = new_row(&u->users);
    if (r) {
        r->who = keep(u, who);
        r->object_id = keep(u, id);
        r->operation = keep(u, operation);
    }
    return r;
}

static struct row *row_of_version(struct key_use *u, struct slice version)
{
    for (int i = 0; i < u->versions.n; i++)
        if (same(version, u->versions.row[i].version))
            return &u->versions.row[i];
    struct row *r = new_row(&u->versions);
    if (r)
        r->version = keep(u, version);
    return r;
}

static void add_use(struct key_use *u, struct bdoc d, const char *time)
{
    bool done = same(text_at(d, "resultType"), "Success");
    struct slice version = text_at(d, "properties.version");
    struct row *user = row_of_user(u, d), *row = version.len ? row_of_version(u, version) : NULL;

    u->records++;
    if (user)
        count(user, done, time);
    if (row)
        count(row, done, time);
    u->further += !user || (version.len && !row);
}

/* "2026-11-24T17:00:00.000Z" */
static bool read_time(struct slice s, char out[TIME_LEN + 1])
{
    static const char form[] = "0000-00-00T00:00:00.000Z";

    if (s.len != TIME_LEN)
        return false;
    for (size_t i = 0; i < TIME_LEN; i++) {
        bool digit = s.p[i] >= '0' && s.p[i] <= '9';
        if (form[i] == '0' ? !digit : s.p[i] != (uint8_t)form[i])
            return false;
    }
    memcpy(out, s.p, TIME_LEN);
    out[TIME_LEN] = 0;
    return true;
}

/* false: no record. */
static bool add_record(struct key_use *u, struct bdoc d)
{
    struct slice chain = text_at(d, "chain");
    char time[TIME_LEN + 1];
    int64_t n;

    if (!bval_to_i64(bdoc_get(d, "seq"), &n) || n < 1 || !chain.len ||
        !read_time(text_at(d, "time"), time))
        return false;
    if (strcmp(time, u->until) >= 0)
        return true;
    if (n > u->through) {
        u->through = n;
        memcpy(u->chain, chain.p, chain.len);
        u->chain[chain.len] = 0;
    }
    if (same(text_at(d, "properties.vault"), u->vault) &&
        same(text_at(d, "properties.key"), u->key))
        add_use(u, d, time);
    return true;
}

static void add_line(struct key_use *u, struct slice line)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct err ignored = { 0 };
    struct bdoc d;

    if (line.len == 0)
        return;
    bool ok =
        !memchr(line.p, 0, line.len) &&
        !bdoc_from_json(a, arena_strndup(a, (const char *)line.p, line.len), &d, &ignored).failed &&
        add_record(u, d);
    err_reset(&ignored);
    u->unreadable += !ok;
}

void key_use_add(struct key_use *u, struct slice lines)
{
    while (lines.len > 0) {
        const uint8_t *end = memchr(lines.p, '\n', lines.len);
        size_t len = end ? (size_t)(end - lines.p) : lines.len;
        add_line(u, SLICE(lines.p, len));
        len += end != NULL;
        lines = SLICE(lines.p + len, lines.len - len);
    }
}

/* ---- what it comes to ---- */

static void write_counts(const struct row *r, struct bw *w)
{
    bw_i64(w, "done", r->done);
    bw_i64(w, "failed", r->failed);
    bw_str(w, "first", r->first);
    bw_str(w, "last", r->last);
}

void key_use_write(const struct key_use *u, struct bw *w)
{
    bw_doc_begin(w, "through");
    bw_i64(w, "record", u->through);
    bw_str(w, "chain", u->chain);
    bw_doc_end(w);
    bw_i64(w, "records", u->records);
    bw_array_begin(w, "users");
    for (int i = 0; i < u->users.n; i++) {
        const struct row *r = &u->users.row[i];
        bw_doc_begin(w, NULL);
        bw_str(w, "name", r->who);
        bw_str(w, "objectId", r->object_id);
        bw_str(w, "operation", r->operation);
        write_counts(r, w);
        bw_doc_end(w);
    }
    bw_array_end(w);
    bw_array_begin(w, "versions");
    for (int i = 0; i < u->versions.n; i++) {
        bw_doc_begin(w, NULL);
        bw_str(w, "version", u->versions.row[i].version);
        write_counts(&u->versions.row[i], w);
        bw_doc_end(w);
    }
    bw_array_end(w);
    if (u->further)
        bw_i64(w, "furtherRecords", u->further);
    if (u->unreadable)
        bw_i64(w, "unreadableLines", u->unreadable);
}

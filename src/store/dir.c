/* dir.c - the names in a data directory, its lock, and its examination before the engine sees it.
 *
 * Every name must be known, every file ours, every small file whole, every stream at least as long as the anchor remembers. The examination writes nothing; what is to be
 * repaired (torn tails cut, doomed and unfinished files removed) is done after all of it has passed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "keys/keyring.h"
#include "store_priv.h"

enum { SMALL_MAX = 16 << 20, DIGITS_MIN = 6 };

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* "PREFIXdigitsSUFFIX" and nothing else, the digits as the engine writes them: at least six, no zero in front of more. A number has one name. */
static bool numbered(const char *base, const char *prefix, const char *suffix, uint64_t *number)
{
    size_t n = strlen(base), np = strlen(prefix), ns = strlen(suffix);

    if (n < np + DIGITS_MIN + ns || strncmp(base, prefix, np) != 0 ||
        strcmp(base + n - ns, suffix) != 0 || (n > np + DIGITS_MIN + ns && base[np] == '0'))
        return false;
    for (size_t i = np; i < n - ns; i++)
        if (base[i] < '0' || base[i] > '9')
            return false;
    return text_u64(SLICE(base + np, n - np - ns), number);
}

void store__name_parse(const char *base, struct store__name *n)
{
    static const struct {
        const char *prefix, *suffix;
        enum store__kind kind;
        enum store__role role;
    } numbers[] = {
        { "", ".sst", STORE__K_SEALED, STORE__TABLE },
        { "", ".log", STORE__K_SEALED, STORE__JOURNAL },
        { "MANIFEST-", "", STORE__K_SEALED, STORE__MANIFEST },
        { "OPTIONS-", "", STORE__K_SEALED, STORE__OPTIONS },
        { "OPTIONS-", ".dbtmp", STORE__K_TEMP, STORE__OPTIONS },
        { "MANIFEST-", ".dbtmp", STORE__K_TEMP, STORE__MANIFEST },
        { "", ".log.dbtmp", STORE__K_TEMP, STORE__JOURNAL },
        { "", ".dbtmp", STORE__K_TEMP, STORE__CURRENT },
    };
    static const struct {
        const char *name;
        enum store__kind kind;
        enum store__role role;
    } names[] = {
        { "CURRENT", STORE__K_SEALED, STORE__CURRENT },
        { "IDENTITY", STORE__K_SEALED, STORE__IDENTITY },
        { "ANCHOR", STORE__K_SEALED, STORE__ANCHOR },
        { "ANCHOR.tmp", STORE__K_TEMP, STORE__ANCHOR },
        { "LOCK", STORE__K_LOCK, STORE__ROLE_NR },
        { "archive", STORE__K_ARCHIVE, STORE__ROLE_NR },
    };

    *n = (struct store__name){ .kind = STORE__K_FOREIGN, .role = STORE__ROLE_NR };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (!numbered(base, numbers[i].prefix, numbers[i].suffix, &n->number))
            continue;
        n->kind = numbers[i].kind;
        n->role = numbers[i].role;
        if (n->kind == STORE__K_TEMP && n->role == STORE__CURRENT && n->number == 0)
            n->role = STORE__IDENTITY; /* the engine writes IDENTITY through 000000.dbtmp */
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(base, names[i].name) == 0) {
            n->kind = names[i].kind;
            n->role = names[i].role;
            return;
        }
    }
}

void store__path_parse(const char *path, struct store__name *n)
{
    const char *slash = strrchr(path, '/');

    store__name_parse(slash ? slash + 1 : path, n);
}

RC store__dir_lock(const char *dir, int *fd, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/LOCK", dir);

    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return file_err(e, errno, "open", path);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return RC_OK;
    int sys = errno;
    fd_closep(fd);
    *fd = -1;
    if (sys == EWOULDBLOCK)
        FAIL(e, ERR_DIRECTORY_BUSY, "another process holds data directory \"%s\"", dir);
    return file_err(e, sys, "lock", path);
}

/* ---- listing ----------------------------------------------------------------------------------------------------- */

void store__listing_fini(struct store__listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        mem_free(l->names[i]);
    mem_free(l->names);
    *l = (struct store__listing){ 0 };
}

static void listing_add(struct store__listing *l, const char *name)
{
    if (l->n == l->cap) {
        l->cap = MAX((size_t)64, 2 * l->cap);
        l->names = mem_realloc(l->names, l->cap * sizeof(*l->names));
    }
    l->names[l->n++] = mem_strdup(name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

RC store__list_dir(const char *dir, struct store__listing *l, struct err *e)
{
    DIR *d = opendir(dir);

    if (!d)
        return file_err(e, errno, "list", dir);
    for (;;) {
        errno = 0;
        struct dirent *ent = readdir(d);
        if (!ent)
            break;
        if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
            listing_add(l, ent->d_name);
    }
    int sys = errno;
    closedir(d);
    if (sys)
        return file_err(e, sys, "list", dir);
    if (l->n)
        qsort(l->names, l->n, sizeof(*l->names), by_name);
    return RC_OK;
}

static bool listing_has(const struct store__listing *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->names[i], name) == 0)
            return true;
    return false;
}

/* ---- examination ------------------------------------------------------------------------------------------------- */

struct repair {
    char *path;
    enum store__role role;
    bool remove; /* else cut to length */
    uint64_t length;
};

struct exam {
    const struct store__examination *c;
    struct store__anchor_data *d;
    struct store__dir_report *r;
    struct store__listing names, archived;
    struct repair *repairs;
    size_t n_repairs;
    uint64_t current; /* the manifest that CURRENT names; 0 = no CURRENT */
};

static void exam_fini(struct exam *x)
{
    store__listing_fini(&x->names);
    store__listing_fini(&x->archived);
    for (size_t i = 0; i < x->n_repairs; i++)
        mem_free(x->repairs[i].path);
    mem_free(x->repairs);
}

static void plan(struct exam *x, const char *path, enum store__role role, bool rm, uint64_t length)
{
    x->repairs = mem_realloc(x->repairs, (x->n_repairs + 1) * sizeof(*x->repairs));
    x->repairs[x->n_repairs++] =
        (struct repair){ .path = mem_strdup(path), .role = role, .remove = rm, .length = length };
}

static const struct store__pin *pin_of(const struct exam *x, enum store__role role, uint64_t number)
{
    for (uint32_t i = 0; i < x->d->n; i++)
        if (x->d->pins[i].role == (uint8_t)role && x->d->pins[i].number == number &&
            x->d->pins[i].state != STORE__PIN_SUCCESSOR)
            return &x->d->pins[i];
    return NULL;
}

/* The head of a file. *unfinished: it is shorter than a header, or its header's room was never written. */
static RC read_head(const char *path, enum store__role role, uint8_t raw[STORE__HEADER_LEN],
                    uint64_t *size, bool *unfinished, struct err *e)
{
    static const uint8_t zero[STORE__HEADER_LEN] = { 0 };
    AUTO(fd_closep) int fd = -1;
    size_t got;

    TRY(store__io_open(path, role, &fd, e));
    TRY(store__io_size(fd, path, size, e));
    TRY(store__io_pread(fd, path, role, 0, raw, STORE__HEADER_LEN, &got, e));
    *unfinished = got < STORE__HEADER_LEN || memcmp(raw, zero, STORE__HEADER_LEN) == 0;
    return RC_OK;
}

static RC verify_head(struct exam *x, const char *path, const struct store__name *n,
                      const uint8_t raw[STORE__HEADER_LEN], struct store__header *h, struct err *e)
{
    const struct store__seal *s = x->c->seal;

    TRY(store__header_verify(s->keys, s->alg, s->id, SLICE(raw, STORE__HEADER_LEN), path, h, e));
    return store__header_expect(h, n->role, n->number, path, e);
}

/* A stream that the anchor pins: the same file, at least so long, and intact. */
static RC check_stream(struct exam *x, const char *path, const struct store__pin *pin,
                       struct err *e)
{
    struct store__stream *s;
    struct store__stream_end end;
    struct slice plain;
    bool more = true, passed;
    rc_t rc;

    TRY(store__stream_open(x->c->seal, path, (enum store__role)pin->role, pin->number, &s, e));
    if (memcmp(store__stream_head(s)->salt, pin->salt, sizeof(pin->salt)) != 0) {
        store__stream_free(s);
        FAIL(e, ERR_STALE, "file \"%s\" is not the one that the anchor remembers", path);
    }
    store__stream_state(s, &end);
    passed = pin->reach.frames == 0 && memcmp(end.reach.tag, pin->reach.tag, STORE__TAG_LEN) == 0;
    do {
        rc = store__stream_next(s, &plain, &more, e);
        store__stream_state(s, &end);
        if (!rc.failed && end.reach.frames == pin->reach.frames && pin->reach.frames != 0)
            passed = memcmp(end.reach.tag, pin->reach.tag, STORE__TAG_LEN) == 0;
    } while (!rc.failed && more);
    store__stream_free(s);
    if (rc.failed)
        return rc;
    if (end.reach.frames < pin->reach.frames || (pin->reach.ended && !end.reach.ended))
        FAIL(e, ERR_STALE, "file \"%s\" was cut: it has %u frames, the anchor remembers %u", path,
             end.reach.frames, pin->reach.frames);
    if (!passed)
        FAIL(e, ERR_STALE, "file \"%s\" is not what the anchor remembers", path);
    if (end.torn) {
        plan(x, path, (enum store__role)pin->role, false, end.physical);
        x->r->n_torn++;
        x->r->torn_bytes += end.torn;
    }
    return RC_OK;
}

static RC check_unpinned_stream(struct exam *x, const char *path, const struct store__name *n,
                                struct err *e)
{
    uint8_t raw[STORE__HEADER_LEN];
    struct store__header h;
    bool unfinished;
    uint64_t size;

    TRY(read_head(path, n->role, raw, &size, &unfinished, e));
    if (!unfinished)
        TRY(verify_head(x, path, n, raw, &h, e));
    if (size > STORE__HEADER_LEN) /* a stream gets its first frame after it was listed */
        FAIL(e, ERR_STALE, "the anchor does not know file \"%s\"", path);
    plan(x, path, n->role, true, 0);
    return RC_OK;
}

static RC check_current(struct exam *x, const char *path, struct err *e)
{
    struct buf text AUTO(buf_fini) = BUF_INIT;
    struct store__name n;

    TRY(store__small_read(x->c->seal, path, STORE__CURRENT, 0, STORE__NAME_MAX, &text, e));
    if (text.len == 0 || text.p[text.len - 1] != '\n')
        FAIL(e, ERR_CORRUPT, "file \"%s\" names no manifest", path);
    text.len--;
    store__name_parse(buf_cstr(&text), &n);
    if (n.kind != STORE__K_SEALED || n.role != STORE__MANIFEST || n.number == 0)
        FAIL(e, ERR_CORRUPT, "file \"%s\" names no manifest", path);
    if (n.number != x->d->current && n.number != x->d->next)
        FAIL(e, ERR_STALE, "file \"%s\" names manifest %" PRIu64 ", the anchor remembers %" PRIu64,
             path, n.number, x->d->current);
    x->current = n.number;
    return RC_OK;
}

static RC check_temp(struct exam *x, const char *path, const struct store__name *n, struct err *e)
{
    uint8_t raw[STORE__HEADER_LEN];
    struct store__header h;
    bool unfinished;
    uint64_t size;

    TRY(read_head(path, n->role, raw, &size, &unfinished, e));
    if (!unfinished)
        TRY(verify_head(x, path, n, raw, &h, e));
    plan(x, path, n->role, true, 0);
    return RC_OK;
}

static RC check_sealed(struct exam *x, const char *path, const struct store__name *n, struct err *e)
{
    struct buf text AUTO(buf_fini) = BUF_INIT;
    uint8_t raw[STORE__HEADER_LEN];
    struct store__header h;
    bool unfinished;
    uint64_t size;

    switch (n->role) {
    case STORE__JOURNAL:
    case STORE__MANIFEST:
        return pin_of(x, n->role, n->number)
                   ? RC_OK
                   : check_unpinned_stream(x, path, n, e); /* pinned ones: check_pins() */
    case STORE__CURRENT: return check_current(x, path, e);
    case STORE__OPTIONS:
    case STORE__IDENTITY:
        return store__small_read(x->c->seal, path, n->role, n->number, SMALL_MAX, &text, e);
    case STORE__TABLE:
        TRY(read_head(path, n->role, raw, &size, &unfinished, e));
        /* What a crash left unfinished is in no manifest: the engine removes it. If it is in one, opening it fails. */
        return unfinished ? RC_OK : verify_head(x, path, n, raw, &h, e);
    default: return RC_OK; /* ANCHOR was the first */
    }
}

/* A crash while one file took the place of another: the one that is there decides which of the two pins counts. */
static RC settle_successor(struct exam *x, struct store__pin *p, const char *path, struct err *e)
{
    uint8_t raw[STORE__HEADER_LEN];
    struct store__header h;
    bool unfinished;
    uint64_t size;

    for (uint32_t i = 0; i < x->d->n; i++) {
        const struct store__pin *next = &x->d->pins[i];

        if (next->state != STORE__PIN_SUCCESSOR || next->role != p->role ||
            next->number != p->number)
            continue;
        TRY(read_head(path, (enum store__role)p->role, raw, &size, &unfinished, e));
        TRY(store__header_parse(SLICE(raw, unfinished ? 0 : sizeof(raw)), path, &h, e));
        if (memcmp(h.salt, next->salt, sizeof(h.salt)) == 0) {
            memcpy(p->salt, next->salt, sizeof(p->salt));
            p->reach = next->reach;
        }
    }
    return RC_OK;
}

static RC check_pins(struct exam *x, struct err *e)
{
    for (uint32_t i = 0; i < x->d->n; i++) {
        struct store__pin *p = &x->d->pins[i];
        char name[STORE__NAME_MAX];

        if (p->state == STORE__PIN_SUCCESSOR)
            continue;
        snprintf(name, sizeof(name),
                 p->role == STORE__JOURNAL ? "%06" PRIu64 ".log" : "MANIFEST-%06" PRIu64,
                 p->number);
        bool archived = listing_has(&x->archived, name), here = listing_has(&x->names, name);
        AUTO(mem_freep) char *path =
            mem_printf("%s/%s%s", x->c->dir, archived && !here ? "archive/" : "", name);

        if (p->state == STORE__PIN_DOOMED) {
            if (here || archived)
                plan(x, path, (enum store__role)p->role, true, 0);
            continue;
        }
        if (!here && !archived) {
            if (x->current == 0) /* a store whose making was interrupted */
                continue;
            FAIL(e, ERR_STALE, "file \"%s\" is missing", path);
        }
        TRY(settle_successor(x, p, path, e));
        TRY(check_stream(x, path, p, e));
    }
    return RC_OK;
}

/* Pins of one state, which say nothing any more. */
static void drop_pins(struct store__anchor_data *d, enum store__pin_state state)
{
    for (uint32_t i = 0; i < d->n;) {
        if (d->pins[i].state == (uint8_t)state)
            d->pins[i] = d->pins[--d->n];
        else
            i++;
    }
}

static RC check_archive(struct exam *x, struct err *e)
{
    AUTO(mem_freep) char *dir = mem_printf("%s/archive", x->c->dir);

    if (!listing_has(&x->names, "archive"))
        return RC_OK;
    TRY(store__list_dir(dir, &x->archived, e));
    for (size_t i = 0; i < x->archived.n; i++) {
        AUTO(mem_freep) char *path = mem_printf("%s/%s", dir, x->archived.names[i]);
        struct store__name n;

        store__name_parse(x->archived.names[i], &n);
        if (n.kind != STORE__K_SEALED || n.role != STORE__JOURNAL)
            FAIL(e, ERR_FOREIGN_FILE, "file \"%s\" does not belong into a data directory", path);
        if (!pin_of(x, n.role, n.number))
            FAIL(e, ERR_STALE, "the anchor does not know file \"%s\"", path);
    }
    return RC_OK;
}

static RC check_names(struct exam *x, struct err *e)
{
    for (size_t i = 0; i < x->names.n; i++) {
        AUTO(mem_freep) char *path = mem_printf("%s/%s", x->c->dir, x->names.names[i]);
        struct store__name n;
        struct stat st;

        store__name_parse(x->names.names[i], &n);
        if (lstat(path, &st) != 0)
            return file_err(e, errno, "examine", path);
        if (n.kind == STORE__K_FOREIGN)
            FAIL(e, ERR_FOREIGN_FILE, "\"%s\" does not belong into a data directory", path);
        if (n.kind == STORE__K_ARCHIVE ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
            FAIL(e, ERR_FOREIGN_FILE, "\"%s\" is not a regular file", path);
        if (n.kind == STORE__K_LOCK && st.st_size != 0)
            FAIL(e, ERR_FOREIGN_FILE, "file \"%s\" should be empty", path);
    }
    return RC_OK;
}

static RC apply(struct exam *x, struct err *e)
{
    for (size_t i = 0; i < x->n_repairs; i++) {
        const struct repair *r = &x->repairs[i];

        if (r->remove) {
            TRY(store__io_unlink(r->path, r->role, e));
            if (x->c->on_event)
                x->c->on_event(x->c->event_arg, STORE_EV_LEFTOVER, r->path);
            continue;
        }
        AUTO(fd_closep) int fd = open(r->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
            return file_err(e, errno, "open", r->path);
        TRY(store__io_truncate(fd, r->path, r->role, r->length, e));
        TRY(store__io_sync(fd, r->path, r->role, e));
        if (x->c->on_event)
            x->c->on_event(x->c->event_arg, STORE_EV_TORN_TAIL, r->path);
    }
    drop_pins(x->d, STORE__PIN_DOOMED); /* the files are gone */
    return x->n_repairs ? store__io_dir_sync(x->c->dir, e) : RC_OK;
}

/* The anchor's header seems to be under another key. If another file is under ours, it is the header that is damaged. */
static bool another_file_opens(const struct exam *x)
{
    for (size_t i = 0; i < x->names.n; i++) {
        AUTO(mem_freep) char *path = mem_printf("%s/%s", x->c->dir, x->names.names[i]);
        uint8_t raw[STORE__HEADER_LEN];
        struct store__header h;
        struct store__name n;
        struct err ignored = { 0 };
        bool unfinished;
        uint64_t size;

        store__name_parse(x->names.names[i], &n);
        if (n.kind == STORE__K_SEALED && n.role != STORE__ANCHOR &&
            !read_head(path, n.role, raw, &size, &unfinished, &ignored).failed && !unfinished &&
            !store__header_verify(x->c->seal->keys, x->c->seal->alg, NULL, SLICE(raw, sizeof(raw)),
                                  path, &h, &ignored)
                 .failed)
            return true;
    }
    return false;
}

static RC load_anchor(struct exam *x, struct err *e)
{
    struct err mine = { 0 };

    if (!store__anchor_load(x->c->seal->keys, x->c->seal->alg, x->c->dir, x->c->seal->id, x->d,
                            &mine)
             .failed)
        return RC_OK;
    if (mine.code == ERR_WRONG_KEY && another_file_opens(x))
        FAIL(e, ERR_CORRUPT, "the header of the anchor is damaged");
    return err_take(e, &mine);
}

static RC examine(struct exam *x, struct err *e)
{
    TRY(store__list_dir(x->c->dir, &x->names, e));
    TRY(check_names(x, e));
    if (!listing_has(&x->names, "ANCHOR")) {
        for (size_t i = 0; i < x->names.n; i++) {
            struct store__name n;

            store__name_parse(x->names.names[i], &n);
            if (n.kind == STORE__K_SEALED)
                FAIL(e, ERR_STALE, "data directory \"%s\" has no anchor", x->c->dir);
            if (n.kind == STORE__K_TEMP) { /* the very first anchor, unfinished */
                AUTO(mem_freep) char *path = mem_printf("%s/%s", x->c->dir, x->names.names[i]);
                plan(x, path, n.role, true, 0);
            }
        }
        return RC_OK;
    }
    TRY(load_anchor(x, e));
    if (x->c->envelope_seq && x->c->envelope_seq < x->d->envelope_seq)
        FAIL(e, ERR_ENVELOPE_STALE,
             "the key envelope is at %" PRIu64 ", the anchor remembers %" PRIu64,
             x->c->envelope_seq, x->d->envelope_seq);
    if (x->d->counter < x->c->anchor_floor)
        FAIL(e, ERR_STALE,
             "the store is at anchor %" PRIu64 ", the copy kept outside remembers %" PRIu64
             ": this is an older state",
             x->d->counter, x->c->anchor_floor);
    TRY(check_archive(x, e));
    for (size_t i = 0; i < x->names.n; i++) {
        AUTO(mem_freep) char *path = mem_printf("%s/%s", x->c->dir, x->names.names[i]);
        struct store__name n;

        store__name_parse(x->names.names[i], &n);
        if (n.kind == STORE__K_SEALED)
            TRY(check_sealed(x, path, &n, e));
        else if (n.kind == STORE__K_TEMP)
            TRY(check_temp(x, path, &n, e));
    }
    if (x->current == 0 && x->d->current != 0)
        FAIL(e, ERR_STALE, "data directory \"%s\" has no file CURRENT", x->c->dir);
    TRY(check_pins(x, e));
    drop_pins(x->d, STORE__PIN_SUCCESSOR);
    if (x->current) {
        if (!pin_of(x, STORE__MANIFEST, x->current))
            FAIL(e, ERR_STALE, "the anchor does not know manifest %" PRIu64, x->current);
        x->d->current = x->current;
        x->r->exists = true;
    }
    return RC_OK;
}

RC store__dir_check(const struct store__examination *c, struct store__anchor_data *d,
                    struct store__dir_report *r, struct err *e)
{
    struct exam x = { .c = c, .d = d, .r = r };
    rc_t rc;

    *d = (struct store__anchor_data){ 0 };
    *r = (struct store__dir_report){ 0 };
    rc = examine(&x, e);
    if (!rc.failed && c->repair)
        rc = apply(&x, e);
    exam_fini(&x);
    if (rc.failed)
        store__anchor_data_fini(d);
    return rc;
}

/* ---- copies and census ------------------------------------------------------------------------------------------- */

static RC pin_stream(const struct store__seal *s, const char *path, const struct store__name *n,
                     struct store__anchor_data *d, struct err *e)
{
    struct store__pin *pin;
    struct store__stream *st;
    struct store__stream_end end;
    struct slice plain;
    bool more = true;
    rc_t rc = RC_OK;

    TRY(store__stream_open(s, path, n->role, n->number, &st, e));
    while (more && !rc.failed)
        rc = store__stream_next(st, &plain, &more, e);
    store__stream_state(st, &end);
    d->pins = mem_realloc(d->pins, (d->n + 1) * sizeof(*d->pins));
    pin = &d->pins[d->n++];
    *pin = (struct store__pin){ .role = (uint8_t)n->role, .number = n->number, .reach = end.reach };
    memcpy(pin->salt, store__stream_head(st)->salt, sizeof(pin->salt));
    store__stream_free(st);
    return rc;
}

static RC pin_all(const struct store__seal *s, const char *dir, const struct store__listing *names,
                  struct store__anchor_data *d, struct err *e)
{
    for (size_t i = 0; i < names->n; i++) {
        AUTO(mem_freep) char *path = mem_printf("%s/%s", dir, names->names[i]);
        struct buf text AUTO(buf_fini) = BUF_INIT;
        struct store__name n, m;

        store__name_parse(names->names[i], &n);
        if (n.kind == STORE__K_SEALED && (n.role == STORE__JOURNAL || n.role == STORE__MANIFEST))
            TRY(pin_stream(s, path, &n, d, e));
        if (n.kind != STORE__K_SEALED || n.role != STORE__CURRENT)
            continue;
        TRY(store__small_read(s, path, STORE__CURRENT, 0, STORE__NAME_MAX, &text, e));
        text.len -= text.len ? 1 : 0;
        store__name_parse(buf_cstr(&text), &m);
        d->current = m.number;
    }
    if (d->current == 0)
        FAIL(e, ERR_CORRUPT, "the copy in \"%s\" names no manifest", dir);
    return RC_OK;
}

RC store__dir_anchor(const struct store__seal *s, const char *dir, uint64_t counter,
                     uint64_t envelope_seq, struct err *e)
{
    struct store__anchor_data d = { .counter = counter, .envelope_seq = envelope_seq };
    struct store__listing names = { 0 };
    rc_t rc = store__list_dir(dir, &names, e);

    if (!rc.failed)
        rc = pin_all(s, dir, &names, &d, e);
    if (!rc.failed)
        rc = store__anchor_store(s, dir, &d, e);
    store__listing_fini(&names);
    store__anchor_data_fini(&d);
    return rc;
}

static RC census_add(uint32_t gen, uint64_t bytes, struct store_census_row *rows, int max, int *n,
                     struct err *e)
{
    int i = 0;

    while (i < *n && rows[i].gen < gen)
        i++;
    if (i == *n || rows[i].gen != gen) {
        if (*n == max)
            FAIL(e, ERR_EXCEEDED_MEMORY_LIMIT, "more than %d key generations", max);
        memmove(&rows[i + 1], &rows[i], (size_t)(*n - i) * sizeof(*rows));
        rows[i] = (struct store_census_row){ .gen = gen };
        ++*n;
    }
    rows[i].n_files++;
    rows[i].bytes += bytes;
    return RC_OK;
}

static RC census_file(const char *path, enum store__role role, struct store_census_row *rows,
                      int max, int *n, struct err *e)
{
    uint8_t raw[STORE__HEADER_LEN];
    struct store__header h;
    struct err mine = { 0 };
    bool unfinished;
    uint64_t size;

    if (read_head(path, role, raw, &size, &unfinished, &mine).failed) {
        if (mine.code == ERR_NOT_FOUND) /* the engine removed it meanwhile */
            return RC_OK;
        return err_take(e, &mine);
    }
    if (unfinished)
        return RC_OK; /* holds nothing */
    TRY(store__header_parse(SLICE(raw, sizeof(raw)), path, &h, e));
    return census_add(h.gen, size, rows, max, n, e);
}

RC store__file_generation(const char *path, enum store__role role, uint32_t *gen, uint64_t *size,
                          struct err *e)
{
    struct store_census_row row;
    int n = 0;

    *gen = 0;
    *size = 0;
    TRY(census_file(path, role, &row, 1, &n, e));
    if (n) {
        *gen = row.gen;
        *size = row.bytes;
    }
    return RC_OK;
}

/* The archive comes last: a journal that moves there meanwhile is met there, if not before. Met twice, it holds its generation for one look more; missed, it
 * would be left behind under a generation that is destroyed. */
RC store__dir_census(const char *dir, struct store_census_row *rows, int max, int *n, struct err *e)
{
    AUTO(mem_freep) char *archive = NULL;
    struct store__listing names = { 0 };
    rc_t rc = store__list_dir(dir, &names, e);

    for (size_t i = 0; i < names.n && !rc.failed; i++) {
        AUTO(mem_freep) char *path = mem_printf("%s/%s", dir, names.names[i]);
        struct store__name m;

        store__name_parse(names.names[i], &m);
        if (m.kind == STORE__K_SEALED || m.kind == STORE__K_TEMP)
            rc = census_file(path, m.role, rows, max, n, e);
        else if (m.kind == STORE__K_ARCHIVE)
            archive = TAKE(path);
    }
    store__listing_fini(&names);
    return archive && !rc.failed ? store__dir_census(archive, rows, max, n, e) : rc;
}

RC store_census_dir(const char *dir, struct store_census_row *rows, int max, int *n, struct err *e)
{
    *n = 0;
    return store__dir_census(dir, rows, max, n, e);
}

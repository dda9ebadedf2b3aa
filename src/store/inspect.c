/* inspect.c - see inspect.h. Reads only, and takes no lock: the store may be in use while its files are looked at without keys.
 *
 * A file that lacks its end is damaged only if nobody is about to write that end. Whether somebody has it open for writing the kernel tells exactly (a
 * read lease is refused then); if nobody has, but it changed since it was opened, it is looked at again. Every other finding is one at once: no writer of
 * ours ever puts down a wrong header or anything readable.
 */
#include "store/inspect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "keys/keyring.h"
#include "store_priv.h"

enum {
    PIECE = 1 << 16,
    SCAN_MIN = 4096, /* fewer bytes say nothing about their distribution */
    LOOKS_MAX = 100, /* at one file that is replaced or finished each time it is looked at */
    RUN_MAX = 48,    /* printable characters in a row: (98/256)^48 = 1e-20 */
    /* Chi-square of 255 degrees of freedom has mean 255 and deviation 22.6; by chance it passes 470 once in 1e14. */
    CHI_SQUARE_MAX = 470,
};

/* ---- what does not look like ciphertext -------------------------------------------------------------------------- */

struct scan {
    uint64_t count[256], n, run;
    bool long_run;
};

static void scan_add(struct scan *st, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t b = p[i];
        bool printable = (b >= 0x20 && b < 0x7f) || b == '\t' || b == '\n' || b == '\r';
        st->count[b]++;
        st->run = printable ? st->run + 1 : 0;
        if (st->run >= RUN_MAX)
            st->long_run = true;
    }
    st->n += len;
}

static const char *scan_verdict(const struct scan *st)
{
    if (st->long_run)
        return "a run of printable characters stands where ciphertext should be";
    if (st->n < SCAN_MIN)
        return NULL;
    double expected = (double)st->n / 256, chi = 0;
    for (int i = 0; i < 256; i++) {
        double d = (double)st->count[i] - expected;
        chi += d * d / expected;
    }
    return chi > CHI_SQUARE_MAX ? "its bytes are not distributed as ciphertext is" : NULL;
}

/* ---- one file ---------------------------------------------------------------------------------------------------- */

struct look {
    const char *dir;
    struct keyring *keys;
    store_file_fn fn;
    void *arg;
    struct store_inspection *sum;
    bool have_id;
    uint8_t (*salts)[STORE_SALT_LEN];
    size_t n_salts, cap_salts;
};

/* One open file while it is walked. */
struct walk {
    const char *path;
    enum store__role role;
    int fd;
    struct stat opened; /* as it was before the first byte was read */
    uint64_t size, at;
    bool endless; /* the problem that was found is that its end is not there */
    struct scan scan;
    uint8_t buf[PIECE];
};

static const char *role_name(enum store__role role)
{
    static const char *const names[STORE__ROLE_NR] = {
        [STORE__TABLE] = "table",     [STORE__JOURNAL] = "journal", [STORE__MANIFEST] = "manifest",
        [STORE__CURRENT] = "current", [STORE__OPTIONS] = "options", [STORE__IDENTITY] = "identity",
        [STORE__ANCHOR] = "anchor",
    };
    return names[role];
}

/* scan_range(): adds [w->at, w->at + len) to the scan and moves on. */
static RC scan_range(struct walk *w, uint64_t len, struct err *e)
{
    while (len) {
        size_t got, want = (size_t)MIN(len, (uint64_t)PIECE);
        TRY(store__io_pread(w->fd, w->path, w->role, w->at, w->buf, want, &got, e));
        if (got == 0)
            return RC_OK; /* cut meanwhile */
        scan_add(&w->scan, w->buf, got);
        w->at += got;
        len -= got;
    }
    return RC_OK;
}

static RC walk_table(struct walk *w, struct store_file_facts *f, struct err *e)
{
    uint64_t logical;

    if (!store__block_logical(w->size, &logical)) {
        f->problem = "its length is none that a table can have";
        w->endless = true;
    }
    f->units =
        (w->size - w->at + STORE__CHUNK + STORE__TAG_LEN - 1) / (STORE__CHUNK + STORE__TAG_LEN);
    return scan_range(w, w->size - w->at, e);
}

/* walk_stream(): frame by frame as far as frames can be told without keys; the rest counts as torn. */
static RC walk_stream(struct walk *w, const struct store__header *h, struct store_file_facts *f,
                      struct err *e)
{
    uint8_t head[STORE__FRAME_HEAD], mark[4] = { 0 }, previous[STORE__TAG_LEN];
    bool ended = false;

    memcpy(previous, h->mac, sizeof(previous));
    while (w->size - w->at >= STORE__FRAME_HEAD + STORE__TAG_LEN && !ended) {
        size_t got;
        TRY(store__io_pread(w->fd, w->path, w->role, w->at, head, sizeof(head), &got, e));
        uint32_t n = get_be32(head + 4);
        if (f->units == 0)
            memcpy(mark, head, sizeof(mark));
        if (got < sizeof(head) || memcmp(head, mark, sizeof(mark)) != 0 || n > STORE__FRAME_MAX ||
            get_be32(head + 12) != f->units || memcmp(head + 32, previous, sizeof(previous)) != 0 ||
            w->size - w->at < STORE__FRAME_HEAD + STORE__TAG_LEN + (uint64_t)n)
            break;
        w->at += STORE__FRAME_HEAD;
        TRY(scan_range(w, n, e));
        TRY(store__io_pread(w->fd, w->path, w->role, w->at, previous, sizeof(previous), &got, e));
        w->at += STORE__TAG_LEN;
        ended = (get_be32(head + 8) & 1) != 0;
        f->units++;
    }
    f->torn = w->size - w->at;
    if (f->torn && ended)
        f->problem = "bytes stand behind its end";
    else if (!ended && f->torn == 0 && w->role >= STORE__CURRENT) {
        f->problem = "its end is missing";
        w->endless = true;
    }
    return scan_range(w, f->torn, e);
}

static RC authenticate_table(const struct store__seal *s, struct walk *w, uint64_t number,
                             struct err *e)
{
    struct store__block *b;
    uint64_t at = 0;
    rc_t rc = RC_OK;

    TRY(store__block_open(s, w->path, number, &b, e));
    while (at < store__block_size(b)) {
        size_t got = 0;
        rc = store__block_read(b, at, sizeof(w->buf), w->buf, &got, e);
        if (rc.failed || got == 0)
            break;
        at += got;
    }
    mem_wipe(w->buf, sizeof(w->buf)); /* it held plaintext */
    if (!rc.failed && at < store__block_size(b)) {
        rc = err_set(e, ERR_CORRUPT, __FILE__, __LINE__, "file \"%s\" ends before its last chunk",
                     w->path);
    }
    store__block_free(b);
    return rc;
}

static RC authenticate_stream(const struct store__seal *s, const struct walk *w, uint64_t number,
                              struct store_file_facts *f, struct err *e)
{
    struct store__stream *st;
    struct store__stream_end end;
    struct slice plain;
    bool more = true;
    rc_t rc = RC_OK;

    TRY(store__stream_open(s, w->path, w->role, number, &st, e));
    while (more && !rc.failed)
        rc = store__stream_next(st, &plain, &more, e);
    store__stream_state(st, &end);
    f->torn = end.torn;
    store__stream_free(st);
    return rc;
}

/* authenticate(): with keys. A failure of the file is its problem, never an error of the inspection. */
static void authenticate(const struct look *l, struct walk *w, const struct store__header *h,
                         uint64_t number, struct store_file_facts *f, char *text, size_t text_len)
{
    struct err e = { 0 };
    struct store__seal s = { .keys = l->keys, .alg = store__build_alg() };
    rc_t rc;

    memcpy(s.id, h->id, sizeof(s.id));
    rc = w->role == STORE__TABLE ? authenticate_table(&s, w, number, &e)
                                 : authenticate_stream(&s, w, number, f, &e);
    f->authenticated = !rc.failed;
    if (rc.failed) {
        snprintf(text, text_len, "%s", e.msg);
        f->problem = text;
    }
    err_reset(&e);
}

static void note_salt(struct look *l, const uint8_t salt[STORE_SALT_LEN])
{
    if (l->n_salts == l->cap_salts) {
        l->cap_salts = MAX((size_t)64, 2 * l->cap_salts);
        l->salts = mem_realloc(l->salts, l->cap_salts * sizeof(*l->salts));
    }
    memcpy(l->salts[l->n_salts++], salt, STORE_SALT_LEN);
}

static bool salt_known(const struct look *l, const uint8_t salt[STORE_SALT_LEN])
{
    for (size_t i = 0; i < l->n_salts; i++)
        if (memcmp(l->salts[i], salt, STORE_SALT_LEN) == 0)
            return true;
    return false;
}

/* check_header(): what the header says against the product, the other files and the name; whose it is comes first, since another store's numbers mean nothing. */
static void check_header(struct look *l, const struct store__name *n, const struct store__header *h,
                         struct store_file_facts *f)
{
    f->gen = h->gen;
    f->layout = h->layout == STORE__BLOCK ? "block" : "stream";
    memcpy(f->salt, h->salt, sizeof(f->salt));
    if (!l->have_id) {
        memcpy(l->sum->id, h->id, STORE_ID_LEN);
        l->have_id = true;
    }
    if (h->alg != STORE__ALG_AES_256_GCM)
        f->problem = "it was written without a cipher, by a build for benchmarks";
    else if (memcmp(h->id, l->sum->id, STORE_ID_LEN) != 0)
        f->problem = "it belongs to another store than the others";
    else if (h->role != (uint8_t)n->role)
        f->problem = "its header was written for another purpose than its name says";
    else if (store__role_numbered(n->role) && h->number != n->number)
        f->problem = "its header was written for another number than its name says";
    else if (h->gen == 0)
        f->problem = "it names no key generation";
    else if (salt_known(l, h->salt))
        f->problem = "its salt is that of another file";
    note_salt(l, h->salt);
}

static RC look_inside(struct look *l, struct walk *w, const struct store__name *n,
                      struct store_file_facts *f, char *text, size_t text_len, struct err *e)
{
    static const uint8_t zero[STORE__HEADER_LEN] = { 0 };
    uint8_t raw[STORE__HEADER_LEN];
    struct store__header h;
    struct err parse = { 0 };
    size_t got;

    TRY(store__io_pread(w->fd, w->path, w->role, 0, raw, sizeof(raw), &got, e));
    if (got < sizeof(raw) || memcmp(raw, zero, sizeof(raw)) == 0) {
        f->unfinished = true;
        scan_add(&w->scan, raw, got);
        w->at = got;
        TRY(scan_range(w, w->size - got, e));
        if (w->scan.n != w->scan.count[0] && w->size > sizeof(raw))
            f->problem = "it has no header and yet content";
        return RC_OK;
    }
    if (store__header_parse(SLICE(raw, sizeof(raw)), w->path, &h, &parse).failed) {
        snprintf(text, text_len, "%s", parse.msg);
        f->problem = text;
        err_reset(&parse);
        return RC_OK;
    }
    check_header(l, n, &h, f);
    w->at = STORE__HEADER_LEN;
    if (!f->problem)
        TRY(h.layout == STORE__BLOCK ? walk_table(w, f, e) : walk_stream(w, &h, f, e));
    if (!f->problem || w->endless) {
        const char *verdict = scan_verdict(&w->scan);
        f->problem = verdict ? verdict : f->problem;
        w->endless &= verdict == NULL;
    }
    if (!f->problem && l->keys)
        authenticate(l, w, &h, n->number, f, text, text_len);
    return RC_OK;
}

static void tell(struct look *l, struct store_file_facts *f)
{
    l->sum->n_files++;
    l->sum->bytes += f->bytes;
    l->sum->n_problems += f->problem != NULL;
    l->fn(l->arg, f);
}

/* has_writer(): the kernel grants a read lease only on a file that nobody has open for writing. Where it cannot tell (no lease on this file system, or
 * the file is another user's), nobody has. Who opens it for writing meanwhile makes the kernel send a signal: one that is ignored. */
static bool has_writer(int fd)
{
    if (fcntl(fd, F_SETSIG, SIGURG) == 0 && fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        fcntl(fd, F_SETLEASE, F_UNLCK);
        return false;
    }
    return errno == EAGAIN;
}

static bool changed(const struct walk *w)
{
    struct stat now;

    return fstat(w->fd, &now) < 0 || now.st_nlink == 0 || now.st_size != w->opened.st_size ||
           now.st_mtim.tv_sec != w->opened.st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != w->opened.st_mtim.tv_nsec;
}

/* look_once(): again: what was found says nothing about the file as it is now. */
static RC look_once(struct look *l, struct walk *w, const struct store__name *n,
                    struct store_file_facts *f, char *text, size_t text_len, bool *again,
                    struct err *e)
{
    size_t n_salts = l->n_salts;

    *again = false;
    if (fstat(w->fd, &w->opened) < 0)
        return file_err(e, errno, "examine", w->path);
    w->size = (uint64_t)w->opened.st_size;
    f->bytes = w->size;
    TRY(look_inside(l, w, n, f, text, text_len, e));
    if (!w->endless)
        return RC_OK;
    if (has_writer(w->fd)) {
        f->problem = NULL;
        f->unfinished = true;
        return RC_OK;
    }
    *again = changed(w);
    if (*again)
        l->n_salts = n_salts;
    return RC_OK;
}

static RC look_at_file(struct look *l, const char *name, const struct store__name *n, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/%s", l->dir, name);
    AUTO(mem_freep) struct walk *w = NEW(struct walk);
    bool again = true;

    for (int i = 0; i < LOOKS_MAX && again; i++) {
        struct store_file_facts f = { .name = name, .role = role_name(n->role), .layout = "" };
        char text[ERR_MSG_MAX];

        *w = (struct walk){ .path = path, .role = n->role };
        w->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (w->fd < 0 && errno == ENOENT)
            return RC_OK; /* the store in use has deleted it */
        if (w->fd < 0)
            return file_err(e, errno, "open", path);
        rc_t rc = look_once(l, w, n, &f, text, sizeof(text), &again, e);
        close(w->fd);
        if (rc.failed)
            return rc;
        if (!again || i == LOOKS_MAX - 1)
            tell(l, &f);
    }
    return RC_OK;
}

static RC look_at_other(struct look *l, const char *name, bool is_lock, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/%s", l->dir, name);
    struct store_file_facts f = { .name = name,
                                  .role = is_lock ? "lock" : "foreign",
                                  .layout = "" };
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? RC_OK : file_err(e, errno, "examine", path);
    f.bytes = (uint64_t)st.st_size;
    if (!is_lock)
        f.problem = "no file of a store has such a name";
    else if (st.st_size != 0)
        f.problem = "it should be empty";
    tell(l, &f);
    return RC_OK;
}

static RC look_at_dir(struct look *l, const char *below, struct err *e);

static RC look_at(struct look *l, const char *below, const char *base, struct err *e)
{
    AUTO(mem_freep) char *name = *below ? mem_printf("%s/%s", below, base) : mem_strdup(base);
    struct store__name n;

    store__name_parse(base, &n);
    if (*below && n.role != STORE__JOURNAL)
        n.kind = STORE__K_FOREIGN;
    switch (n.kind) {
    case STORE__K_SEALED:
    case STORE__K_TEMP: return look_at_file(l, name, &n, e);
    case STORE__K_ARCHIVE: return look_at_dir(l, name, e);
    case STORE__K_LOCK:
    case STORE__K_FOREIGN: break;
    }
    return look_at_other(l, name, n.kind == STORE__K_LOCK, e);
}

static RC look_at_dir(struct look *l, const char *below, struct err *e)
{
    AUTO(mem_freep) char *path = *below ? mem_printf("%s/%s", l->dir, below) : mem_strdup(l->dir);
    struct store__listing names = { 0 };
    rc_t rc = store__list_dir(path, &names, e);

    for (size_t i = 0; i < names.n && !rc.failed; i++)
        rc = look_at(l, below, names.names[i], e);
    store__listing_fini(&names);
    return rc;
}

RC store_inspect(const char *dir, struct keyring *keys, store_file_fn fn, void *arg,
                 struct store_inspection *out, struct err *e)
{
    struct look l = { .dir = dir, .keys = keys, .fn = fn, .arg = arg, .sum = out };

    *out = (struct store_inspection){ 0 };
    rc_t rc = look_at_dir(&l, "", e);
    mem_free(l.salts);
    return rc;
}

/* drill.c - `coffer cluster drill`: the customer's key is taken away and given back, and what that does is measured from outside.
 *
 * A round: a connection of our own, logged in as any driver's, reads one document over and over. The key's version is disabled in the vault.
 *
 *   disabled ──detect──▶ a read is refused, or the connection ended ──seal──▶ nothing answers data, and the process that held the keys is gone
 *   enabled  ──return──▶ the first read that a new connection succeeds with
 *
 * What counts as sealed is seen from two sides: a new connection is refused with ClusterInaccessible, and the node's administration socket, which
 * answers again only once the process has replaced its memory, says Inaccessible. A read that succeeds after that fails the drill.
 * Whatever ends the drill, the key is given back: by this process on an error or a signal, by the guard (drill_key.h) when it is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "coffer.h"
#include "drill_key.h"
#include "drill_stats.h"
#include "mongo.h"
#include "talk.h"

#define DRILL_DB "coffer_drill"
#define DRILL_COLLECTION "probe"

enum {
    READ_TIMEOUT_MS = 10 * 1000,
    PROBE_TIMEOUT_MS = 1000,
    STATUS_TIMEOUT_MS = 2000,
    SHOW_TIMEOUT_MS = 60 * 1000,
    READ_EVERY_US = 10 * 1000,
    LOOK_EVERY_US = 20 * 1000,
    WORD_BYTES = 16,
    NAME_MAX_LEN = 128
};

struct drill {
    const struct coffer *c;
    const char *cluster, *user;
    char *password;
    char *host;                    /* owned; NULL: not known yet */
    struct mongo_place at;         /* where a driver finds the cluster */
    char word[2 * WORD_BYTES + 1]; /* what the document that is read holds */
    struct drill_key key;
    struct mongo watch; /* logged in, open while the key is taken */
    struct drill_round *rounds;
    int n_wanted, n_done;
    int64_t begun_ms;
};

static volatile sig_atomic_t signalled;

static void note_signal(int sig)
{
    signalled = sig;
}

static void watch_signals(void)
{
    static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction act = { .sa_handler = note_signal };

    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        (void)sigaction(ends[i], &act, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* step_goes_on(): between two looks. The limit of a step, or a signal, ends the drill. */
static RC step_goes_on(const struct drill *d, uint64_t since_us, const char *waited_for,
                       struct err *e)
{
    if (signalled)
        FAIL(e, ERR_INTERRUPTED, "the drill was ended by signal %d", (int)signalled);
    if (clock_mono_us() - since_us > settings_us(d->c->settings, CS_DRILL_LIMIT))
        FAIL(e, ERR_TIMEOUT, "%s took longer than drill-limit allows", waited_for);
    return RC_OK;
}

/* ---- the driver's side ---- */

static RC read_word(const struct drill *d, struct mongo *m, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct bdoc reply;
    struct bw w;

    bw_init(&w, &space);
    bw_str(&w, "find", DRILL_COLLECTION);
    bw_doc_begin(&w, "filter");
    bw_str(&w, "_id", "word");
    bw_doc_end(&w);
    bw_bool(&w, "singleBatch", true);
    bw_str(&w, "$db", DRILL_DB);
    TRY(mongo_run(m, bw_finish(&w), a, &reply, e));
    struct bval batch = bdoc_get_path(reply, "cursor.firstBatch");
    if (batch.type == BT_ARRAY) {
        struct bval first = bdoc_get(bval_doc(batch), "0");
        struct bval word = first.type == BT_DOCUMENT ? bdoc_get(bval_doc(first), "word") : first;
        if (word.type == BT_STRING && slice_eq_str(bval_str(word), d->word))
            return RC_OK;
    }
    FAIL(e, ERR_OPERATION_FAILED, "the cluster answers, but without the drill's document");
}

static RC connect_as_user(const struct drill *d, uint64_t timeout_ms, struct mongo *out,
                          struct err *e)
{
    TRY(mongo_open(out, &d->at, timeout_ms, e));
    return mongo_login(out, d->user, d->password, e);
}

/* look(): what a driver that comes now gets. */
static RC look(const struct drill *d, struct err *e)
{
    AUTO(mongo_close) struct mongo m = MONGO_INIT;

    TRY(connect_as_user(d, PROBE_TIMEOUT_MS, &m, e));
    return read_word(d, &m, e);
}

/* change_word(): the document that is read is written, or with the database dropped. */
static RC change_word(const struct drill *d, bool drop, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf space = BUF_INIT;
    AUTO(mongo_close) struct mongo m = MONGO_INIT;
    struct bdoc reply;
    struct bw w;

    bw_init(&w, &space);
    if (drop) {
        bw_i32(&w, "dropDatabase", 1);
    } else {
        bw_str(&w, "update", DRILL_COLLECTION);
        bw_array_begin(&w, "updates");
        bw_doc_begin(&w, NULL);
        bw_doc_begin(&w, "q");
        bw_str(&w, "_id", "word");
        bw_doc_end(&w);
        bw_doc_begin(&w, "u");
        bw_str(&w, "_id", "word");
        bw_str(&w, "word", d->word);
        bw_doc_end(&w);
        bw_bool(&w, "upsert", true);
        bw_doc_end(&w);
        bw_array_end(&w);
    }
    bw_str(&w, "$db", DRILL_DB);
    TRY(connect_as_user(d, READ_TIMEOUT_MS, &m, e));
    TRY(mongo_run(&m, bw_finish(&w), a, &reply, e));
    return drop ? RC_OK : read_word(d, &m, e);
}

/* ---- the node's own word ---- */

/* is_sealed(): the image of the process that had the keys is gone. One that does not answer is between the two. */
static bool is_sealed(const struct drill *d)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct err why = { 0 };
    struct bdoc answer;
    struct bw w;

    bw_init(&w, &space);
    bw_str(&w, "op", "status");
    if (talk_once(d->c, d->cluster, bw_finish(&w), STATUS_TIMEOUT_MS, a, &answer, &why).failed) {
        err_reset(&why);
        return false;
    }
    struct bval state = bdoc_get(answer, "state");
    return state.type == BT_STRING && slice_eq_str(bval_str(state), "Inaccessible") &&
           bval_is_missing(bdoc_get(answer, "sealing"));
}

/* ---- a round ---- */

/* Keys that were taken a fixed time behind the last return, or given a fixed time behind the sealing, would meet the node's probes always at the
 * same moment. */
static RC pause_a_while(const struct drill *d, struct err *e)
{
    uint64_t longest = settings_us(d->c->settings, CS_DRILL_PAUSE), random;

    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        FAIL(e, ERR_CRYPTO, "the system gives no random bytes");
    uint64_t until = clock_mono_us() + (longest ? random % longest : 0);
    while (clock_mono_us() < until && !signalled)
        clock_sleep_us(LOOK_EVERY_US);
    return step_goes_on(d, clock_mono_us(), "the pause", e);
}

static RC detect(struct drill *d, uint64_t taken_us, struct drill_round *r, struct err *e)
{
    for (;;) {
        struct err why = { 0 };
        bool refused = read_word(d, &d->watch, &why).failed;
        uint64_t now = clock_mono_us();
        enum err_code code = why.code;

        if (refused && code == ERR_OPERATION_FAILED) {
            *e = why;
            return RC_FAILED;
        }
        err_reset(&why);
        if (refused) {
            r->detect_us = now - taken_us;
            return RC_OK;
        }
        r->reads++;
        r->last_read_us = now - taken_us;
        TRY(step_goes_on(d, taken_us, "detecting that the key is gone", e));
        clock_sleep_us(READ_EVERY_US);
    }
}

static RC seal(struct drill *d, uint64_t taken_us, struct drill_round *r, struct err *e)
{
    uint64_t since = taken_us + r->detect_us;

    for (;;) {
        struct err why = { 0 };
        bool sealed = is_sealed(d);
        bool served = !look(d, &why).failed;
        uint64_t now = clock_mono_us();
        bool refused = why.code == ERR_CLUSTER_INACCESSIBLE;

        err_reset(&why);
        if (sealed && served)
            FAIL(e, ERR_OPERATION_FAILED,
                 "a read was answered by a cluster that says it is sealed");
        if (served) {
            r->reads++;
            r->last_read_us = now - taken_us;
        }
        if (sealed && refused) {
            r->seal_us = now - since;
            return RC_OK;
        }
        TRY(step_goes_on(d, since, "sealing", e));
        clock_sleep_us(LOOK_EVERY_US);
    }
}

static RC come_back(struct drill *d, uint64_t given_us, struct drill_round *r, struct err *e)
{
    for (;;) {
        struct err why = { 0 };
        bool served = !look(d, &why).failed;

        err_reset(&why);
        if (served) {
            r->return_us = clock_mono_us() - given_us;
            return RC_OK;
        }
        TRY(step_goes_on(d, given_us, "the return", e));
        clock_sleep_us(LOOK_EVERY_US);
    }
}

static RC run_round(struct drill *d, struct err *e)
{
    struct drill_round r = { 0 };

    TRY(pause_a_while(d, e));
    TRY(connect_as_user(d, READ_TIMEOUT_MS, &d->watch, e));
    TRY(read_word(d, &d->watch, e));
    TRY(drill_key_take(&d->key, e));
    uint64_t taken_us = clock_mono_us();
    r.at_ms = clock_real_ms();
    TRY(detect(d, taken_us, &r, e));
    mongo_close(&d->watch);
    TRY(seal(d, taken_us, &r, e));
    TRY(pause_a_while(d, e));
    TRY(drill_key_give(&d->key, e));
    TRY(come_back(d, clock_mono_us(), &r, e));
    d->rounds[d->n_done++] = r;
    fprintf(stderr,
            "round %d of %d: refused after %.1f s, sealed %.1f s later, read again after %.1f s\n",
            d->n_done, d->n_wanted, (double)r.detect_us / 1e6, (double)r.seal_us / 1e6,
            (double)r.return_us / 1e6);
    return RC_OK;
}

/* ---- before and behind the rounds ---- */

/* Who names the cluster in a script means it; somebody at a terminal is asked. */
static RC confirm(const struct drill *d, struct err *e)
{
    char line[NAME_MAX_LEN];

    if (settings_bool(d->c->settings, CS_YES) || !isatty(STDIN_FILENO))
        return RC_OK;
    fprintf(
        stderr,
        "This makes the cluster \"%s\" inaccessible, %d times, up to a minute each. Type its name to go on: ",
        d->cluster, d->n_wanted);
    if (!fgets(line, sizeof(line), stdin))
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, d->cluster) != 0)
        FAIL(e, ERR_CONFIG, "not confirmed: nothing was done");
    return RC_OK;
}

static RC read_password(struct drill *d, struct err *e)
{
    const char *given = settings_str(d->c->settings, CS_PASSWORD_FILE);
    AUTO(mem_freep) char *path =
        *given ? mem_strdup(given) : mem_printf("%s/admin.password", d->c->home);

    return coffer_read_text(path, &d->password, e);
}

static bool is_port(const char *text, int *out)
{
    int64_t n;

    if (!text_i64(slice_str(text), &n) || n < 1 || n > 65535)
        return false;
    *out = (int)n;
    return true;
}

/* "HOST", "HOST:PORT", "[IPV6]:PORT", "IPV6": the port is "" when there is none. */
static RC split_host(const char *text, char **host, const char **port, struct err *e)
{
    const char *colon = strrchr(text, ':');
    bool bracket = text[0] == '[', bare6 = !bracket && colon && strchr(text, ':') != colon;
    size_t len = bracket           ? strcspn(text, "]") - 1
                 : colon && !bare6 ? (size_t)(colon - text)
                                   : strlen(text);
    const char *rest = text + len + (bracket ? 2 : 0);

    if (len == 0 || (bracket && !strchr(text, ']')) || (*rest && *rest != ':'))
        FAIL(e, ERR_CONFIG,
             "setting \"host\" takes HOST, HOST:PORT or [ADDRESS]:PORT, not \"%.60s\"", text);
    *host = mem_strndup(text + bracket, len);
    *port = *rest ? rest + 1 : rest;
    return RC_OK;
}

/* Where the settings say; else on this machine, at the port that the node wrote down. */
static RC find_place(struct drill *d, struct err *e)
{
    const struct settings *set = d->c->settings;
    const char *given = settings_str(set, CS_HOST), *port = "";
    AUTO(mem_freep) char *path = coffer_path(d->c, d->cluster, "port"), *text = NULL;

    TRY(split_host(*given ? given : "127.0.0.1", &d->host, &port, e));
    d->at = (struct mongo_place){ .host = d->host,
                                  .tls = settings_bool(set, CS_TLS) ||
                                         *settings_str(set, CS_TLS_CA_FILE) ||
                                         *settings_str(set, CS_TLS_CERT_FILE),
                                  .ca_file = settings_str(set, CS_TLS_CA_FILE),
                                  .cert_file = settings_str(set, CS_TLS_CERT_FILE) };
    if (*port && !is_port(port, &d->at.port))
        FAIL(e, ERR_CONFIG, "\"%.20s\" in the setting \"host\" is no port", port);
    if (*port)
        return RC_OK;
    TRY(coffer_read_text(path, &text, e));
    if (!is_port(text, &d->at.port))
        FAIL(e, ERR_OPERATION_FAILED, "%s holds no port", path);
    return RC_OK;
}

static RC open_key(struct drill *d, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct bdoc shown;
    struct bw w;

    bw_init(&w, &space);
    bw_str(&w, "op", "keyShow");
    TRY(talk(d->c, d->cluster, bw_finish(&w), SHOW_TIMEOUT_MS, a, &shown, e));
    struct bval state = bdoc_get(shown, "state");
    if (state.type != BT_STRING || !slice_eq_str(bval_str(state), "Ready"))
        FAIL(e, ERR_ILLEGAL_OPERATION, "the cluster is not Ready: a drill begins with one that is");
    return drill_key_open(d->c, shown, &d->key, e);
}

static RC prepare(struct drill *d, struct err *e)
{
    uint8_t word[WORD_BYTES];
    AUTO(buf_fini) struct buf hex = BUF_INIT;

    if (getrandom(word, sizeof(word), 0) != (ssize_t)sizeof(word))
        FAIL(e, ERR_CRYPTO, "the system gives no random bytes");
    hex_encode(SLICE(word, sizeof(word)), &hex);
    memcpy(d->word, buf_cstr(&hex), sizeof(d->word));
    TRY(open_key(d, e));
    TRY(find_place(d, e));
    TRY(read_password(d, e));
    TRY(confirm(d, e));
    return change_word(d, /* drop= */ false, e);
}

static void write_report(const struct drill *d, const struct err *failed, struct bw *w)
{
    bw_str(w, "cluster", d->cluster);
    bw_str(w, "key", d->key.url);
    bw_str(w, "keyVersion", d->key.version);
    bw_date(w, "begun", d->begun_ms);
    bw_date(w, "ended", clock_real_ms());
    if (failed)
        bw_str(w, "failed", failed->msg);
    stats_write(d->rounds, d->n_done, w);
}

/* One line for each drill: the history that `coffer cluster report` shows. */
static RC keep(const struct drill *d, struct bdoc report, struct err *e)
{
    AUTO(mem_freep) char *path = coffer_path(d->c, d->cluster, "drills.jsonl");
    AUTO(buf_fini) struct buf line = BUF_INIT;

    bval_to_json(bval_of_doc(report, BT_DOCUMENT), &line);
    buf_push_u8(&line, '\n');
    AUTO(fd_closep) int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return file_err(e, errno, "open", path);
    TRY(file_write_fd(fd, buf_view(&line), e));
    if (fsync(fd) != 0)
        return file_err(e, errno, "sync", path);
    return RC_OK;
}

static RC run_rounds(struct drill *d, struct err *e)
{
    while (d->n_done < d->n_wanted)
        TRY(run_round(d, e));
    return change_word(d, /* drop= */ true, e);
}

/* What was measured before a failure is kept too. The first error is the one that is told. */
static RC run_and_report(struct drill *d, struct err *e)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct err late = { 0 };
    struct bw w;

    rc_t rc = run_rounds(d, e);
    mongo_close(&d->watch);
    if (drill_key_give(&d->key, &late).failed)
        fprintf(stderr, "coffer: %s\n", late.msg);
    err_reset(&late);
    bw_init(&w, &space);
    write_report(d, rc.failed ? e : NULL, &w);
    struct bdoc report = bw_finish(&w);
    if (rc.failed) {
        if (d->n_done && keep(d, report, &late).failed)
            fprintf(stderr, "coffer: %s\n", late.msg);
        err_reset(&late);
        return rc;
    }
    TRY(keep(d, report, e));
    if (strcmp(settings_str(d->c->settings, CS_OUTPUT), "text") == 0) {
        stats_print(report);
        return RC_OK;
    }
    return talk_print(d->c, bval_of_doc(report, BT_DOCUMENT), e);
}

RC coffer_drill(struct coffer *c, int argc, char **argv, struct err *e)
{
    struct drill d = { .c = c,
                       .cluster = argv[0],
                       .user = settings_str(c->settings, CS_USER),
                       .key = DRILL_KEY_INIT,
                       .watch = MONGO_INIT,
                       .n_wanted = (int)settings_i64(c->settings, CS_ROUNDS),
                       .begun_ms = clock_real_ms() };

    (void)argc;
    d.rounds = NEW_ARRAY(struct drill_round, (size_t)d.n_wanted);
    watch_signals();
    rc_t rc = prepare(&d, e);
    if (!rc.failed)
        rc = run_and_report(&d, e);
    drill_key_close(&d.key);
    mem_free(d.rounds);
    mem_free(d.host);
    if (d.password)
        mem_wipe(d.password, strlen(d.password));
    mem_free(d.password);
    return rc;
}

/* main.c - cofferd: settings, the log, and which run this image is for. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "crypto/aead.h"
#include "crypto/secret.h"
#include "erase.h"
#include "harden.h"
#include "keys/helper.h"
#include "kms/kms.h"
#include "outside.h"
#include "process.h"
#include "provider.h"

static const struct setting_def defs[SETTING_NR] = {
#define SETTING(id, type, name, def, min, max, flags, doc)                                         \
    [id] = { name, type, def, min, max, flags, doc },
#include "settings.def"
#undef SETTING
};

static RC parse_level(const char *text, enum log_level *out, struct err *e)
{
    static const char *const names[LOG_LEVEL_NR] = { "debug", "info", "warn", "error" };
    for (int i = 0; i < LOG_LEVEL_NR; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum log_level)i;
            return RC_OK;
        }
    }
    FAIL(e, ERR_CONFIG, "setting \"log-level\" takes debug, info, warn or error, not \"%.100s\"",
         text);
}

static RC start_log(struct settings *s, struct err *e)
{
    struct log_config c = { .fd = STDERR_FILENO, .program = "cofferd" };
    const char *format = settings_str(s, SET_LOG_FORMAT), *path = settings_str(s, SET_LOG_FILE);
    TRY(parse_level(settings_str(s, SET_LOG_LEVEL), &c.min_level, e));
    c.json = strcmp(format, "json") == 0;
    if (!c.json && strcmp(format, "text") != 0)
        FAIL(e, ERR_CONFIG, "setting \"log-format\" takes text or json, not \"%.100s\"", format);
    if (*path) {
        c.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
        if (c.fd < 0)
            return file_err(e, errno, "open the log", path);
        c.path = path;
    }
    log_init(&c);
    return RC_OK;
}

/* The first lines of a log say what runs: all settings that differ from their defaults, secrets by name only. */
static void log_settings(const struct settings *s)
{
    for (int i = 0; i < settings_count(s); i++) {
        const struct setting_def *d = settings_def(s, i);
        if (!settings_is_default(s, i))
            log_event(EV_SETTING, KV_STR("name", d->name),
                      KV_STR("value", d->flags & SET_SECRET ? "(not shown)" : settings_str(s, i)));
    }
}

/* The mask of the process, whatever it was started with: the main thread takes these with sigwaitinfo(), and every other thread inherits the mask. Set
 * in one step: a signal that the image before could not take any more is pending, and must find no moment in which it would end this one. */
static void set_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    INVARIANT(sigprocmask(SIG_SETMASK, &set, NULL) == 0);
}

/* What is being erased may lack its configuration already. */
static RC load_conf(struct process *p, struct err *e)
{
    struct err ignored = { 0 };
    TRY(erase_refuse(p, e));
    if (!erase_is_due(p))
        return process_load_conf(p, e);
    (void)process_load_conf(p, &ignored).failed;
    err_reset(&ignored);
    return RC_OK;
}

/* What a kill left of a write to the state directory. Who holds the data directory's lock is alone there too, and nothing of this image runs yet. */
static void sweep(struct process *p)
{
    int n = file_sweep(p->state_dir);

    if (n)
        log_event(EV_STATE_LEFTOVERS, KV_U64("files", (uint64_t)n), KV_STR("dir", p->state_dir));
}

static RC prepare(struct process *p, struct err *e)
{
    set_signals();
    TRY(harden_process(e));
    p->self_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (p->self_fd < 0)
        return file_err(e, errno, "open", "the program itself");
    TRY(start_log(p->set, e));
    log_event(EV_STARTING, KV_STR("version", COFFER_VERSION));
    log_settings(p->set);
    harden_warn_swap();
    TRY(handoff_take(&p->handoff, e));
    TRY(process_places(p, e));
    TRY(process_lock(p, e));
    sweep(p);
    TRY(load_conf(p, e));
    TRY(kms_init(/* wiping= */ true, e));
    TRY(secret_arena_init((size_t)settings_i64(p->set, SET_KEY_MEMORY), e));
    return crypto_init(e);
}

static int fail(const struct err *e)
{
    log_err(EV_START_FAILED, e, NULL, 0);
    fprintf(stderr, "cofferd: %s\n", e->msg);
    return RUN_FAILED;
}

static RC confirmed(const struct process *p, struct err *e)
{
    const char *name = settings_str(p->set, SET_CLUSTER_NAME);
    if (strcmp(settings_str(p->set, SET_CONFIRM), name) != 0)
        FAIL(e, ERR_BAD_VALUE, "the cluster's name is needed as a confirmation: --confirm=%.60s",
             name);
    return RC_OK;
}

/* `cofferd ... erase`, of a node that is stopped. */
static int erase(struct process *p)
{
    struct err e = { 0 };
    fault_init_from_env();
    if (prepare(p, &e).failed ||
        erase_mark(p, settings_str(p->set, SET_CONFIRM),
                   settings_bool(p->set, SET_KEEP_KEY_VERSION), &e)
            .failed ||
        erase_run(p, &e).failed)
        return fail(&e);
    return RUN_STOPPED;
}

/* `cofferd ... accept-older`: what the data directory of a stopped node holds was put back on purpose. */
static int accept_older(struct process *p)
{
    struct err e = { 0 };
    fault_init_from_env();
    if (prepare(p, &e).failed || confirmed(p, &e).failed ||
        outside_write_ticket(p, p->data_dir, &e).failed)
        return fail(&e);
    return RUN_STOPPED;
}

static int run(struct process *p)
{
    struct err e = { 0 };
    fault_init_from_env();
    if (prepare(p, &e).failed)
        return fail(&e);
    if (erase_is_due(p))
        return erase_run(p, &e).failed ? fail(&e) : RUN_STOPPED;
    return p->handoff.mode == HANDOFF_SEALED ? sealed_run(p, &p->handoff) : ready_run(p);
}

static int print_help(const struct settings *s)
{
    printf("cofferd: one database node, always encrypted at rest\n\n");
    settings_print_help(s, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], HELPER_ARG) == 0)
        return key_helper_main();
    struct process p = { .set = settings_new(defs, SETTING_NR),
                         .argc = argc,
                         .argv = argv,
                         .self_fd = -1,
                         .lock_fd = -1 };
    struct err e = { 0 };
    int rest, rc;
    bool help, version;
    if (settings_parse_args(p.set, argc, argv, &rest, &help, &version, &e).failed) {
        fprintf(stderr, "cofferd: %s\n", e.msg);
        rc = 2;
    } else if (help) {
        rc = print_help(p.set);
    } else if (version) {
        rc = printf("cofferd %s\n", COFFER_VERSION) < 0;
    } else if (rest < argc) {
        if (strcmp(argv[rest], "settings-doc") == 0) {
            settings_print_markdown(p.set, stdout);
            rc = 0;
        } else if (strcmp(argv[rest], "erase") == 0 && rest + 1 == argc) {
            rc = erase(&p);
        } else if (strcmp(argv[rest], "accept-older") == 0 && rest + 1 == argc) {
            rc = accept_older(&p);
        } else {
            fprintf(stderr, "cofferd: \"%s\" is not a flag; see --help\n", argv[rest]);
            rc = 2;
        }
    } else {
        rc = run(&p);
    }
    process_fini(&p);
    return rc;
}

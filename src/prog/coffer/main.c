/* main.c - coffer: the command line of an installation. `coffer help` lists the commands. */
#include "coffer.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

enum { TEXT_MAX = 1 << 20 };

static const struct setting_def defs[CS_NR] = {
#define SETTING(id, type_, name_, def_, min_, max_, flags_, doc_)                                  \
    [id] = { .name = (name_),                                                                      \
             .type = (type_),                                                                      \
             .def = (def_),                                                                        \
             .min = (min_),                                                                        \
             .max = (max_),                                                                        \
             .flags = (flags_),                                                                    \
             .doc = (doc_) },
#include "coffer_settings.def"
#undef SETTING
};

/* The flags that a command takes besides those of all: names with blanks between and before. */
#define NODE " node admin-socket"
#define STARTS " smk-port cmk-port vault-port token-port cache-size up-timeout down-timeout"
#define IDENTITY " token-source token-endpoint token-secret-file client-id tenant-id"
#define KEY " key-url key-ca-file key-proxy key-audience key-context" IDENTITY
#define VAULT                                                                                      \
    " admin-socket tenant vault principal key permissions actions except after label days file pem federation issuer subject audience compromised verify"

static const struct command {
    const char *name, *flags, *operands, *what;
    coffer_cmd_fn run;
} commands[] = {
    { "up", STARTS, "",
      "start the vault, a node with a service-managed key and one with a customer-managed key",
      coffer_up },
    { "down", STARTS, "", "end what `coffer up` started", coffer_down },
    { "status", NODE, "", "what runs, and the key state of each node", coffer_status },
    { "revalidate", NODE, "", "have the node ask for its key now", coffer_revalidate },
    { "backup verify", NODE, "DIRECTORY",
      "would it open, and is every byte of it there? The node of this installation asks for its keys and reads it whole",
      coffer_backup_verify },
    { "backup", NODE, "DIRECTORY",
      "a consistent, encrypted copy of the node's data in a new directory", coffer_backup },
    { "restore", NODE STARTS, "DIRECTORY",
      "start the stopped node, whose data directory is empty or gone, from a backup",
      coffer_restore },
    { "inspect", NODE " with-keys-of", "DIRECTORY",
      "every file of a data directory or backup: what it is, and that none of it is in the clear; --with-keys-of=CLUSTER: every tag verified",
      coffer_inspect },
    { "cluster list", "", "", "the clusters of the installation and the state of each",
      coffer_cluster_list },
    { "cluster status", NODE, "[CLUSTER]", "one cluster: its state, keys and census",
      coffer_cluster_status },
    { "cluster rotate-key", NODE " compromised", "[CLUSTER]",
      "a new SMK; everything is re-encrypted to it in the background, then the old one destroyed",
      coffer_rotate_key },
    { "cluster rotation status", NODE, "[CLUSTER]", "how far the re-encryption is",
      coffer_rotation_status },
    { "cluster rotation pause", NODE, "[CLUSTER]", "pause the re-encryption",
      coffer_rotation_pause },
    { "cluster rotation resume", NODE, "[CLUSTER]", "go on with it", coffer_rotation_resume },
    { "cluster erase", NODE " confirm keep-key-version", "CLUSTER",
      "destroy every known copy of the cluster's keys, for ever: --confirm=CLUSTER; also of a node that is sealed or stopped",
      coffer_cluster_erase },
    { "cluster key show", NODE, "[CLUSTER]",
      "the key that wraps the SMK: versions in use and still needed, last wrap, next probe",
      coffer_key_show },
    { "cluster key check", NODE KEY, "[CLUSTER]",
      "would the key do? Every rule is looked at, nothing is changed; --key-url=... for another one",
      coffer_key_check },
    { "cluster key set", NODE KEY " compromised", "[CLUSTER]",
      "another key, vault or identity: --key-url=... --client-id=...; what is not given stays",
      coffer_key_set },
    { "cluster key switch", NODE KEY " key-mode", "[CLUSTER]",
      "--key-mode=cmk --key-url=... from the service's key to the customer's; --key-mode=smk back",
      coffer_key_switch },
    { "cluster key follow", NODE " compromised", "[CLUSTER]",
      "take the newest version of the key now; --compromised: make a new SMK as well",
      coffer_key_follow },
    { "cluster report", NODE " verify-report public-key until", "[CLUSTER]",
      "what an auditor asks about the cluster's encryption, signed; --verify-report=FILE: is it as it was signed?",
      coffer_cluster_report },
    { "cluster drill",
      NODE IDENTITY
      " rounds yes drill-pause drill-limit host tls tls-ca-file tls-cert-file user password-file",
      "CLUSTER",
      "take the customer's key away and give it back, --rounds=N times, and measure from outside; the cluster is inaccessible meanwhile",
      coffer_drill },
    { "vault", VAULT, "COMMAND ...",
      "the embedded vault's tenants, identities and access; see coffer vault help", coffer_vault },
};

char *coffer_path(const struct coffer *c, const char *program, const char *leaf)
{
    return leaf ? mem_printf("%s/%s/%s", c->home, program, leaf)
                : mem_printf("%s/%s", c->home, program);
}

int coffer_words(const char *words, int argc, char **argv)
{
    int n = 0;

    for (const char *p = words; *p; n++) {
        size_t len = strcspn(p, " ");
        if (n >= argc || strlen(argv[n]) != len || strncmp(p, argv[n], len) != 0)
            return 0;
        p += len;
        p += *p == ' ';
    }
    return n;
}

RC coffer_node(const struct coffer *c, const char **out, struct err *e)
{
    *out = settings_str(c->settings, CS_NODE);
    if (strcmp(*out, "smk") != 0 && strcmp(*out, "cmk") != 0)
        FAIL(e, ERR_CONFIG, "setting node is smk or cmk, not \"%.100s\"", *out);
    return RC_OK;
}

RC coffer_absolute(const char *path, char **out, struct err *e)
{
    *out = NULL;
    if (path[0] == '/') {
        *out = mem_strdup(path);
        return RC_OK;
    }
    char *cwd = getcwd(NULL, 0);
    if (!cwd)
        FAIL(e, ERR_CONFIG, "could not find the current directory: %s", strerror(errno));
    *out = mem_printf("%s/%s", cwd, path);
    free(cwd);
    return RC_OK;
}

RC coffer_read_text(const char *path, char **out, struct err *e)
{
    struct buf text = BUF_INIT;

    *out = NULL;
    if (file_read(path, TEXT_MAX, &text, e).failed) {
        buf_fini(&text);
        return RC_FAILED;
    }
    while (text.len && strchr(" \t\r\n", text.p[text.len - 1]))
        text.len--;
    *out = mem_strdup(buf_cstr(&text));
    buf_wipe(&text); /* it may have been a password */
    return RC_OK;
}

static RC find_places(struct coffer *c, struct err *e)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0)
        FAIL(e, ERR_CONFIG, "could not find where this program stands: %s", strerror(errno));
    self[n] = '\0';
    c->bin_dir = mem_strdup(dirname(self));
    return coffer_absolute(settings_str(c->settings, CS_HOME), &c->home, e);
}

/* What a command line consists of: flags may stand anywhere, words are the command and its operands. */
struct line {
    char **flags, **words; /* flags[0] is the program, as settings_parse_args() wants it */
    int n_flags, n_words;
};

static bool takes_value(const struct settings *s, const char *flag)
{
    if (strchr(flag, '='))
        return false;
    int row = settings_find(s, flag);
    return strcmp(flag, "config") == 0 || (row >= 0 && settings_def(s, row)->type != SET_T_BOOL);
}

static void split_line(const struct settings *s, int argc, char **argv, struct line *out)
{
    static char output[] = "--output"; /* -o, as other tools call it */

    out->flags = NEW_ARRAY(char *, (size_t)argc + 1);
    out->words = NEW_ARRAY(char *, (size_t)argc + 1);
    out->flags[out->n_flags++] = argv[0];
    for (int i = 1; i < argc; i++) {
        bool is_output = strcmp(argv[i], "-o") == 0;
        if (!is_output && argv[i][0] != '-') {
            out->words[out->n_words++] = argv[i];
            continue;
        }
        char *flag = is_output ? output : argv[i];
        out->flags[out->n_flags++] = flag;
        if (strncmp(flag, "--", 2) == 0 && takes_value(s, flag + 2) && i + 1 < argc)
            out->flags[out->n_flags++] = argv[++i];
    }
}

static void line_fini(struct line *l)
{
    mem_free(l->flags);
    mem_free(l->words);
}

/* ---- help ---- */

/* Is name one of a list with blanks between? */
static bool is_listed(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = list; (p = strstr(p, name)); p += len)
        if ((p == list || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
            return true;
    return false;
}

static bool takes_flag(const struct command *k, const char *name)
{
    return is_listed("home output config help version", name) || is_listed(k->flags, name);
}

/* Does the command's name begin with these words, or these words with it? */
static bool is_meant(const struct command *k, int n, char **words)
{
    const char *p = k->name;

    for (int i = 0; i < n && *p; i++) {
        size_t len = strcspn(p, " ");
        if (strlen(words[i]) != len || strncmp(p, words[i], len) != 0)
            return false;
        p += len;
        p += *p == ' ';
    }
    return true;
}

static const struct command *command_of(int n, char **words)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (coffer_words(commands[i].name, n, words))
            return &commands[i];
    return NULL;
}

/* What begins as some command does is told where these are. */
static RC no_command(int n, char **words, struct err *e)
{
    AUTO(buf_fini) struct buf said = BUF_INIT;
    bool begins = false;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        begins |= is_meant(&commands[i], 1, words) && strchr(commands[i].name, ' ');
    for (int i = 0; i < n && i < 3; i++) {
        if (i)
            buf_push_u8(&said, ' ');
        buf_push(&said, words[i], strlen(words[i]));
    }
    FAIL(e, ERR_CONFIG, "there is no command \"%.100s\"; see coffer %s%s", buf_cstr(&said),
         begins ? words[0] : "help", begins ? " --help" : "");
}

/* Of one command, of those that begin with the words, or of all. */
static RC print_help(const struct settings *s, int n, char **words, struct err *e)
{
    const struct command *one = command_of(n, words);
    bool some = one || n == 0;

    for (size_t i = 0; i < ARRAY_LEN(commands) && !some; i++)
        some = is_meant(&commands[i], n, words);
    if (!some)
        return no_command(n, words, e);
    printf(
        "coffer - the command line of a CofferDB installation\n\nusage: coffer COMMAND [OPERAND] [--SETTING=VALUE ...]\n\ncommands:\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (one ? &commands[i] == one : is_meant(&commands[i], n, words))
            printf("  %-23s %-11s %s\n", commands[i].name, commands[i].operands, commands[i].what);
    if (one || n == 0) {
        printf("\nsettings:\n");
        for (int i = 0; i < settings_count(s); i++)
            if (!one || takes_flag(one, settings_def(s, i)->name))
                settings_print_help_of(s, i, stdout);
        settings_print_help_end(stdout);
    } else {
        printf("\nWhat one of them takes: coffer COMMAND --help\n");
    }
    return RC_OK;
}

/* ---- running one ---- */

static RC check_flags(const struct settings *s, const struct command *k, const struct line *l,
                      struct err *e)
{
    for (int i = 1; i < l->n_flags; i++) {
        char name[64];
        if (strncmp(l->flags[i], "--", 2) != 0)
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(l->flags[i] + 2, "="), l->flags[i] + 2);
        if (settings_find(s, name) >= 0 && !takes_flag(k, name))
            FAIL(e, ERR_CONFIG, "coffer %s takes no --%s; see coffer %s --help", k->name, name,
                 k->name);
    }
    return RC_OK;
}

static RC check_operands(const char *name, const char *operands, int n, struct err *e)
{
    if (strstr(operands, "...")) /* it looks at them itself */
        return RC_OK;
    bool optional = operands[0] == '[';
    int most = operands[0] ? 1 : 0, least = optional ? 0 : most;

    if (n < least || n > most)
        FAIL(e, ERR_CONFIG, "coffer %s takes %s", name, most ? operands : "no operand");
    return RC_OK;
}

static RC run_command(struct coffer *c, const struct line *l, struct err *e)
{
    const struct command *k = command_of(l->n_words, l->words);

    if (k) {
        int n = coffer_words(k->name, l->n_words, l->words);
        TRY(check_operands(k->name, k->operands, l->n_words - n, e));
        TRY(check_flags(c->settings, k, l, e));
        TRY(find_places(c, e));
        return k->run(c, l->n_words - n, l->words + n, e);
    }
    return no_command(l->n_words, l->words, e);
}

static RC run(struct coffer *c, int argc, char **argv, struct err *e)
{
    AUTO(line_fini) struct line l = { 0 };
    bool help = false, version = false;
    int rest = 1;

    split_line(c->settings, argc, argv, &l);
    TRY(settings_parse_args(c->settings, l.n_flags, l.flags, &rest, &help, &version, e));
    if (rest < l.n_flags)
        FAIL(e, ERR_CONFIG, "there is no flag \"%s\"; see coffer help", l.flags[rest]);
    if (version) {
        printf("coffer %s\n", COFFER_VERSION);
        return RC_OK;
    }
    bool asked = l.n_words && strcmp(l.words[0], "help") == 0;
    if (help || asked || !l.n_words)
        return print_help(c->settings, l.n_words - asked, l.words + asked, e);
    return run_command(c, &l, e);
}

int main(int argc, char **argv)
{
    struct coffer c = { .settings = settings_new(defs, CS_NR) };
    struct err e = { 0 };
    char code_name[32];

    umask(077);
    rc_t rc = run(&c, argc, argv, &e);
    if (rc.failed) {
        fprintf(stderr, "coffer: %s (%s)\n", e.msg,
                err_code_name(e.code, code_name, sizeof(code_name)));
        if (e.detail[0])
            fprintf(stderr, "  %s\n", e.detail);
        if (*err_advice(e.code))
            fprintf(stderr, "  %s\n", err_advice(e.code));
    }
    settings_free(c.settings);
    mem_free(c.home);
    mem_free(c.bin_dir);
    err_reset(&e);
    return rc.failed ? 1 : 0;
}

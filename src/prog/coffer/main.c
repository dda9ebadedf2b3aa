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

static const struct {
    const char *name, *operands, *what;
    coffer_cmd_fn run;
} commands[] = {
    { "up", "",
      "start the vault, a node with a service-managed key and one with a customer-managed key",
      coffer_up },
    { "down", "", "end what `coffer up` started", coffer_down },
    { "status", "", "what runs, and the key state of each node", coffer_status },
    { "revalidate", "", "have the node ask for its key now", coffer_revalidate },
    { "backup", "DIRECTORY", "a consistent, encrypted copy of the node's data in a new directory",
      coffer_backup },
    { "restore", "DIRECTORY",
      "start the stopped node, whose data directory is empty or gone, from a backup",
      coffer_restore },
};

char *coffer_path(const struct coffer *c, const char *program, const char *leaf)
{
    return leaf ? mem_printf("%s/%s/%s", c->home, program, leaf)
                : mem_printf("%s/%s", c->home, program);
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

static void print_help(const struct settings *s)
{
    printf(
        "coffer - the command line of a CofferDB installation\n\nusage: coffer COMMAND [--SETTING=VALUE ...] [OPERAND]\n\ncommands:\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        printf("  %-11s %-10s %s\n", commands[i].name, commands[i].operands, commands[i].what);
    printf("\nsettings:\n");
    settings_print_help(s, stdout);
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

static RC run(struct coffer *c, int argc, char **argv, struct err *e)
{
    bool help = false, version = false;
    int rest = 1;
    const char *name = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;

    /* The flags may stand before or behind the command. */
    TRY(settings_parse_args(c->settings, name ? argc - 1 : argc, name ? argv + 1 : argv, &rest,
                            &help, &version, e));
    if (name)
        rest++;
    else if (rest < argc)
        name = argv[rest++];
    if (version) {
        printf("coffer %s\n", COFFER_VERSION);
        return RC_OK;
    }
    if (help || !name || strcmp(name, "help") == 0) {
        print_help(c->settings);
        return RC_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            int wanted = commands[i].operands[0] ? 1 : 0;
            if (argc - rest != wanted)
                FAIL(e, ERR_CONFIG, "coffer %s takes %s", name,
                     wanted ? commands[i].operands : "no operand");
            TRY(find_places(c, e));
            return commands[i].run(c, argc - rest, argv + rest, e);
        }
    }
    FAIL(e, ERR_CONFIG, "there is no command \"%s\"; see coffer help", name);
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

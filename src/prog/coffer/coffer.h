/* coffer.h - what the commands of the CLI share.
 *
 * Model    An installation is a directory (setting home, default "var") with one directory for each program that `coffer up`
 *          starts: vault, smk, cmk. A program's directory holds its data, its state (kept apart from the data, as its keys must
 *          be), its log, its pid file and the port it listens on. run.env beside them says how to reach everything.
 */
#ifndef COFFER_COFFER_H
#define COFFER_COFFER_H

#include "base/err.h"
#include "base/settings.h"
#include "base/slice.h"

enum coffer_setting {
#define SETTING(id, type, name, def, min, max, flags, doc) id,
#include "coffer_settings.def"
#undef SETTING
    CS_NR
};

struct coffer {
    struct settings *settings;
    char *home;    /* absolute path of the installation */
    char *bin_dir; /* where this program, and so the others, stand */
    /* `coffer restore`: the node that starts from a backup; else NULL */
    const char *restore_node, *restore_from;
};

/* One command of the CLI: argv holds its operands. */
typedef rc_t (*coffer_cmd_fn)(struct coffer *c, int argc, char **argv, struct err *e);

RC coffer_up(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_down(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_status(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_revalidate(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_backup_verify(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_backup(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_rotate_key(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_rotation_pause(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_rotation_resume(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_rotation_status(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_cluster_list(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_cluster_status(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_cluster_erase(struct coffer *c, int argc, char **argv, struct err *e);
/* coffer_is_erased(): the report in the cluster's state directory says that it is over. */
bool coffer_is_erased(const struct coffer *c, const char *cluster);
RC coffer_key_show(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_key_check(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_key_set(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_key_switch(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_key_follow(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_cluster_report(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_drill(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_vault(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_inspect(struct coffer *c, int argc, char **argv, struct err *e);
RC coffer_restore(struct coffer *c, int argc, char **argv, struct err *e);

/* coffer_path(): "HOME/program/leaf" as a new string; leaf NULL: the program's directory. */
char *coffer_path(const struct coffer *c, const char *program, const char *leaf);
/* coffer_node_args(): cofferd's path and the flags that find a node of this installation; owned strings. */
enum { COFFER_ARGS_MAX = 32 };
void coffer_node_args(const struct coffer *c, const char *program, char *out[COFFER_ARGS_MAX],
                      int *n);
/* coffer_words(): how many words a command's name has when they are the first of argv; else 0. */
int coffer_words(const char *words, int argc, char **argv);
/* coffer_node(): the node that the settings name: "smk" or "cmk". */
RC coffer_node(const struct coffer *c, const char **out, struct err *e);
/* coffer_absolute(): path, taken from the current directory when it is a relative one; as a new string. */
RC coffer_absolute(const char *path, char **out, struct err *e);
/* coffer_read_text(): a small file without the white space at its end; ERR_NOT_FOUND when it is not there. */
RC coffer_read_text(const char *path, char **out, struct err *e);

#endif

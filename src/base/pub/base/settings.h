/* settings.h - typed settings from a file, the environment's absence of surprises, and flags.
 *
 * Model    A program has one table of rows (tables/settings.def and friends): name, type, unit, default, range, whether it
 *          changes at run time, whether it is secret, and a sentence. The file ("name = value" lines, # comments), the flags
 *          ("--name value", "--name=value", "--name" for a boolean), --help and docs/settings.md all read the same rows. A later
 *          source overrides an earlier one: default, file, flag. A feature that weakens security has no row.
 * Errors   ERR_CONFIG naming the setting, the value and the range.
 * Threads  settings_set() and the getters may run in any thread; strings are never freed before settings_free().
 */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum setting_type { SET_T_BOOL, SET_T_I64, SET_T_STR, SET_T_DURATION_MS, SET_T_BYTES };
/* The rows of cofferd, as indexes: SETTING(identifier, ...) in tables/settings.def. */
enum setting_id {
#define SETTING(id, type, name, def, min, max, flags, doc) id,
#include "settings.def"
#undef SETTING
    SETTING_NR
};

enum setting_flags { SET_RUNTIME = 1, SET_SECRET = 2, SET_PATH = 4 };

struct setting_def {
    const char *name; /* "probe-interval" */
    enum setting_type type;
    const char *def;  /* as a user would write it; "" = unset */
    int64_t min, max; /* for numbers, milliseconds and bytes */
    unsigned flags;
    const char *doc;
};

struct settings;

/* settings_new(): defs stays the caller's and must outlive the result. Panics when a default does not fit its own row. */
struct settings *settings_new(const struct setting_def *defs, int n);
void settings_free(struct settings *s);
/* settings_set(): durations take "150ms", "5s", "10min", "1h" (a bare number is milliseconds); bytes take "64KB", "1MB", "2GB". */
RC settings_set(struct settings *s, const char *name, const char *value, struct err *e);
RC settings_load_file(struct settings *s, const char *path, struct err *e);
/* settings_parse_args(): consumes flags from argv; *rest is set to the index of the first operand. "--config FILE" is handled
 * where it stands. "--help" and "--version" set *wants_help / *wants_version. */
RC settings_parse_args(struct settings *s, int argc, char **argv, int *rest, bool *wants_help,
                       bool *wants_version, struct err *e);

bool settings_bool(const struct settings *s, int i);
int64_t settings_i64(const struct settings *s, int i); /* also bytes */
uint64_t settings_us(const struct settings *s, int i); /* a duration in microseconds */
/* "" when unset; valid until settings_free() */
const char *settings_str(const struct settings *s, int i);
bool settings_is_default(const struct settings *s, int i);
int settings_count(const struct settings *s);
const struct setting_def *settings_def(const struct settings *s, int i);
int settings_find(const struct settings *s, const char *name); /* -1 */
void settings_print_help(const struct settings *s, FILE *f);
void settings_print_help_of(const struct settings *s, int i, FILE *f); /* one of them */
void settings_print_help_end(FILE *f); /* what every program takes besides */
void settings_print_markdown(const struct settings *s, FILE *f);

#endif

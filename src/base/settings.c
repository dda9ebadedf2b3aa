/* settings.c - one table of rows for the file, the flags, --help and the documentation.
 *
 * A value that was replaced at run time is kept until settings_free(), so that a reader never holds a freed string.
 */
#include "base/settings.h"

#include <stdatomic.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/thread.h"

enum { FILE_MAX = 1 << 20 };

struct value {
    char *_Atomic str;
    _Atomic int64_t num;
    _Atomic bool is_set;
};

struct old_text {
    struct old_text *up;
    char *text;
};

struct settings {
    const struct setting_def *defs;
    int n;
    struct value *values;
    struct mutex lock;
    struct old_text *old; /* guarded by lock */
};

static bool parse_scaled(const char *text, const char *const *units, const int64_t *factors, int n,
                         int64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    int64_t v;
    if (!digits || !text_i64(SLICE(text, digits), &v))
        return false;
    const char *unit = text + digits;
    while (*unit == ' ')
        unit++;
    if (!*unit) {
        *out = v;
        return true;
    }
    for (int i = 0; i < n; i++) {
        if (strcasecmp(unit, units[i]) == 0)
            return i64_mul(v, factors[i], out);
    }
    return false;
}

static bool parse_duration(const char *text, int64_t *ms)
{
    static const char *const units[] = { "ms", "s", "min", "h", "d" };
    static const int64_t factors[] = { 1, 1000, 60000, 3600000, 86400000 };
    return parse_scaled(text, units, factors, ARRAY_LEN(units), ms);
}

static bool parse_bytes(const char *text, int64_t *bytes)
{
    static const char *const units[] = { "B", "KB", "MB", "GB", "TB" };
    static const int64_t factors[] = { 1, 1 << 10, 1 << 20, 1 << 30, 1ll << 40 };
    return parse_scaled(text, units, factors, ARRAY_LEN(units), bytes);
}

static bool parse_bool(const char *text, int64_t *out)
{
    static const char *const yes[] = { "true", "yes", "on", "1" };
    static const char *const no[] = { "false", "no", "off", "0" };
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *out = strcasecmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static const char *type_text(enum setting_type t)
{
    switch (t) {
    case SET_T_BOOL: return "true or false";
    case SET_T_I64: return "a whole number";
    case SET_T_STR: return "text";
    case SET_T_DURATION_MS: return "a duration such as 150ms, 5s, 10min";
    case SET_T_BYTES: return "a size such as 64KB, 1MB, 2GB";
    }
    return "";
}

static RC parse_value(const struct setting_def *d, const char *text, int64_t *num, struct err *e)
{
    bool ok = true;
    switch (d->type) {
    case SET_T_BOOL: ok = parse_bool(text, num); break;
    case SET_T_I64: ok = text_i64(slice_str(text), num); break;
    case SET_T_DURATION_MS: ok = parse_duration(text, num); break;
    case SET_T_BYTES: ok = parse_bytes(text, num); break;
    case SET_T_STR: *num = 0; return RC_OK;
    }
    const char *shown = d->flags & SET_SECRET ? "(not shown)" : text;
    if (!ok)
        FAIL(e, ERR_CONFIG, "setting \"%s\" takes %s, not \"%.100s\"", d->name, type_text(d->type),
             shown);
    if (d->type != SET_T_BOOL && (*num < d->min || *num > d->max))
        FAIL(e, ERR_CONFIG, "setting \"%s\": \"%.100s\" is outside of %lld to %lld", d->name, shown,
             (long long)d->min, (long long)d->max);
    return RC_OK;
}

static void keep_old(struct settings *s, char *text)
{
    if (!text)
        return;
    struct old_text *o = NEW(struct old_text);
    o->text = text;
    mutex_lock(&s->lock);
    o->up = s->old;
    s->old = o;
    mutex_unlock(&s->lock);
}

static RC assign(struct settings *s, int i, const char *text, bool is_set, struct err *e)
{
    int64_t num = 0;
    TRY(parse_value(&s->defs[i], text, &num, e));
    struct value *v = &s->values[i];
    atomic_store(&v->num, num);
    keep_old(s, atomic_exchange(&v->str, mem_strdup(text)));
    atomic_store(&v->is_set, is_set);
    return RC_OK;
}

struct settings *settings_new(const struct setting_def *defs, int n)
{
    struct settings *s = NEW(struct settings);
    s->defs = defs;
    s->n = n;
    s->values = NEW_ARRAY(struct value, (size_t)n);
    mutex_init(&s->lock);
    for (int i = 0; i < n; i++) {
        struct err e = { 0 };
        INVARIANT(!assign(s, i, defs[i].def, false, &e).failed);
    }
    return s;
}

void settings_free(struct settings *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n; i++)
        mem_free(atomic_load(&s->values[i].str));
    while (s->old) {
        struct old_text *o = s->old;
        s->old = o->up;
        mem_free(o->text);
        mem_free(o);
    }
    mutex_fini(&s->lock);
    mem_free(s->values);
    mem_free(s);
}

int settings_find(const struct settings *s, const char *name)
{
    for (int i = 0; i < s->n; i++) {
        if (strcmp(s->defs[i].name, name) == 0)
            return i;
    }
    return -1;
}

RC settings_set(struct settings *s, const char *name, const char *value, struct err *e)
{
    int i = settings_find(s, name);
    if (i < 0)
        FAIL(e, ERR_CONFIG, "there is no setting \"%.100s\"", name);
    return assign(s, i, value, true, e);
}

static char *trim(char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    char *end = p + strlen(p);
    while (end > p && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        *--end = '\0';
    return p;
}

static RC load_line(struct settings *s, const char *path, int number, char *line, struct err *e)
{
    line = trim(line);
    if (!*line || *line == '#')
        return RC_OK;
    char *eq = strchr(line, '=');
    if (!eq)
        FAIL(e, ERR_CONFIG, "%s line %d is not \"name = value\"", path, number);
    *eq = '\0';
    if (settings_set(s, trim(line), trim(eq + 1), e).failed) {
        err_wrap(e, "%s line %d", path, number);
        return RC_FAILED;
    }
    return RC_OK;
}

RC settings_load_file(struct settings *s, const char *path, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    TRY(file_read(path, FILE_MAX, &text, e));
    if (memchr(text.p ? (const void *)text.p : "", 0, text.len))
        FAIL(e, ERR_CONFIG, "%s holds a NUL byte", path);
    buf_cstr(&text);
    char *at = (char *)text.p;
    for (int number = 1; at; number++) {
        char *next = strchr(at, '\n');
        if (next)
            *next++ = '\0';
        TRY(load_line(s, path, number, at, e));
        at = next;
    }
    return RC_OK;
}

RC settings_parse_args(struct settings *s, int argc, char **argv, int *rest, bool *wants_help,
                       bool *wants_version, struct err *e)
{
    *wants_help = *wants_version = false;
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        char *flag = argv[i] + 2;
        if (!*flag) {
            i++;
            break;
        }
        if (strcmp(flag, "help") == 0) {
            *wants_help = true;
            continue;
        }
        if (strcmp(flag, "version") == 0) {
            *wants_version = true;
            continue;
        }
        const char *eq = strchr(flag, '=');
        AUTO(mem_freep) char *name = eq ? mem_strndup(flag, (size_t)(eq - flag)) : mem_strdup(flag);
        int row = settings_find(s, name);
        bool is_config = strcmp(name, "config") == 0 && row < 0;
        if (row < 0 && !is_config)
            FAIL(e, ERR_CONFIG, "there is no flag \"--%.100s\"; see --help", name);
        const char *value = eq ? eq + 1 : NULL;
        if (!value && !is_config && s->defs[row].type == SET_T_BOOL)
            value = "true";
        if (!value && ++i >= argc)
            FAIL(e, ERR_CONFIG, "the flag \"--%.100s\" needs a value", name);
        if (!value)
            value = argv[i];
        if (is_config)
            TRY(settings_load_file(s, value, e));
        else
            TRY(settings_set(s, name, value, e));
    }
    *rest = i;
    return RC_OK;
}

bool settings_bool(const struct settings *s, int i)
{
    INVARIANT(i >= 0 && i < s->n && s->defs[i].type == SET_T_BOOL);
    return atomic_load(&s->values[i].num) != 0;
}

int64_t settings_i64(const struct settings *s, int i)
{
    INVARIANT(i >= 0 && i < s->n && s->defs[i].type != SET_T_STR);
    return atomic_load(&s->values[i].num);
}

uint64_t settings_us(const struct settings *s, int i)
{
    INVARIANT(i >= 0 && i < s->n && s->defs[i].type == SET_T_DURATION_MS);
    return (uint64_t)atomic_load(&s->values[i].num) * 1000u;
}

const char *settings_str(const struct settings *s, int i)
{
    INVARIANT(i >= 0 && i < s->n);
    return atomic_load(&s->values[i].str);
}

bool settings_is_default(const struct settings *s, int i)
{
    INVARIANT(i >= 0 && i < s->n);
    return !atomic_load(&s->values[i].is_set);
}

int settings_count(const struct settings *s)
{
    return s->n;
}

const struct setting_def *settings_def(const struct settings *s, int i)
{
    INVARIANT(i >= 0 && i < s->n);
    return &s->defs[i];
}

void settings_print_help_of(const struct settings *s, int i, FILE *f)
{
    const struct setting_def *d = &s->defs[i];

    fprintf(f, "  --%s (%s; default %s)\n      %s\n", d->name, type_text(d->type),
            *d->def ? d->def : "unset", d->doc);
}

void settings_print_help_end(FILE *f)
{
    fprintf(
        f,
        "  --config FILE\n      read \"name = value\" lines; later flags override them\n  --help, --version\n");
}

void settings_print_help(const struct settings *s, FILE *f)
{
    for (int i = 0; i < s->n; i++)
        settings_print_help_of(s, i, f);
    settings_print_help_end(f);
}

void settings_print_markdown(const struct settings *s, FILE *f)
{
    fprintf(f, "| setting | takes | default | meaning |\n|---|---|---|---|\n");
    for (int i = 0; i < s->n; i++) {
        const struct setting_def *d = &s->defs[i];
        fprintf(f, "| `%s` | %s | %s%s%s | %s |\n", d->name, type_text(d->type),
                *d->def ? "`" : "unset", d->def, *d->def ? "`" : "", d->doc);
    }
}

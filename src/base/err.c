/* err.c - recording, wrapping and naming errors. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

static const struct {
    enum err_code code;
    const char *name;
    int http;
    const char *advice;
} table[] = {
#define ERR(id, number, name, http, advice) { id, name, http, advice },
#include "errors.def"
#undef ERR
};

enum { TABLE_NR = sizeof(table) / sizeof(table[0]) };

static int find(enum err_code code)
{
    for (int i = 0; i < TABLE_NR; i++) {
        if (table[i].code == code)
            return i;
    }
    return -1;
}

RC err_set(struct err *e, enum err_code code, const char *file, int line, const char *fmt, ...)
{
    if (!e || e->code != ERR_NONE)
        return RC_FAILED;
    INVARIANT(code != ERR_NONE);
    e->code = code;
    e->file = file;
    e->line = line;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    va_end(ap);
    return RC_FAILED;
}

RC err_take(struct err *e, struct err *why)
{
    INVARIANT(why->code != ERR_NONE);
    if (!e || e->code != ERR_NONE) {
        err_reset(why);
        return RC_FAILED;
    }
    *e = *why;
    memset(why, 0, sizeof(*why));
    return RC_FAILED;
}

void err_detail(struct err *e, const char *fmt, ...)
{
    if (!e)
        return;
    size_t have = strlen(e->detail);
    if (have && have + 2 < sizeof(e->detail)) {
        memcpy(e->detail + have, "; ", 3);
        have += 2;
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->detail + have, sizeof(e->detail) - have, fmt, ap);
    va_end(ap);
}

void err_wrap(struct err *e, const char *fmt, ...)
{
    if (!e || e->code == ERR_NONE)
        return;
    char old[ERR_MSG_MAX];
    memcpy(old, e->msg, sizeof(old));
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    va_end(ap);
    size_t have = strlen(e->msg);
    snprintf(e->msg + have, sizeof(e->msg) - have, ": %s", old);
}

void err_reset(struct err *e)
{
    if (e->info && e->info_free)
        e->info_free(e->info);
    memset(e, 0, sizeof(*e));
}

const char *err_code_name(enum err_code code, char *buf, int len)
{
    int i = find(code);
    if (i >= 0)
        return table[i].name;
    snprintf(buf, (size_t)len, "Location%d", (int)code);
    return buf;
}

int err_http_status(enum err_code code)
{
    int i = find(code);
    return i >= 0 ? table[i].http : 500;
}

const char *err_advice(enum err_code code)
{
    int i = find(code);
    return i >= 0 ? table[i].advice : "";
}

void base_panic(const char *file, int line, const char *what)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "panic at %s:%d: %s\n", file, line, what);
    if (n > 0 && write(STDERR_FILENO, text, MIN((size_t)n, sizeof(text) - 1)) < 0)
        abort();
    log_ring_dump(STDERR_FILENO);
    abort();
}

/* err.h - how a function fails.
 *
 * Model    A function that can fail returns RC, which can be neither ignored nor mixed with int. The reason travels in a
 *          struct err that the caller owns: one per request or task, zeroed before use. The first error wins: err_set()
 *          never overwrites one, so a clean-up that fails cannot hide the cause.
 * Outputs  are set to empty first and filled only on success.
 * Threads  A struct err belongs to one thread at a time.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    bool failed;
} rc_t;

#define RC __attribute__((warn_unused_result)) rc_t
#define RC_OK ((rc_t){ .failed = false })
#define RC_FAILED ((rc_t){ .failed = true })

/* The only two macros that return from the caller. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        if ((call).failed)                                                                         \
            return RC_FAILED;                                                                      \
    } while (0)
#define FAIL(e, code, ...) return err_set((e), (code), __FILE__, __LINE__, __VA_ARGS__)

#define AUTO(fn) __attribute__((cleanup(fn)))
#define TAKE(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) take_ = (p);                                                                 \
        (p) = NULL;                                                                                \
        take_;                                                                                     \
    })

/* enum err_code: the number that a driver sees. MongoDB's own codes keep MongoDB's numbers; CofferDB's own start at
 * ERR_COFFER_FIRST. A MongoDB code that has no name of its own is written ERR_LOC(40323) and shows as "Location40323". */
enum err_code {
    ERR_NONE = 0,
#define ERR(id, number, name, http, advice) id = (number),
#include "errors.def"
#undef ERR
    ERR_CODE_MAX = INT32_MAX
};
#define ERR_LOC(number) ((enum err_code)(number))
#define ERR_COFFER_FIRST 9900000

enum err_label {
    ERR_LABEL_TRANSIENT_TXN = 1u << 0,       /* TransientTransactionError */
    ERR_LABEL_UNKNOWN_COMMIT = 1u << 1,      /* UnknownTransactionCommitResult */
    ERR_LABEL_RETRYABLE_WRITE = 1u << 2,     /* RetryableWriteError */
    ERR_LABEL_NO_WRITES_PERFORMED = 1u << 3, /* NoWritesPerformed */
};

enum { ERR_MSG_MAX = 512, ERR_DETAIL_MAX = 512 };

struct err {
    enum err_code code; /* ERR_NONE: no error */
    uint32_t labels;    /* enum err_label bits, sent to the driver */
    int sys;            /* errno or engine status, 0 if none */
    /* for the client; the log carries it only through the redacting formatter */
    char msg[ERR_MSG_MAX];
    char detail[ERR_DETAIL_MAX]; /* for the log: never document values or secrets */
    /* bson_t * for the client only, never logged: keyValue, keyPattern, errInfo; NULL if none */
    void *info;
    void (*info_free)(void *info); /* how err_reset() releases info; NULL when an arena owns it */
    const char *file;              /* where it was first raised */
    int line;
};

/* err_set(): record an error, unless e already holds one. Returns RC_FAILED always; e may be NULL. The text is cut to fit. */
RC err_set(struct err *e, enum err_code code, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* err_detail(): add text for the log to the error that e holds. */
void err_detail(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* err_wrap(): put "prefix: " before the message that e holds. */
void err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* err_take(): e gets the error that why holds, whole, unless it holds one already; why is empty afterwards. For an error that had to be looked at
 * before it could be passed on. Returns RC_FAILED always; e may be NULL. */
RC err_take(struct err *e, struct err *why);
/* err_reset(): empty e for the next use; releases info. */
void err_reset(struct err *e);
static inline bool err_is(const struct err *e)
{
    return e->code != ERR_NONE;
}
/* err_code_name(): "BadValue", or "Location12345" written to buf (at least 24 bytes). The result is static or buf. */
const char *err_code_name(enum err_code code, char *buf, int len);
/* err_http_status(): the HTTP status of a code, 500 when the table has none. */
int err_http_status(enum err_code code);
/* err_advice(): one sentence on what the operator should do; "" when there is none. Static. */
const char *err_advice(enum err_code code);

/* Assertions are for our own mistakes. They stay on in release builds and are cheap. Input is never checked by one. */
#define INVARIANT(cond)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            base_panic(__FILE__, __LINE__, #cond);                                                 \
    } while (0)
/* base_panic(): print the place (and the thread's recent events, see log.h) and abort. */
void base_panic(const char *file, int line, const char *what) __attribute__((noreturn, cold));

#endif

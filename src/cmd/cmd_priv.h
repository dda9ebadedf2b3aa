/* cmd_priv.h - what the files of this module share: the table's prototypes, the argument parser, helpers. */
#ifndef CMD_PRIV_H
#define CMD_PRIV_H

#include "base/clock.h"
#include "base/mem.h"
#include "cmd/client.h"
#include "cmd/cmd.h"
#include "cmd/node.h"
#include "coll/coll.h"
#include "exec/cursors.h"
#include "exec/exec.h"
#include "identity/identity.h"
#include "query/collate.h"
#include "query/update.h"

#define COMMAND(id, name, aliases, flags, auth, help)                                              \
    RC cmd__##id(struct cmd_req *r, struct bw *w, struct err *e);
#include "commands.def"
#undef COMMAND

/* Authorization that one action does not say (cmd_privileges.c, or beside the command). */
RC cmd__coffer_auth(struct cmd_req *r, struct err *e);
RC cmd__aggregate_auth(struct cmd_req *r, struct err *e);
RC cmd__bulk_write_auth(struct cmd_req *r, struct err *e);
RC cmd__create_auth(struct cmd_req *r, struct err *e);
RC cmd__insert_auth(struct cmd_req *r, struct err *e);
RC cmd__update_auth(struct cmd_req *r, struct err *e);
RC cmd__find_and_modify_auth(struct cmd_req *r, struct err *e);
RC cmd__rename_auth(struct cmd_req *r, struct err *e);
RC cmd__explain_auth(struct cmd_req *r, struct err *e);
RC cmd__clone_capped_auth(struct cmd_req *r, struct err *e);
RC cmd__auto_compact_auth(struct cmd_req *r, struct err *e);
RC cmd__validate_metadata_auth(struct cmd_req *r, struct err *e);
RC cmd__data_size_auth(struct cmd_req *r, struct err *e);
RC cmd__validate_auth(struct cmd_req *r, struct err *e);
/* cmd_check_privileges(): ERR_UNAUTHORIZED unless the client may run r->def with r->body on r->db. */
RC cmd_check_privileges(struct cmd_req *r, struct err *e);
/* cmd_view_privileges(): whoever may read the view that the command names may read what it is made of. */
RC cmd_view_privileges(struct cmd_req *r, struct bval view_on, struct bval stages, struct err *e);
/* cmd_cursor_keep(): whose cursor it is and which command made it. cmd_cursor_privileges(): getMore is asked by the same user, who may still run that
 * command. */
void cmd_cursor_keep(struct cmd_req *r, struct cursor *c);
RC cmd_cursor_privileges(struct cmd_req *r, const struct cursor *c, struct err *e);

/* ---- Arguments (cmd_args.c): one strict parser, driven by a table (compatibility 4) ---- */

enum arg_type {
    ARG_ANY,       /* struct bval */
    ARG_STR,       /* struct slice */
    ARG_DOC,       /* struct bval of a document */
    ARG_ARRAY,     /* struct bval of an array */
    ARG_BOOL,      /* bool; only a bool is accepted */
    ARG_SAFE_BOOL, /* bool; numbers too */
    /* int64_t; any number: doubles truncate, decimals round, NaN is 0, infinities clamp */
    ARG_I64,
    ARG_TIMESTAMP, /* struct bval */
    ARG_UUID,      /* struct slice of 16 bytes */
    ARG_IGNORED,   /* accepted and not looked at */
};
enum arg_flags {
    ARG_REQUIRED = 1,
    ARG_NOT_NEGATIVE = 2 /* 2 BadValue below 0 */,
    ARG_UNSTABLE = 4 /* 323 under apiStrict */,
    ARG_POSITIVE = 8
};

struct arg {
    const char *name;
    enum arg_type type;
    unsigned flags;
    size_t at; /* offset in the caller's struct */
};
#define ARG(type_, field, name_, kind, flags_)                                                     \
    { .name = (name_), .type = (kind), .flags = (flags_), .at = offsetof(type_, field) }
#define ARG_SKIP(name_) { .name = (name_), .type = ARG_IGNORED }

/* cmd_args(): the fields of the request's body after the command's name. out holds the defaults: struct bval fields missing, slices empty. */
RC cmd_args(struct cmd_req *r, const struct arg *args, size_t n, void *out, struct err *e);
/* cmd_fields(): the same for a sub-document named what, without generic arguments. */
RC cmd_fields(struct bdoc d, const char *what, const struct arg *args, size_t n, void *out,
              struct err *e);
/* cmd_no_args(): a command without arguments of its own. */
RC cmd_no_args(struct cmd_req *r, struct err *e);
int64_t cmd_i64(struct bval v); /* compatibility 4 "Integers from numbers" */
RC cmd_wrong_type(const char *what, const char *name, struct bval v, const char *expected,
                  struct err *e);

/* ---- Generic arguments (cmd_generic.c) ---- */
bool cmd_is_generic(struct slice name);
RC cmd_parse_generic(struct cmd_req *r, struct err *e);

/* ---- Documents of `documents`, `updates`, `deletes`: from the body or from a section of the message (cmd_util.c) ---- */
struct cmd_docs {
    struct bdoc array; /* when in the body */
    const struct cmd_seq *seq;
    int n;
    struct biter it;
    int at;
};
/* cmd_docs(): 16 when there is none, or too many of them. cmd_docs_any(): as many as there are. */
RC cmd_docs(struct cmd_req *r, const char *name, struct bval body, struct cmd_docs *out,
            struct err *e);
void cmd_docs_any(struct cmd_req *r, const char *name, struct bval body, struct cmd_docs *out);
/* out may be of any type when it came in the body */
bool cmd_docs_next(struct cmd_docs *d, struct bval *out);
void cmd_docs_rewind(struct cmd_docs *d);

/* ---- Helpers (cmd_util.c) ---- */
struct bval cmd_first(const struct cmd_req *r);                /* the value of the command's name */
RC cmd_first_required(const struct cmd_req *r, struct err *e); /* null is as good as nothing */
struct cmd_ns {
    struct slice db, coll;
    char *ns; /* "db.coll", in the request's arena */
};
/* cmd_ns(): the collection that the first value names. ERR_INVALID_NAMESPACE. */
RC cmd_ns(struct cmd_req *r, struct cmd_ns *out, struct err *e);
/* cmd_ns_any(): the same, where a name that no collection can have (a leading dollar, too long) is only one that is not found. */
RC cmd_ns_any(struct cmd_req *r, struct cmd_ns *out, struct err *e);
/* cmd_is_no_name(): empty, with a leading dot, or with a NUL */
bool cmd_is_no_name(struct slice coll);
struct cmd_ns cmd_ns_join(struct cmd_req *r, struct slice db, struct slice coll); /* unchecked */
RC cmd_ns_of(struct cmd_req *r, struct bval name, struct cmd_ns *out, struct err *e);
/* "db.coll" in one string */
RC cmd_ns_full(struct cmd_req *r, struct bval full, struct cmd_ns *out, struct err *e);
RC cmd_check_writable_ns(const struct cmd_ns *ns, struct err *e);
/* a reference, or NULL */
struct catalog_coll *cmd_coll(struct cmd_req *r, const struct cmd_ns *ns);
/* cmd_coll_made(): the collection, made when there is none yet; ERR_INVALID_NAMESPACE when none may be called that. */
RC cmd_coll_made(struct cmd_req *r, const struct cmd_ns *ns, struct catalog_coll **out,
                 struct err *e);
RC cmd_not_view(const struct catalog_coll *x, struct err *e);
/* cmd_uuid_check(): collectionUUID given by the client names this collection; ERR_COLLECTION_UUID_MISMATCH. */
RC cmd_uuid_check(struct cmd_req *r, struct bval uuid, const struct cmd_ns *ns, struct err *e);
void cmd_qctx(struct cmd_req *r, struct arena *a, struct arena *scratch, struct qctx *out);
/* cmd_let(): evaluate the command's `let` into q->let. */
RC cmd_let(struct qctx *q, struct bval let, struct err *e);
/* cmd_collation(): whether it can be used; cmd_collate(): q compares by it from now on, parsing included. Absent, null and {}: by bytes. */
RC cmd_collation(struct bval v, struct err *e);
RC cmd_collate(struct qctx *q, struct bval v, struct err *e);
/* cmd_collate_on(): the same; absent, null and {}: as the collection or view x (may be NULL) does by default. */
RC cmd_collate_on(struct qctx *q, struct bval v, struct catalog_coll *x, struct err *e);
RC cmd_check(void *req, struct err *e); /* interrupted, or out of time */
/* cmd_note_use(): the command's time goes to the collection's figures; x may be NULL. */
void cmd_note_use(const struct cmd_req *r, struct catalog_coll *x, enum catalog_use use);
enum store_durability cmd_durability(const struct cmd_req *r);
char *cmd_user(struct cmd_req *r, struct arena *a); /* "db.user" of the first user, "" without */
RC cmd_hint(struct bval hint, struct err *e);       /* string or document, else 9 */

/* cmd_cursor_reply(): {cursor: {firstBatch, id, ns}}; registers c when it has more, frees it otherwise. Takes c. */
struct cmd_batch {
    int64_t batch_size; /* -1: the default */
    bool single_batch;
};
RC cmd_cursor_reply(struct cmd_req *r, struct bw *w, struct cursor *c, const struct cmd_batch *b,
                    struct err *e);
/* cmd_list_cursor(): a cursor over documents that are ready (listCollections, listIndexes). docs: an array document; copied. */
RC cmd_list_cursor(struct cmd_req *r, struct bw *w, const char *ns, struct bdoc docs,
                   int64_t batch_size, struct err *e);

/* ---- Errors (cmd_error.c) ---- */
/* ok: 0, errmsg, code, codeName, labels, info */
void cmd_write_error(const struct err *e, struct bw *w);
/* code, errmsg, info: of a write error */
void cmd_write_error_fields(const struct err *e, struct bw *w);

/* cmd_fsync.c: the gate for writers. cmd__gate(): *in, or parked, or an error; with *in, node__write_leave() afterwards. node__write_enter(): false while locked. */
RC cmd__gate(struct cmd_req *r, bool *in, struct err *e);
bool node__write_enter(struct node *n);
void node__write_leave(struct node *n);

/* cmd_profile.c. cmd_profiler_writes(): whether operations of the database are written. cmd_profiler_note(): r is over; noted if it was admitted. */
struct profiler *cmd_profiler_new(void);
void cmd_profiler_free(struct profiler *p);
bool cmd_profiler_writes(struct node *n, struct slice db);
void cmd_profiler_note(struct cmd_req *r, struct bdoc reply);

/* cmd_auto_compact.c; free: ends it and waits. */
struct auto_compact *cmd_auto_compact_new(struct node *n);
void cmd_auto_compact_free(struct auto_compact *c);

/* cmd_cluster_parameters.c: what they say takes effect. cmd_feature_version.c: "8.0" or the release's own. */
void cmd_cluster_parameters_apply(struct node *n);
const char *cmd_feature_version(struct node *n);

/* node_ttl.c: remove expired documents when a pass is due. */
void node__ttl_pass(struct node *n, uint64_t now_us);

/* ---- Sessions (sessions.c) ---- */
struct sessions *sessions_new(int64_t max, int64_t timeout_ms);
void sessions_free(struct sessions *s);
/* sessions_touch(): the request uses this session. */
RC sessions_touch(struct cmd_req *r, const uint8_t lsid[16], struct err *e);
/* sessions_each(): fn is called for each, under the lock: it does not call back. */
typedef void (*sessions_fn)(void *arg, const uint8_t lsid[16], const char *user, uint64_t idle_us);
void sessions_each(struct sessions *s, sessions_fn fn, void *arg);
/* sessions_end(): the client's own session of that id, if it has one, and its cursors. */
void sessions_end(struct cmd_req *r, const uint8_t lsid[16]);
/* sessions_reap(): forget idle ones; fn is called for each. */
void sessions_reap(struct sessions *s, uint64_t now_us,
                   void (*fn)(void *arg, const uint8_t lsid[16], const char *user), void *arg);
int64_t sessions_count(struct sessions *s);

#endif

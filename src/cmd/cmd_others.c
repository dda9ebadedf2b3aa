/* cmd_others.c - lockInfo, and what is asked about connections that a node makes to others, of which a standalone node makes none: connPoolStats, dropConnections
 * (compatibility 20).
 */
#include "cmd_ops.h"

/* Documents have no locks that anybody could wait for; the node has one, which fsync takes. */
RC cmd__lockInfo(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct cmd_ops_count ops;

    TRY(cmd_no_args(r, e));
    cmd_ops_count(r, &ops);
    bw_array_begin(w, "lockInfo");
    if (atomic_load(&r->node->n_write_locks) > 0) {
        bw_doc_begin(w, NULL);
        bw_str(w, "resourceId", "{Global}");
        bw_array_begin(w, "granted");
        bw_doc_begin(w, NULL);
        bw_str(w, "mode", "S");
        bw_str(w, "desc", "fsyncLock");
        bw_i64(w, "lockCount", atomic_load(&r->node->n_write_locks));
        bw_doc_end(w);
        bw_array_end(w);
        bw_array_begin(w, "pending");
        for (int i = 0; i < ops.waiting; i++) {
            bw_doc_begin(w, NULL);
            bw_str(w, "mode", "IX");
            bw_doc_end(w);
        }
        bw_array_end(w);
        bw_doc_end(w);
    }
    bw_array_end(w);
    return RC_OK;
}

RC cmd__connPoolStats(struct cmd_req *r, struct bw *w, struct err *e)
{
    static const char *const counts[] = { "numClientConnections", "numAScopedConnections",
                                          "totalInUse",           "totalAvailable",
                                          "totalLeased",          "totalCreated",
                                          "totalRefreshing",      "totalRefreshed" };

    (void)r;
    (void)e;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        bw_i32(w, counts[i], 0);
    bw_doc_begin(w, "pools");
    bw_doc_end(w);
    bw_doc_begin(w, "hosts");
    bw_doc_end(w);
    return RC_OK;
}

struct drop_args {
    struct bval hosts;
};

static const struct arg args[] = {
    ARG(struct drop_args, hosts, "hostAndPort", ARG_ARRAY, ARG_REQUIRED),
};

/* A name or an address, one in brackets with colons in it, and perhaps a port. */
static bool is_host(struct slice s)
{
    const uint8_t *close = s.len && s.p[0] == '[' ? memchr(s.p, ']', s.len) : NULL;
    size_t at = close ? (size_t)(close - s.p) + 1 : 0;
    uint32_t port = 0;

    if (s.len && s.p[0] == '[' && !close)
        return false;
    while (!close && at < s.len && s.p[at] != ':')
        at++;
    if (at == 0 || (close && at == 2))
        return false;
    if (at == s.len)
        return true;
    if (s.p[at] != ':')
        return false;
    for (at++; at < s.len; at++) {
        if (s.p[at] < '0' || s.p[at] > '9')
            return false;
        port = port * 10 + (uint32_t)(s.p[at] - '0');
        if (port > 65535)
            return false;
    }
    return port > 0;
}

RC cmd__dropConnections(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct drop_args a = { 0 };
    struct biter it;

    (void)w;
    TRY(cmd_args(r, args, ARRAY_LEN(args), &a, e));
    biter_init(&it, bval_doc(a.hosts));
    for (int i = 0; biter_next(&it); i++) {
        if (it.val.type != BT_STRING)
            FAIL(
                e, ERR_TYPE_MISMATCH,
                "BSON field 'dropConnections.hostAndPort.%d' is the wrong type '%s', expected type 'string'",
                i, btype_name(it.val.type));
        if (!is_host(bval_str(it.val)))
            FAIL(e, ERR_FAILED_TO_PARSE, "'%.*s' is no host and port",
                 (int)MIN(bval_str(it.val).len, 100u), bval_str(it.val).p);
    }
    return RC_OK;
}

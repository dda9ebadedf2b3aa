/* cmd_hello.c - hello, isMaster, ismaster: what the other side is, what it can do, and its first step of authentication (compatibility 2).
 *
 * Answered in every state, to everybody. A sealed node has no users, so saslSupportedMechs and speculativeAuthenticate are left out there.
 * Streaming: with topologyVersion and maxAwaitTimeMS the request is parked until the topology changes or the time is over; with exhaustAllowed it is then run again.
 */
#include "cmd_auth.h"
#include "cmd_priv.h"

#include "identity/scram.h"
#include "identity/users.h"

enum {
    MAX_WIRE_VERSION = 27,
    SESSION_MINUTES = 30,
    MAX_MESSAGE = 48000000,
    MAX_DOC = 16777216,
    MAX_BATCH = 100000
};

struct hello_args {
    struct bval client, compression, topology_version, max_await, mechs, speculative;
    bool hello_ok;
};

/* hello ignores what it does not know and takes any value for its own name, so it does not use the strict parser. */
static void read_args(struct bdoc body, struct hello_args *a)
{
    struct biter it;

    *a = (struct hello_args){ 0 };
    biter_init(&it, body);
    biter_next(&it);
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "client"))
            a->client = it.val;
        else if (slice_eq_str(it.name, "compression"))
            a->compression = it.val;
        else if (slice_eq_str(it.name, "topologyVersion"))
            a->topology_version = it.val;
        else if (slice_eq_str(it.name, "maxAwaitTimeMS"))
            a->max_await = it.val;
        else if (slice_eq_str(it.name, "saslSupportedMechs"))
            a->mechs = it.val;
        else if (slice_eq_str(it.name, "speculativeAuthenticate"))
            a->speculative = it.val;
        else if (slice_eq_str(it.name, "helloOk"))
            a->hello_ok = it.val.type == BT_BOOL && bval_bool(it.val);
    }
}

/* ---- client metadata ---- */

static RC check_metadata(struct bdoc d, struct slice *app, struct err *e)
{
    static const char *const required[] = { "driver", "os" };
    struct bval application = bdoc_get(d, "application");

    *app = SLICE_EMPTY;
    if (d.len > CLIENT_METADATA_MAX)
        FAIL(e, ERR_LOC(186), "The client metadata document must be less then or equal to %d bytes",
             CLIENT_METADATA_MAX);
    for (size_t i = 0; i < ARRAY_LEN(required); i++)
        if (bdoc_get(d, required[i]).type != BT_DOCUMENT)
            FAIL(e, ERR_LOC(186),
                 "Missing required sub-document '%s' in the client metadata document", required[i]);
    if (application.type == BT_MISSING)
        return RC_OK;
    if (application.type != BT_DOCUMENT)
        FAIL(
            e, ERR_TYPE_MISMATCH,
            "The 'application' field is required to be a BSON document in the client metadata document");
    if (bdoc_get(bval_doc(application), "name").type == BT_STRING)
        *app = bval_str(bdoc_get(bval_doc(application), "name"));
    if (app->len > CLIENT_APP_NAME_MAX)
        FAIL(
            e, ERR_LOC(186),
            "The 'application.name' field must be less then or equal to %d bytes in the client metadata document",
            CLIENT_APP_NAME_MAX);
    return RC_OK;
}

static RC take_metadata(struct cmd_client *c, struct bval client, struct err *e)
{
    struct slice app;

    if (client.type == BT_MISSING)
        return RC_OK;
    if (c->metadata.len)
        FAIL(e, ERR_CLIENT_METADATA_CANNOT_BE_MUTATED,
             "The client metadata document may only be sent in the first hello");
    if (client.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH, "The client metadata document must be a document");
    TRY(check_metadata(bval_doc(client), &app, e));
    buf_push(&c->metadata, bval_doc(client).p, bval_doc(client).len);
    if (app.len)
        memcpy(c->app_name, app.p, app.len);
    c->app_name[app.len] = 0;
    return RC_OK;
}

/* ---- waiting for a change of topology ---- */

/* The version that this process answers with. A standalone's topology does not change while it lives. */
static int64_t topology_counter(const struct node *n)
{
    (void)n;
    return 0;
}

/* *wait: the client knows this very version, so there is nothing new to tell before *until_us. */
static RC read_await(struct cmd_req *r, const struct hello_args *a, bool *wait, uint64_t *until_us,
                     struct err *e)
{
    struct bval process, counter;
    int64_t ms;

    *wait = false;
    *until_us = 0;
    if (a->topology_version.type == BT_MISSING && a->max_await.type == BT_MISSING)
        return RC_OK;
    if (a->topology_version.type == BT_MISSING)
        FAIL(e, ERR_LOC(31368), "A request with 'maxAwaitTimeMS' must include a 'topologyVersion'");
    if (a->topology_version.type != BT_DOCUMENT)
        return cmd_wrong_type(r->def->name, "topologyVersion", a->topology_version, "object", e);
    process = bdoc_get(bval_doc(a->topology_version), "processId");
    counter = bdoc_get(bval_doc(a->topology_version), "counter");
    if (process.type != BT_OBJECT_ID || counter.type != BT_INT64)
        FAIL(e, ERR_TYPE_MISMATCH,
             "'topologyVersion' needs 'processId' (objectId) and 'counter' (long)");
    if (bval_i64(counter) < 0)
        FAIL(e, ERR_LOC(31372), "topologyVersion must have a non-negative counter");
    if (a->max_await.type == BT_MISSING)
        FAIL(e, ERR_LOC(31368), "A request with a 'topologyVersion' must include 'maxAwaitTimeMS'");
    if (!bval_is_number(a->max_await) || !bval_to_i64(a->max_await, &ms))
        return cmd_wrong_type(r->def->name, "maxAwaitTimeMS", a->max_await, "long", e);
    if (ms < 0)
        FAIL(e, ERR_LOC(31373), "maxAwaitTimeMS must be a non-negative integer");
    *wait = memcmp(bval_oid(process).p, r->node->process_oid, sizeof(r->node->process_oid)) == 0 &&
            bval_i64(counter) == topology_counter(r->node) && ms > 0;
    *until_us = r->start_us + (uint64_t)MIN(ms, (int64_t)24 * 3600 * 1000) * 1000;
    return RC_OK;
}

/* ---- what it tells ---- */

static void write_compression(struct cmd_client *c, struct bval asked, struct bw *w)
{
    static const char *const names[COMPRESS_NR] = { NULL, "snappy", "zlib", "zstd" };
    bool any = false;
    struct biter it;

    if (asked.type != BT_ARRAY)
        return;
    biter_init(&it, bval_doc(asked));
    while (biter_next(&it))
        for (int i = COMPRESS_SNAPPY; i < COMPRESS_NR; i++) {
            if (it.val.type != BT_STRING || !slice_eq_str(bval_str(it.val), names[i]) ||
                (any && (c->compressors >> i & 1)))
                continue;
            if (!any) {
                bw_array_begin(w, "compression");
                c->compressors = 1 << COMPRESS_NOOP;
                any = true;
            }
            c->compressors |= (uint8_t)(1 << i);
            bw_str(w, NULL, names[i]);
        }
    if (any)
        bw_array_end(w);
}

static RC write_mechs(struct cmd_req *r, struct bval asked, struct bw *w, struct err *e)
{
    struct err why = { 0 };
    struct bdoc user;
    struct slice name;
    const uint8_t *dot;

    if (asked.type == BT_MISSING)
        return RC_OK;
    if (asked.type != BT_STRING)
        return cmd_wrong_type(r->def->name, "saslSupportedMechs", asked, "string", e);
    name = bval_str(asked);
    dot = name.len ? memchr(name.p, '.', name.len) : NULL;
    if (!dot)
        FAIL(e, ERR_BAD_VALUE, "UserName must contain a '.' separated database.user pair");
    if (!r->node->identity)
        return RC_OK;
    if (users_get(r->node->identity, SLICE(name.p, (size_t)(dot - name.p)),
                  SLICE(dot + 1, name.len - (size_t)(dot + 1 - name.p)), r->arena, &user, &why)
            .failed) {
        err_reset(&why); /* an unknown user is no error here */
        return RC_OK;
    }
    bw_array_begin(w, "saslSupportedMechs");
    if (scram_has_credentials(user))
        bw_str(w, NULL, "SCRAM-SHA-256");
    bw_array_end(w);
    return RC_OK;
}

/* The spelling that the client used decides the name of one field. */
static bool called_hello(const struct cmd_req *r)
{
    struct biter it;

    biter_init(&it, r->body);
    return biter_next(&it) && slice_eq_str(it.name, "hello");
}

static void write_limits(struct cmd_req *r, const struct hello_args *a, struct bw *w)
{
    char descriptor[NODE_DESCRIPTOR_MAX + 1];

    if (a->hello_ok)
        bw_bool(w, "helloOk", true);
    bw_bool(w, called_hello(r) ? "isWritablePrimary" : "ismaster", true);
    bw_doc_begin(w, "topologyVersion");
    bw_oid(w, "processId", r->node->process_oid);
    bw_i64(w, "counter", topology_counter(r->node));
    bw_doc_end(w);
    bw_i32(w, "maxBsonObjectSize", MAX_DOC);
    bw_i32(w, "maxMessageSizeBytes", MAX_MESSAGE);
    bw_i32(w, "maxWriteBatchSize", MAX_BATCH);
    bw_date(w, "localTime", clock_real_ms());
    bw_i32(w, "logicalSessionTimeoutMinutes", SESSION_MINUTES);
    bw_i32(w, "connectionId", r->client->id);
    bw_i32(w, "minWireVersion", 0);
    bw_i32(w, "maxWireVersion", MAX_WIRE_VERSION);
    bw_bool(w, "readOnly", false);
    node_descriptor(r->node, descriptor);
    if (descriptor[0])
        bw_str(w, "automationServiceDescriptor", descriptor);
}

RC cmd__hello(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct cmd_client *c = r->client;
    struct hello_args a;
    uint64_t until_us;
    bool wait;

    read_args(r->body, &a);
    TRY(read_await(r, &a, &wait, &until_us, e));
    if (!c->resumed && c->exhaust_round == 0)
        TRY(take_metadata(c, a.client, e));
    /* A streaming client has had this version with the first reply of the stream at the latest. */
    if (wait && !c->resumed) {
        cmd_client_park(c, PARK_TOPOLOGY, 0, until_us);
        return RC_OK;
    }
    write_limits(r, &a, w);
    write_compression(c, a.compression, w);
    TRY(write_mechs(r, a.mechs, w, e));
    if (a.speculative.type == BT_DOCUMENT && r->node->identity)
        cmd__speculative_authenticate(r, bval_doc(a.speculative), w);
    c->hello_done = true;
    c->exhaust_more = r->exhaust_allowed && a.max_await.type != BT_MISSING;
    return RC_OK;
}

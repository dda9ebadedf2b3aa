/* mongo.h - just enough of the MongoDB wire protocol for the CLI: one command, one answer.
 *
 * Used to see whether a node answers (hello), through the localhost exception to make its first user, and, logged in, to see from outside what
 * a driver sees while a key is away (drill.c).
 */
#ifndef COFFER_MONGO_H
#define COFFER_MONGO_H

#include "bsonx/bw.h"

struct net_client;

struct mongo_place {
    const char *host;
    int port;
    bool tls;
    const char *ca_file, *cert_file; /* as in net/client.h */
};

struct mongo {
    struct net_client *client; /* NULL: closed */
    int32_t request_id;
};
#define MONGO_INIT ((struct mongo){ .client = NULL })

/* mongo_open(): errors: those of net_client_open(). */
RC mongo_open(struct mongo *m, const struct mongo_place *at, uint64_t timeout_ms, struct err *e);
void mongo_close(struct mongo *m); /* AUTO(mongo_close) */
/* mongo_run(): *reply is in a. A reply with ok: 0 is an error with the server's code and message. Errors: ERR_IO, ERR_TIMEOUT,
 * ERR_PROTOCOL_ERROR. */
RC mongo_run(struct mongo *m, struct bdoc command, struct arena *a, struct bdoc *reply,
             struct err *e);
/* mongo_login(): SCRAM-SHA-256 as a user of the database admin. The server's proof that it knows the password too is verified.
 * Errors: as mongo_run(); ERR_AUTHENTICATION_FAILED. */
RC mongo_login(struct mongo *m, const char *user, const char *password, struct err *e);

#endif

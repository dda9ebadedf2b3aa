/* frontdoor.h - the node's listeners and its server, in either image; the sockets survive exec. */
#ifndef COFFERD_FRONTDOOR_H
#define COFFERD_FRONTDOOR_H

#include "cmd/client.h"
#include "cmd/node.h"
#include "process.h"

struct frontdoor;

struct frontdoor_config {
    struct process *process;
    struct node *node;                                 /* NULL: sealed */
    struct identity *identity;                         /* NULL: sealed */
    void (*describe)(void *arg, struct cmd_seal *out); /* sealed: what clients are told */
    void *describe_arg;
    void (*shutdown)(
        void *arg); /* the shutdown command was accepted; returns at once; NULL: not offered */
    void *shutdown_arg;
};

/* frontdoor_open(): listen (or take over the inherited sockets); nobody is accepted yet. A busy port is named. */
RC frontdoor_open(const struct frontdoor_config *c, struct frontdoor **out, struct err *e);
/* frontdoor_start(): accept, and write the port file. */
RC frontdoor_start(struct frontdoor *d, struct err *e);
int frontdoor_port(const struct frontdoor *d);
/* frontdoor_seal(): refuse, interrupt what runs, end every connection with the documented error; waits a second at the most. */
void frontdoor_seal(struct frontdoor *d, const struct cmd_seal *what);
/* frontdoor_fds(): the listening sockets, for a hand-off; the client socket's path is bound anew. */
void frontdoor_fds(const struct frontdoor *d, struct handoff *h);
void frontdoor_stop(struct frontdoor *d); /* NULL is fine */
void frontdoor_free(struct frontdoor *d); /* NULL is fine */

#endif

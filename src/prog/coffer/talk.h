/* talk.h - one operation of a node, over its administration socket, and its answer on standard output. */
#ifndef COFFER_TALK_H
#define COFFER_TALK_H

#include <stdint.h>

#include "bsonx/bw.h"
#include "coffer.h"

/* talk_socket(): where the node of a cluster is spoken to: the setting admin-socket, or the cluster's own under the installation. cluster NULL: the
 * one that the setting node names. ERR_NOT_FOUND when the installation has no such cluster. */
RC talk_socket(const struct coffer *c, const char *cluster, char **out, struct err *e);
/* talk(): request is {op: ..., fields}; the answer lives in a. A node that has no socket just now, since it replaces its image, is waited for a few seconds.
 * talk_once(): not waited for: for whoever asks many, or again and again. */
RC talk_once(const struct coffer *c, const char *cluster, struct bdoc request, uint64_t timeout_ms,
             struct arena *a, struct bdoc *answer, struct err *e);
RC talk(const struct coffer *c, const char *cluster, struct bdoc request, uint64_t timeout_ms,
        struct arena *a, struct bdoc *answer, struct err *e);
/* talk_put_setting(): a setting as a field of a request, under its own name, when it was given. Who answers has another working directory than we do, so paths
 * are made absolute. */
RC talk_put_setting(const struct coffer *c, int row, struct bw *w, struct err *e);
/* talk_format(): v as talk_print() prints it, added to out. */
RC talk_format(const struct coffer *c, struct bval v, struct buf *out, struct err *e);
/* talk_text(): a document or array for people (talk_text.c shows the form), added to out. */
void talk_text(struct bval v, struct buf *out);
/* talk_print(): v as the setting output says: one line of JSON, or text. The member `ok` of a document is left out. */
RC talk_print(const struct coffer *c, struct bval v, struct err *e);
/* talk_and_print(): both. */
RC talk_and_print(const struct coffer *c, const char *cluster, struct bdoc request,
                  uint64_t timeout_ms, struct err *e);

#endif

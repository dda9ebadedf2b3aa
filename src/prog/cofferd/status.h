/* status.h - what the node says of its keys: the `coffer` section of serverStatus, and the administration socket's "status". */
#ifndef COFFERD_STATUS_H
#define COFFERD_STATUS_H

#include "bsonx/bw.h"
#include "keyloop.h"
#include "process.h"

struct outside;
struct rotator;
struct store;

struct status_source {
    struct process *process;
    struct custody *custody; /* NULL while sealed */
    struct keyloop *loop;    /* rests in SMK mode: the service's key is not probed */
    struct store *store;     /* NULL while sealed */
    struct rotator *rotator; /* NULL while sealed */
    struct outside *outside; /* NULL while sealed, and when nothing is kept outside */
};

/* status_write(): {version, mode, state, since, key, envelope, generations, lastProbe, nextProbe, gracePeriod, census, engine} fields. [any thread] */
void status_write(const struct status_source *s, struct bw *w);

#endif

/* evidence.h - the sections of a report that do not come from the node itself: its log, its drills, its disk, and what they answer. */
#ifndef COFFER_EVIDENCE_H
#define COFFER_EVIDENCE_H

#include <stdint.h>

#include "bsonx/bw.h"
#include "coffer.h"

/* evidence_log(): members keyEvents, access and log, from the node's log as `coffer up` has it written. One that is not there is said, and is no error. */
RC evidence_log(const struct coffer *c, const char *cluster, struct bw *w, struct err *e);
/* evidence_drills(): member drills. */
RC evidence_drills(const struct coffer *c, const char *cluster, struct bw *w, struct err *e);
/* evidence_use(): member keyUse: who used the key at url ("" = the service's own), by the audit log of the installation's vault; or why that was not
 * read. Errors: ERR_CONFIG for a time that is none. */
RC evidence_use(const struct coffer *c, const char *url, struct bw *w, struct err *e);
/* evidence_disk(): member disk: every file of the data directory is looked at. *problems: how many are not what they should be. */
RC evidence_disk(const struct coffer *c, const char *cluster, struct bw *w, uint64_t *problems,
                 struct err *e);
/* evidence_answers(): members plaintext, questions, notShown. Only the first depends on what was found. */
void evidence_answers(uint64_t problems, struct bw *w);

#endif

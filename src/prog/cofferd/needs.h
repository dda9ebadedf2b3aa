/* needs.h - what still needs which version of the key: whoever disables or destroys one looks here first. */
#ifndef COFFERD_NEEDS_H
#define COFFERD_NEEDS_H

#include "status.h"

/* needs_write(): {needed: [{by, version, generation, ...}], olderVersionsNeeded: [version]}; [disk].
 *   by cluster             the version that wraps every live generation. While sealed: as the files say, not authenticated
 *      rotation            the version that a change under way goes to
 *      data                files under an older generation, which are being written anew: {files, bytes}
 *      archivedJournals    the same of closed journals that are kept
 *      retiredGeneration   nothing of the data directory is under it; its wrapped form waits for the backups that are
 *      backup              {dir, made, present, generations: of its own envelope, url, verified, good, verifyError}
 * What could not be looked at is an error field, and no empty list: neededError, censusError. */
void needs_write(const struct status_source *s, struct bw *w);

#endif

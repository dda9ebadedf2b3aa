/* outside_tag.h - the anchor kept outside as a tag of a key in a vault: setting external-anchor-key. See outside.h and docs/formats/anchor-outside.md.
 *
 * Who asks is the node, as it does about its own key: same identity, same authorities to trust. The key may be the one that wraps the SMK; one of its own
 * is better: the identity needs keys/read and keys/update on it, and who may update the key that wraps may disable it.
 * That it cannot be read or written is told, and stops nothing.
 */
#ifndef COFFERD_OUTSIDE_TAG_H
#define COFFERD_OUTSIDE_TAG_H

#include "keys/outside.h"
#include "process.h"

struct outside_tag;

/* outside_tag_check(): the setting is the URL of a key that can have such a tag: else ERR_CONFIG. */
RC outside_tag_check(const struct process *p, struct err *e);
/* outside_tag_read(): [net] the tag of this lineage. Errors: ERR_NOT_FOUND (there is none), ERR_CORRUPT (it is no number), those of keys/provider.h. */
RC outside_tag_read(struct process *p, const uint8_t lineage[LINEAGE_LEN], struct outside_mark *out,
                    struct err *e);
/* outside_tag_new(): for one thread. */
struct outside_tag *outside_tag_new(struct process *p);
/* outside_tag_write(): [net] */
RC outside_tag_write(struct outside_tag *t, const struct outside_mark *m, struct err *e);
void outside_tag_free(struct outside_tag *t); /* NULL is fine */

#endif

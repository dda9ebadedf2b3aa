/* cmd_shape.h - what queries have in common that differ in their values alone. */
#ifndef CMD_SHAPE_H
#define CMD_SHAPE_H

#include "cmd_priv.h"

/* cmd_query_shape(): {cmdNs, command, ...} of a find, aggregate, count or distinct, in a: constants are replaced by their types. Two commands with the same bytes have the
 * same shape, on every node and in every release. body was parsed without an error before. */
struct bdoc cmd_query_shape(struct arena *a, const char *command, const struct cmd_ns *ns,
                            struct bdoc body);
/* cmd_hash_text(): of a text of any kind, n upper-case hexadecimal digits of its SHA-256; in a. */
RC cmd_hash_text(struct arena *a, struct slice text, size_t n, const char **out, struct err *e);
/* cmd_stages_shape(): what the plan of a pipeline depends on beyond what the scan itself does: of the stages from number `skip` on, in a. */
struct slice cmd_stages_shape(struct arena *a, struct bdoc stages, int skip);

#endif

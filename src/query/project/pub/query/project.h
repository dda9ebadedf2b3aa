/* project.h - projections of find, findAndModify and $project / $addFields / $unset (compatibility 9). */
#ifndef QUERY_PROJECT_H
#define QUERY_PROJECT_H

#include "query/match.h"

enum project_kind {
    PROJECT_FIND,
    PROJECT_STAGE,
    PROJECT_ADD_FIELDS,
    PROJECT_UNSET /* spec: document of paths: 0 */
};
struct project;

/* match: the find filter, for positional `$`; NULL in an aggregation. */
RC project_parse(struct qctx *q, enum project_kind kind, struct bdoc spec,
                 const struct match *match, struct project **out, struct err *e);
/* project_apply(): *out lives in q->scratch (or is doc itself when nothing changes). hit may be NULL when the projection has no `$`. */
RC project_apply(const struct project *p, struct qctx *q, struct bdoc doc,
                 const struct match_hit *hit, struct bdoc *out, struct err *e);
/* project_deps(): the paths that the result depends on, for covered plans; *whole when it may need any field. */
void project_deps(const struct project *p, void (*fn)(struct slice path, void *arg), void *arg,
                  bool *whole);
bool project_needs_hit(const struct project *p);

#endif

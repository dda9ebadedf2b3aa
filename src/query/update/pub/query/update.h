/* update.h - update documents, replacements and (through agg) pipelines (compatibility 10). */
#ifndef QUERY_UPDATE_H
#define QUERY_UPDATE_H

#include "query/match.h"

struct update;

struct update_spec {
    struct bval u;             /* document or array (pipeline) */
    struct bval array_filters; /* array, or missing */
    struct bval constants;     /* `c`: document, only with a pipeline, or missing */
    bool multi, upsert;
    /* Set by the caller for pipelines: runs the parsed pipeline over one document (agg links match, not the other way round). */
    RC (*pipeline_parse)(struct qctx *q, struct bdoc array, struct bval constants, void **out,
                         struct err *e);
    RC (*pipeline_apply)(void *pipeline, struct qctx *q, struct bdoc doc, struct bdoc *out,
                         struct err *e);
};
RC update_parse(struct qctx *q, const struct update_spec *spec, struct update **out, struct err *e);
bool update_is_replacement(const struct update *u);
/* update_apply(): *out lives in q->scratch; *changed is false when no byte differs (a replacement always counts as a change). Never changes _id (ERR_IMMUTABLE_FIELD). */
RC update_apply(const struct update *u, struct qctx *q, struct bdoc doc,
                const struct match_hit *hit, struct bdoc *out, bool *changed, struct err *e);
/* update_upsert(): the document to insert: the filter's equalities, then the update with $setOnInsert; _id first (made when absent). */
RC update_upsert(const struct update *u, struct qctx *q, const struct match *m, struct bdoc *out,
                 struct err *e);

#endif

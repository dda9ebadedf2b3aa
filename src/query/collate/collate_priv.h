/* collate_priv.h - between the document of a collation and ICU. */
#ifndef QUERY_COLLATE_PRIV_H
#define QUERY_COLLATE_PRIV_H

#include <unicode/ucol.h>

#include "query/collate.h"

/* collate__open(): the collator of a completed document. */
RC collate__open(struct bdoc complete, UCollator **out, struct err *e);

#endif

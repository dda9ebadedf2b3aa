/* fuzz_docs.h - the input of a target as documents: BSON one behind the other, or Extended JSON on a line each. */
#ifndef FUZZ_DOCS_H
#define FUZZ_DOCS_H

#include <string.h>

#include "base/arena.h"
#include "bsonx/bval.h"

/* fuzz_docs(): up to max documents, none nested deeper than 100 levels; how many there are. */
static inline int fuzz_docs(struct arena *a, const uint8_t *data, size_t size, struct bdoc *d,
                            int max)
{
    bool text = size > 0 && (data[0] == '{' || data[0] == '[') && memchr(data, '\n', size);
    const uint8_t *end = data + size;
    int n = 0;

    for (; n < max && data < end; n++) {
        const uint8_t *stop = text ? memchr(data, '\n', (size_t)(end - data)) : NULL;
        struct err e = { 0 };

        if (text) {
            if (!stop)
                stop = end;
            const char *line = arena_strndup(a, (const char *)data, (size_t)(stop - data));

            if (bdoc_from_json(a, line, &d[n], &e).failed ||
                bdoc_validate(d[n].p, d[n].len, 100, &d[n], &e).failed)
                break;
            data = stop < end ? stop + 1 : end;
        } else {
            if (bdoc_validate(data, (size_t)(end - data), 100, &d[n], &e).failed)
                break;
            data += d[n].len;
        }
    }
    return n;
}

#endif

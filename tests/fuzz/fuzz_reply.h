/* fuzz_reply.h - what the targets of key services' answers share. The first byte of an input picks the reader, the second the status; the rest is the body. */
#ifndef FUZZ_REPLY_H
#define FUZZ_REPLY_H

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "kmsg/kmsg_reply.h"

static inline void check(bool holds)
{
    if (!holds)
        abort();
}

/* fuzz_reply(): false: the input is too short to be one. */
static inline bool fuzz_reply(const uint8_t *data, size_t len, const int *statuses, size_t n,
                              struct kmsg_reply *out)
{
    if (len < 2)
        return false;
    *out = (struct kmsg_reply){ .status = statuses[data[1] % n],
                                .is_json = true,
                                .body = SLICE(data + 2, len - 2) };
    return true;
}

typedef enum kmsg_class (*classify_fn)(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);

/* check_class(): only a 200 is a success, and the cause ends. */
static inline void check_class(classify_fn classify, const struct kmsg_reply *r)
{
    char cause[KMSG_CAUSE_MAX];

    check((classify(r, cause) == KMSG_OK) == (r->status == 200) &&
          memchr(cause, 0, sizeof cause) != NULL);
}

#endif

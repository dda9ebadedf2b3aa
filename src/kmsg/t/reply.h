/* reply.h - answers of key services, and the classes that they are to have. */
#ifndef KMSG_T_REPLY_H
#define KMSG_T_REPLY_H

#include <string.h>

#include "kmsg/kmsg_reply.h"
#include "unit.h"

static inline struct kmsg_reply reply(int status, const char *body)
{
    return (struct kmsg_reply){ .status = status, .is_json = true, .body = slice_str(body) };
}

struct class_case {
    int status;
    const char *body;
    enum kmsg_class class;
    const char *cause; /* a part of it; NULL: any */
};
typedef enum kmsg_class (*classify_fn)(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);

static inline void check_classes(classify_fn classify, const struct class_case *cases, size_t n)
{
    char cause[KMSG_CAUSE_MAX];

    for (size_t i = 0; i < n; i++) {
        struct kmsg_reply r = reply(cases[i].status, cases[i].body);
        enum kmsg_class class = classify(&r, cause);
        if (class != cases[i].class || (cases[i].cause && !strstr(cause, cases[i].cause)))
            fail_msg("%d %s: class %d, \"%s\"", cases[i].status, cases[i].body, class, cause);
        /* what does not say that it is JSON is a proxy's: neither a success nor a denial */
        r.is_json = false;
        class = classify(&r, cause);
        if (class != KMSG_BAD && class != KMSG_THROTTLED && class != KMSG_UNREACHABLE)
            fail_msg("%d %s without its type: class %d", cases[i].status, cases[i].body, class);
    }
}

#endif

/* alias.c - see alias.h. */
#include "alias.h"

#include <string.h>

#include "base/mem.h"

struct alias {
    struct key_provider table;
    struct key_provider *inner;
    char from[65], to[65];
};

static const char *translate(const struct alias *a, const char *version)
{
    return version && strcmp(version, a->from) == 0 ? a->to : version;
}

static RC alias_get_key(struct key_provider *p, const char *version, uint64_t deadline_us,
                        struct key_info *out, struct err *e)
{
    struct alias *a = CONTAINER_OF(p, struct alias, table);

    TRY(a->inner->get_key(a->inner, translate(a, version), deadline_us, out, e));
    if (version && strcmp(version, a->from) == 0 && strcmp(out->version, a->to) == 0)
        memcpy(out->version, a->from, sizeof(out->version));
    return RC_OK;
}

static RC alias_wrap(struct key_provider *p, const char *version, const struct secret *plain,
                     uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    struct alias *a = CONTAINER_OF(p, struct alias, table);

    return a->inner->wrap(a->inner, version, plain, deadline_us, out, e);
}

static RC alias_unwrap(struct key_provider *p, const struct wrapped_key *w, bool fresh,
                       uint64_t deadline_us, struct secret **out, struct err *e)
{
    struct alias *a = CONTAINER_OF(p, struct alias, table);
    struct wrapped_key copy = *w;

    if (strcmp(w->version, a->from) == 0)
        memcpy(copy.version, a->to, sizeof(copy.version));
    return a->inner->unwrap(a->inner, &copy, fresh, deadline_us, out, e);
}

static RC alias_set_enabled(struct key_provider *p, const char *version, bool enabled,
                            uint64_t deadline_us, struct err *e)
{
    struct alias *a = CONTAINER_OF(p, struct alias, table);

    return a->inner->set_enabled(a->inner, translate(a, version), enabled, deadline_us, e);
}

static void alias_free(struct key_provider *p)
{
    struct alias *a = CONTAINER_OF(p, struct alias, table);

    a->inner->free(a->inner);
    mem_free(a);
}

struct key_provider *alias_provider_new(struct key_provider *inner, const char *from,
                                        const char *to)
{
    struct alias *a = NEW(struct alias);

    INVARIANT(strlen(from) < sizeof(a->from) && strlen(to) < sizeof(a->to));
    a->table = (struct key_provider){ .name = inner->name,
                                      .get_key = alias_get_key,
                                      .wrap = alias_wrap,
                                      .unwrap = alias_unwrap,
                                      .set_enabled = inner->set_enabled ? alias_set_enabled : NULL,
                                      .free = alias_free };
    a->inner = inner;
    memcpy(a->from, from, strlen(from));
    memcpy(a->to, to, strlen(to));
    return &a->table;
}

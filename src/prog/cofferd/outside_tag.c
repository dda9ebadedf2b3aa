/* outside_tag.c - see outside_tag.h. */
#include "outside_tag.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "provider.h"

/* A stop waits for the last try. */
enum { CALL_US = 2000000, NAME_LINEAGE = 8, NAME_LEN = 64 };

struct outside_tag {
    struct process *process;
    /* NULL: made anew by the next call, as the node's key is configured then */
    struct key_provider *provider;
};

/* One key can hold the anchors of several clusters. */
static void tag_name(const uint8_t lineage[LINEAGE_LEN], char out[NAME_LEN])
{
    AUTO(buf_fini) struct buf hex = BUF_INIT;

    hex_encode(SLICE(lineage, NAME_LINEAGE), &hex);
    (void)snprintf(out, NAME_LEN, "coffer-anchor-%s", buf_cstr(&hex));
}

static RC open_provider(struct process *p, struct key_provider **out, struct err *e)
{
    AUTO(keyconf_fini) struct keyconf conf = KEYCONF_INIT;
    AUTO(provider_freep) struct key_provider *made = NULL;

    *out = NULL;
    process_conf(p, &conf);
    if (conf.mode != KEY_MODE_CMK)
        FAIL(
            e, ERR_ILLEGAL_OPERATION,
            "an anchor is kept as a tag of a key in cmk mode only: else the node has no identity in a vault");
    keyconf_set(&conf, KEYCONF_KEY_URL, settings_str(p->set, SET_EXTERNAL_ANCHOR_KEY));
    conf.alias_from[0] = conf.alias_to[0] = '\0';
    TRY(provider_for_probe(p, &conf, &made, e));
    if (!made->get_tag)
        FAIL(e, ERR_CONFIG,
             "setting \"external-anchor-key\": %s has no tags of keys that a node could write",
             made->name);
    *out = TAKE(made);
    return RC_OK;
}

/* In smk mode there is nothing to check it with, and nothing that would be asked. */
RC outside_tag_check(const struct process *p, struct err *e)
{
    const char *url = settings_str(p->set, SET_EXTERNAL_ANCHOR_KEY);

    if (strncmp(url, "https://", 8) != 0 || strchr(url, ','))
        FAIL(
            e, ERR_CONFIG,
            "setting \"external-anchor-key\" needs the URL of one key, https://VAULT/keys/NAME, not \"%.100s\"",
            url);
    return RC_OK;
}

RC outside_tag_read(struct process *p, const uint8_t lineage[LINEAGE_LEN], struct outside_mark *out,
                    struct err *e)
{
    AUTO(provider_freep) struct key_provider *provider = NULL;
    char name[NAME_LEN], value[KEY_TAG_MAX];

    memset(out, 0, sizeof(*out));
    tag_name(lineage, name);
    TRY(open_provider(p, &provider, e));
    TRY(provider->get_tag(provider, name, clock_mono_us() + settings_us(p->set, SET_PROBE_TIMEOUT),
                          value, e));
    if (!*value)
        FAIL(e, ERR_NOT_FOUND, "the key has no tag %s", name);
    if (!text_u64(slice_str(value), &out->counter) || out->counter == 0)
        FAIL(e, ERR_CORRUPT, "the tag %s of the key is no counter", name);
    memcpy(out->lineage, lineage, LINEAGE_LEN);
    return RC_OK;
}

struct outside_tag *outside_tag_new(struct process *p)
{
    struct outside_tag *t = NEW(struct outside_tag);

    t->process = p;
    return t;
}

RC outside_tag_write(struct outside_tag *t, const struct outside_mark *m, struct err *e)
{
    char name[NAME_LEN], value[24];

    tag_name(m->lineage, name);
    (void)snprintf(value, sizeof(value), "%" PRIu64, m->counter);
    if (!t->provider)
        TRY(open_provider(t->process, &t->provider, e));
    if (!t->provider->set_tag(t->provider, name, value, clock_mono_us() + CALL_US, e).failed)
        return RC_OK;
    provider_freep(&t->provider); /* the way to it may have been changed meanwhile */
    return RC_FAILED;
}

void outside_tag_free(struct outside_tag *t)
{
    if (!t)
        return;
    provider_freep(&t->provider);
    mem_free(t);
}

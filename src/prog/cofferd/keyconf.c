/* keyconf.c - see keyconf.h.
 *
 * The file is read by people too:
 *   {"format": 1, "key-mode": "cmk", "key-url": "https://...", ..., "alias": {"from": V, "to": V}, "next": {"version": V, "publicKey": HEX}}
 * It holds no secret: paths, names and addresses.
 */
#include "keyconf.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

enum { KEYCONF_FORMAT = 1, KEYCONF_MAX = 64 << 10 };

static const int fields[KEYCONF_NR] = {
#define KEYCONF_ROW(set, field) [KEYCONF_##set] = SET_##set,
    KMS_CONFIG(KEYCONF_ROW)
#undef KEYCONF_ROW
};

/* The settings' names, from their own table. */
static const char *const setting_names[SETTING_NR] = {
#define SETTING(id, type, name, def, min, max, flags, doc) [id] = (name),
#include "settings.def"
#undef SETTING
};

int keyconf_setting(enum keyconf_field f)
{
    return fields[f];
}

const char *keyconf_name(enum keyconf_field f)
{
    return setting_names[fields[f]];
}

void keyconf_fini(struct keyconf *c)
{
    for (int f = 0; f < KEYCONF_NR; f++)
        mem_freep(&c->value[f]);
}

void keyconf_copy(const struct keyconf *from, struct keyconf *to)
{
    *to = *from;
    for (int f = 0; f < KEYCONF_NR; f++)
        to->value[f] = mem_strdup(from->value[f] ? from->value[f] : "");
}

void keyconf_set(struct keyconf *c, enum keyconf_field f, const char *value)
{
    char *copy = mem_strdup(value); /* it may be the one that is replaced */

    mem_free(c->value[f]);
    c->value[f] = copy;
}

bool keyconf_same_key(const struct keyconf *a, const struct keyconf *b)
{
    return a->mode == b->mode &&
           (a->mode == KEY_MODE_SMK ||
            (strcmp(a->value[KEYCONF_KEY_URL], b->value[KEYCONF_KEY_URL]) == 0 &&
             strcmp(a->value[KEYCONF_KEY_CONTEXT], b->value[KEYCONF_KEY_CONTEXT]) == 0));
}

RC keyconf_check(const struct keyconf *c, struct err *e)
{
    if (c->mode == KEY_MODE_CMK && !*c->value[KEYCONF_KEY_URL])
        FAIL(e, ERR_CONFIG,
             "setting \"key-url\" is needed in cmk mode: the versionless URL of the key");
    return RC_OK;
}

static bool parse_mode(const char *text, enum key_mode *out)
{
    *out = strcmp(text, "cmk") == 0 ? KEY_MODE_CMK : KEY_MODE_SMK;
    return *out == KEY_MODE_CMK || strcmp(text, "smk") == 0;
}

RC keyconf_of_settings(const struct settings *s, struct keyconf *out, struct err *e)
{
    const char *mode = settings_str(s, SET_KEY_MODE);

    *out = KEYCONF_INIT;
    if (!parse_mode(mode, &out->mode))
        FAIL(e, ERR_CONFIG, "setting \"key-mode\" takes smk or cmk, not \"%.100s\"", mode);
    for (int f = 0; f < KEYCONF_NR; f++)
        out->value[f] = mem_strdup(settings_str(s, fields[f]));
    return keyconf_check(out, e);
}

/* ---- the file ---- */

static bool take_text(struct bdoc d, const char *name, char *out, size_t room)
{
    struct bval v = bdoc_get(d, name);
    struct slice s = v.type == BT_STRING ? bval_str(v) : SLICE_EMPTY;

    if (v.type != BT_STRING || s.len >= room || memchr(s.p, 0, s.len))
        return false;
    memcpy(out, s.p, s.len);
    out[s.len] = '\0';
    return true;
}

static bool parse_fields(struct bdoc d, struct keyconf *c)
{
    char text[4096];

    for (int f = 0; f < KEYCONF_NR; f++) {
        const char *name = keyconf_name((enum keyconf_field)f);
        /* a field that a later release added has its default */
        text[0] = '\0';
        if (!bval_is_missing(bdoc_get(d, name)) && !take_text(d, name, text, sizeof(text)))
            return false;
        c->value[f] = mem_strdup(text);
    }
    return true;
}

static bool parse_alias(struct bdoc d, struct keyconf *c)
{
    struct bval v = bdoc_get(d, "alias");

    if (bval_is_missing(v))
        return true;
    return v.type == BT_DOCUMENT &&
           take_text(bval_doc(v), "from", c->alias_from, sizeof(c->alias_from)) &&
           take_text(bval_doc(v), "to", c->alias_to, sizeof(c->alias_to)) && *c->alias_from &&
           *c->alias_to;
}

static bool parse_next(struct bdoc d, struct keyconf *c)
{
    AUTO(buf_fini) struct buf sha = BUF_INIT;
    struct bval v = bdoc_get(d, "next");
    char hex[80];

    if (bval_is_missing(v))
        return true;
    if (v.type != BT_DOCUMENT ||
        !take_text(bval_doc(v), "version", c->next_version, sizeof(c->next_version)) ||
        !*c->next_version || !take_text(bval_doc(v), "publicKey", hex, sizeof(hex)) ||
        !hex_decode(slice_str(hex), &sha) || sha.len != sizeof(c->next_sha256))
        return false;
    memcpy(c->next_sha256, sha.p, sha.len);
    return true;
}

static bool parse(struct bdoc d, struct keyconf *c)
{
    int64_t format;
    char mode[8];

    return bval_to_i64(bdoc_get(d, "format"), &format) && format == KEYCONF_FORMAT &&
           take_text(d, "key-mode", mode, sizeof(mode)) && parse_mode(mode, &c->mode) &&
           parse_fields(d, c) && parse_alias(d, c) && parse_next(d, c);
}

RC keyconf_parse(struct slice content, struct keyconf *out, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    const char *text = arena_strndup(a, (const char *)content.p, content.len);
    struct keyconf c = KEYCONF_INIT;
    struct err why = { 0 };
    struct bdoc d;

    *out = KEYCONF_INIT;
    if (strlen(text) != content.len || bdoc_from_json(a, text, &d, &why).failed || !parse(d, &c) ||
        keyconf_check(&c, &why).failed) {
        err_reset(&why);
        keyconf_fini(&c);
        FAIL(e, ERR_CORRUPT, "it is no key configuration of a format that is known here");
    }
    *out = c;
    return RC_OK;
}

RC keyconf_read(const char *path, struct keyconf *out, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    *out = KEYCONF_INIT;
    TRY(file_read(path, KEYCONF_MAX, &text, e));
    if (keyconf_parse(buf_view(&text), out, e).failed) {
        err_wrap(e, "%s", path);
        return RC_FAILED;
    }
    return RC_OK;
}

void keyconf_show(const struct keyconf *c, struct bw *w)
{
    bw_str(w, "key-mode", key_mode_name(c->mode));
    for (int f = 0; f < KEYCONF_NR; f++)
        if (c->mode == KEY_MODE_CMK && *c->value[f])
            bw_str(w, keyconf_name((enum keyconf_field)f), c->value[f]);
}

void keyconf_print(const struct keyconf *c, struct buf *out)
{
    AUTO(buf_fini) struct buf doc = BUF_INIT, hex = BUF_INIT;
    struct bw w;

    bw_init(&w, &doc);
    bw_i32(&w, "format", KEYCONF_FORMAT);
    bw_str(&w, "key-mode", key_mode_name(c->mode));
    for (int f = 0; f < KEYCONF_NR; f++)
        bw_str(&w, keyconf_name((enum keyconf_field)f), c->value[f]);
    if (*c->alias_from) {
        bw_doc_begin(&w, "alias");
        bw_str(&w, "from", c->alias_from);
        bw_str(&w, "to", c->alias_to);
        bw_doc_end(&w);
    }
    if (*c->next_version) {
        hex_encode(SLICE(c->next_sha256, sizeof(c->next_sha256)), &hex);
        bw_doc_begin(&w, "next");
        bw_str(&w, "version", c->next_version);
        bw_str(&w, "publicKey", buf_cstr(&hex));
        bw_doc_end(&w);
    }
    bval_to_json(bval_of_doc(bw_finish(&w), BT_DOCUMENT), out);
    buf_push_u8(out, '\n');
}

RC keyconf_write(const char *path, const struct keyconf *c, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    keyconf_print(c, &text);
    return file_write_atomic(path, 0600, buf_view(&text), e);
}

bool keyconf_is_in_force(const struct keyconf *next, const struct custody_root *r)
{
    return next->mode == r->mode && strcmp(next->next_version, r->version) == 0 &&
           memcmp(next->next_sha256, r->key_sha256, sizeof(r->key_sha256)) == 0;
}

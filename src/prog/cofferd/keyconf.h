/* keyconf.h - which key wraps this cluster's SMK, and the way to it.
 *
 * Model    At first it is what the settings say. A change made online is written to the file key-config in the state directory, which from then on
 *          counts instead of the settings (decision 0014). The state directory is where the pin is: who can write it is trusted already.
 * Changing A change to another key is two writes that no system makes one: of the envelope, and of this file. So the intended configuration is written
 *          to key-config.next first, with what the envelope will say once it is in force; keyconf_load() compares and finds out which one it is.
 * Threads  A struct keyconf is a value; struct process holds the one in force (process_conf()).
 */
#ifndef COFFERD_KEYCONF_H
#define COFFERD_KEYCONF_H

#include <stdbool.h>

#include "base/settings.h"
#include "bsonx/bw.h"
#include "keys/custody.h"
#include "kms/kms.h"

/* What a provider is made from is kms.h's list: one value for each. */
enum keyconf_field {
#define KEYCONF_ID(setting, field) KEYCONF_##setting,
    KMS_CONFIG(KEYCONF_ID)
#undef KEYCONF_ID
        KEYCONF_NR
};

struct keyconf {
    enum key_mode mode;
    char *value[KEYCONF_NR]; /* owned; "" = unset */
    /* The vault holds the key that wrapped the SMK under another version than the envelope names; both "" when it does not. */
    char alias_from[65], alias_to[65];
    /* Of key-config.next: what the envelope says when the change is in force. */
    char next_version[65];
    uint8_t next_sha256[32];
};

#define KEYCONF_INIT ((struct keyconf){ .mode = KEY_MODE_SMK })
void keyconf_fini(struct keyconf *c); /* an empty one is fine */
void keyconf_copy(const struct keyconf *from, struct keyconf *to);
void keyconf_set(struct keyconf *c, enum keyconf_field f, const char *value);
/* keyconf_name(): the setting's: "key-url". */
const char *keyconf_name(enum keyconf_field f);
/* keyconf_setting(): its row. */
int keyconf_setting(enum keyconf_field f);
bool keyconf_same_key(const struct keyconf *a, const struct keyconf *b); /* mode, URL, context */
/* keyconf_check(): the mode has what it needs: ERR_CONFIG. */
RC keyconf_check(const struct keyconf *c, struct err *e);
RC keyconf_of_settings(const struct settings *s, struct keyconf *out, struct err *e);

/* The file: one JSON document. keyconf_read(): ERR_NOT_FOUND, ERR_CORRUPT. */
RC keyconf_read(const char *path, struct keyconf *out, struct err *e);
RC keyconf_write(const char *path, const struct keyconf *c, struct err *e);
/* keyconf_parse(): what keyconf_read() makes of a file's content. keyconf_print(): what keyconf_write() puts there. */
RC keyconf_parse(struct slice content, struct keyconf *out, struct err *e);
void keyconf_print(const struct keyconf *c, struct buf *out);
/* keyconf_is_in_force(): does the envelope say what next's change would have made of it? */
bool keyconf_is_in_force(const struct keyconf *next, const struct custody_root *r);
/* keyconf_show(): mode and what is set, without what has to be kept to oneself (the path of the secret's file is no secret). */
void keyconf_show(const struct keyconf *c, struct bw *w);

#endif

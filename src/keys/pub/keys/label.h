/* label.h - every use of a derived key has a number here, once. Never renumber: the numbers are in stored files' keys.
 * info = "cofferdb/1" || label as big-endian u16 || context (encryption-at-rest: for files, bytes 0 to 95 of the header). */
#ifndef KEYS_LABEL_H
#define KEYS_LABEL_H

enum key_label {
    LABEL_BLOCK_FILE = 1,   /* AES-256-GCM key of a block file */
    LABEL_STREAM_FILE = 2,  /* AES-256-GCM key of a stream file */
    LABEL_STREAM_NONCE = 3, /* HMAC key of synthetic stream nonces */
    LABEL_HEADER_MAC = 4,   /* HMAC key over a file's header */
    LABEL_KEY_CHECK = 5,    /* tells "wrong key" from damage */
    LABEL_ENVELOPE_MAC = 6, /* HMAC key over the whole envelope */
    LABEL_COMMITMENT = 7,   /* commitment beside each wrapped SMK */
    LABEL_ANCHOR = 8,       /* anchor file */
    LABEL_BACKUP = 9,
    LABEL_DIAGNOSTICS = 10,
    LABEL_SPILL = 11,       /* under the process's random spill key, never an SMK */
    LABEL_CANARY = 12,      /* check value of the probe canary, derived from the canary itself */
    LABEL_PIN = 13,         /* reserved */
    LABEL_VAULT_KEY = 14,   /* a private key at rest in the embedded vault */
    LABEL_VAULT_STATE = 15, /* the embedded vault's state file */
    /* under the service root key, never an SMK: wrapping keys, and the root id */
    LABEL_SERVICE_ROOT = 16,
    LABEL_VAULT_AUDIT = 20,  /* a segment of the embedded vault's audit log */
    LABEL_VAULT_BACKUP = 21, /* a key's backup that the embedded vault gave out */
    LABEL_VAULT_ROOT = 22,   /* HMAC key over the embedded vault's wrapped root key */
};

#endif

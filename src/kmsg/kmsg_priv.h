/* kmsg_priv.h - what the dialects of key services share. */
#ifndef KMSG_PRIV_H
#define KMSG_PRIV_H

#include <jansson.h>

#include "base/err.h"
#include "kmsg/kmsg_reply.h"

enum { KMSG_ANSWER_DEPTH = 8 };

/* A row of a service's table of errors. The words are the service's own, in whatever case; a row without words is for the rest. */
struct kmsg__error {
    const char *code, *words;
    enum kmsg_class class;
    const char *cause; /* NULL: the service's own words */
};
/* kmsg__find_error(): the first row for the code and what the service said besides it; NULL: none. Both texts may be NULL. */
const struct kmsg__error *kmsg__find_error(const struct kmsg__error *rows, size_t n,
                                           const char *code, const char *said);
/* kmsg__class_of_status(): of an answer whose words are in no table. */
enum kmsg_class kmsg__class_of_status(int status);

#define KMSG__DIGITS "0123456789"
#define KMSG__LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
/* kmsg__hex_digit(): its value; -1: it is none. */
int kmsg__hex_digit(char c);
/* kmsg__copy_part(): a part of a URL, of 1 to room - 1 characters, all of them allowed. */
bool kmsg__copy_part(const char *s, size_t len, const char *allowed, char *out, size_t room);
/* kmsg__copy_host(): likewise host and port, in small letters. */
bool kmsg__copy_host(const char *s, size_t len, char *out, size_t room);
/* kmsg__bad_url(): ERR_CONFIG: the URL "is not the URL of " what. */
RC kmsg__bad_url(struct err *e, const char *url, const char *what);

/* kmsg__bad(): ERR_KEY_BAD_ANSWER: "the vault's answer " and what is wrong with it. */
RC kmsg__bad(struct err *e, const char *what);
/* kmsg__read_plaintext(): base64, NULL or of exactly len bytes that are not all zero, else ERR_KEY_BAD_ANSWER. */
RC kmsg__read_plaintext(const char *text, uint32_t len, struct buf *out, struct err *e);
/* kmsg__read_duration(): "600s", "10min", "1h", or a bare number of seconds. */
bool kmsg__read_duration(const char *text, int64_t *ms);
/* kmsg__read_time(): "2026-11-24T17:30:00Z", with a fraction or without; NULL is none. */
bool kmsg__read_time(const char *text, int64_t *unix_s);
/* kmsg__load(): the body of an answer of class KMSG_OK. Errors: ERR_KEY_BAD_ANSWER. */
RC kmsg__load(const struct kmsg_reply *r, json_t **out, struct err *e);

#endif

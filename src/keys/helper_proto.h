/* helper_proto.h - what parent and helper say to each other. Private.
 *
 *      frame    length(4) of what follows, at most HELPER_FRAME_MAX - 4; type(1); fields
 *
 *      parent                                            helper
 *      HELLO    config                                   WELCOME  locked(1)
 *      GET_KEY  version?, deadline(8)                    OK       key_info
 *      WRAP     version?, deadline(8), plain             OK       wrapped_key
 *      UNWRAP   wrapped_key, fresh(1), deadline(8)       OK       plain
 *                                                        ERROR    code(4), message, detail      to any of them
 *
 *      version? a flag and, when it is 1, a length byte and the text;  plain, message, detail  a 16-bit length and the bytes;
 *      deadlines are CLOCK_MONOTONIC, which all processes of a machine share.
 */
#ifndef KEYS_HELPER_PROTO_H
#define KEYS_HELPER_PROTO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "frame.h"
#include "keys/helper.h"
#include "keys/provider.h"

enum helper_type {
    HELPER_HELLO = 1,
    HELPER_GET_KEY = 2,
    HELPER_WRAP = 3,
    HELPER_UNWRAP = 4,
    HELPER_WELCOME = 16,
    HELPER_OK = 17,
    HELPER_ERROR = 18,
};

/* A frame under construction or as received; its bytes are in the key arena. */
struct helper_frame {
    struct secret *room; /* owned; HELPER_FRAME_MAX */
    size_t len;          /* of type and fields */
};
RC helper_frame_init(struct helper_frame *f, struct err *e);
void helper_frame_fini(struct helper_frame *f);
struct out helper_begin(struct helper_frame *f, enum helper_type t);
/* helper_send(): ERR_KEY_BAD_ANSWER when the frame did not fit or the peer is gone. */
RC helper_send(int fd, struct helper_frame *f, const struct out *o, struct err *e);
/* helper_receive(): waits until deadline_us (0: for ever). *closed: the peer closed between frames. Errors: ERR_TIMEOUT,
 * ERR_KEY_BAD_ANSWER (cut off, or too long). */
RC helper_receive(int fd, uint64_t deadline_us, struct helper_frame *f, bool *closed,
                  struct err *e);
/* helper_fields(): the fields of a received frame; *t its type. */
struct in helper_fields(const struct helper_frame *f, enum helper_type *t);

void put_wrapped(struct out *o, const struct wrapped_key *w);
void take_wrapped(struct in *in, struct wrapped_key *w);
void put_info(struct out *o, const struct key_info *i);
void take_info(struct in *in, struct key_info *i);
void put_version(struct out *o, const char *version);
/* take_version(): the text in buf, or NULL. */
const char *take_version(struct in *in, char buf[65]);

#endif

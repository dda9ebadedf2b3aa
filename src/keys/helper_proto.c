/* helper_proto.c - frames between server and unwrap helper: bytes and back, and over a socket. */
#include "helper_proto.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "crypto/secret.h"

enum { LENGTH_LEN = 4 };
_Static_assert((int)HELPER_FRAME_MAX <= (int)SECRET_MAX, "a frame is built in a secret");
_Static_assert(HELPER_CONFIG_MAX + 16 <= HELPER_FRAME_MAX, "a configuration fits a frame");

RC helper_frame_init(struct helper_frame *f, struct err *e)
{
    f->len = 0;
    return secret_new(HELPER_FRAME_MAX, &f->room, e);
}

void helper_frame_fini(struct helper_frame *f)
{
    secret_freep(&f->room);
}

struct out helper_begin(struct helper_frame *f, enum helper_type t)
{
    struct out o = { .p = secret_bytes(f->room) + LENGTH_LEN,
                     .cap = HELPER_FRAME_MAX - LENGTH_LEN };

    put_u8(&o, (uint8_t)t);
    return o;
}

RC helper_send(int fd, struct helper_frame *f, const struct out *o, struct err *e)
{
    const uint8_t *p = secret_view(f->room);
    size_t left = o->len + LENGTH_LEN;

    if (o->bad)
        FAIL(e, ERR_KEY_BAD_ANSWER, "what the unwrap helper is to be told does not fit a frame");
    put_be32(secret_bytes(f->room), (uint32_t)o->len);
    while (left) {
        ssize_t n = fault_hit("helper.send") ? -1 : send(fd, p, left, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            FAIL(e, ERR_KEY_BAD_ANSWER, "the unwrap helper's other side is gone");
        p += n;
        left -= (size_t)n;
    }
    return RC_OK;
}

/* wait_readable(): poll until the deadline. */
static RC wait_readable(int fd, uint64_t deadline_us, struct err *e)
{
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        uint64_t now = clock_mono_us();
        int ms = -1, n;

        if (deadline_us) {
            if (now >= deadline_us)
                FAIL(e, ERR_TIMEOUT, "the unwrap helper did not answer in time");
            ms = (int)MIN((deadline_us - now + 999) / 1000, (uint64_t)60000);
        }
        n = poll(&p, 1, ms);
        if (n > 0)
            return RC_OK;
        if (n < 0 && errno != EINTR)
            FAIL(e, ERR_INTERNAL, "could not wait for the unwrap helper: %s", strerror(errno));
    }
}

/* read_all(): *got is less than len only when the peer closed. */
static RC read_all(int fd, uint64_t deadline_us, uint8_t *p, size_t len, size_t *got, struct err *e)
{
    *got = 0;
    while (*got < len) {
        ssize_t n;

        TRY(wait_readable(fd, deadline_us, e));
        n = fault_hit("helper.receive") ? 0 : recv(fd, p + *got, len - *got, MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0 && errno != ECONNRESET)
            FAIL(e, ERR_INTERNAL, "could not read from the unwrap helper: %s", strerror(errno));
        if (n <= 0)
            return RC_OK;
        *got += (size_t)n;
    }
    return RC_OK;
}

RC helper_receive(int fd, uint64_t deadline_us, struct helper_frame *f, bool *closed, struct err *e)
{
    uint8_t head[LENGTH_LEN];
    size_t got, len;

    f->len = 0;
    *closed = false;
    TRY(read_all(fd, deadline_us, head, sizeof(head), &got, e));
    if (got == 0) {
        *closed = true;
        return RC_OK;
    }
    len = get_be32(head);
    if (got < sizeof(head) || len < 1 || len > HELPER_FRAME_MAX - LENGTH_LEN)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the unwrap helper's other side sent a malformed frame");
    TRY(read_all(fd, deadline_us, secret_bytes(f->room) + LENGTH_LEN, len, &got, e));
    if (got < len)
        FAIL(e, ERR_KEY_BAD_ANSWER,
             "the unwrap helper's other side closed in the middle of a frame");
    f->len = len;
    return RC_OK;
}

struct in helper_fields(const struct helper_frame *f, enum helper_type *t)
{
    struct in in = { .p = secret_view(f->room) + LENGTH_LEN, .left = f->len };

    *t = (enum helper_type)take_u8(&in);
    return in;
}

void put_version(struct out *o, const char *version)
{
    put_u8(o, version != NULL);
    if (version)
        put_label(o, version);
}

const char *take_version(struct in *in, char buf[65])
{
    uint8_t there = take_u8(in);

    memset(buf, 0, 65);
    if (there > 1)
        in->bad = true;
    if (there != 1)
        return NULL;
    take_name(in, buf, 65);
    return buf;
}

void put_wrapped(struct out *o, const struct wrapped_key *w)
{
    put_label(o, w->version);
    put_label(o, w->alg);
    put_u16(o, (uint16_t)w->len);
    put_bytes(o, w->bytes, w->len);
}

void take_wrapped(struct in *in, struct wrapped_key *w)
{
    memset(w, 0, sizeof(*w));
    take_name(in, w->version, sizeof(w->version));
    take_name(in, w->alg, sizeof(w->alg));
    w->len = take_u16(in);
    if (w->len > WRAP_MAX)
        in->bad = true;
    else
        take_bytes(in, w->bytes, w->len);
}

void put_info(struct out *o, const struct key_info *i)
{
    put_label(o, i->version);
    put_text(o, i->kid, sizeof(i->kid) - 1);
    put_label(o, i->kty);
    put_u32(o, (uint32_t)i->bits);
    put_u8(o, (uint8_t)((i->enabled ? 1 : 0) | (i->can_wrap ? 2 : 0) | (i->can_unwrap ? 4 : 0) |
                        (i->grace_malformed ? 8 : 0) | (i->wrong_type ? 16 : 0)));
    put_u64(o, (uint64_t)i->not_before_s);
    put_u64(o, (uint64_t)i->expires_s);
    put_u64(o, (uint64_t)i->server_date_s);
    put_label(o, i->recovery_level);
    put_bytes(o, i->public_sha256, sizeof(i->public_sha256));
    put_u64(o, (uint64_t)i->grace_ms);
    put_label(o, i->grace_why);
    put_label(o, i->region);
}

void take_info(struct in *in, struct key_info *i)
{
    uint8_t flags;
    uint16_t len;

    memset(i, 0, sizeof(*i));
    take_name(in, i->version, sizeof(i->version));
    len = take_u16(in);
    if (len >= sizeof(i->kid))
        in->bad = true;
    else
        take_bytes(in, i->kid, len);
    take_name(in, i->kty, sizeof(i->kty));
    i->bits = (int)take_u32(in);
    flags = take_u8(in);
    i->enabled = flags & 1;
    i->can_wrap = flags & 2;
    i->can_unwrap = flags & 4;
    i->grace_malformed = flags & 8;
    i->wrong_type = flags & 16;
    i->not_before_s = (int64_t)take_u64(in);
    i->expires_s = (int64_t)take_u64(in);
    i->server_date_s = (int64_t)take_u64(in);
    take_name(in, i->recovery_level, sizeof(i->recovery_level));
    take_bytes(in, i->public_sha256, sizeof(i->public_sha256));
    i->grace_ms = (int64_t)take_u64(in);
    take_name(in, i->grace_why, sizeof(i->grace_why));
    take_name(in, i->region, sizeof(i->region));
}

/* helper_serve.c - the child's side of the unwrap helper. */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "crypto/secret.h"
#include "helper_proto.h"
#include "keys/helper.h"

static bool memory_locked;

/* may_lock_all(): whether locking all memory, present and future, cannot make a later allocation fail. */
static bool may_lock_all(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct cap[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
    struct rlimit rl;

    if (syscall(SYS_capget, &head, cap) == 0 && (cap[0].effective & (1u << CAP_IPC_LOCK)))
        return true;
    return getrlimit(RLIMIT_MEMLOCK, &rl) == 0 && rl.rlim_cur == RLIM_INFINITY;
}

RC helper_harden(struct err *e)
{
    const struct rlimit none = { 0, 0 };

    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
        FAIL(e, ERR_INTERNAL, "could not forbid core dumps: %s", strerror(errno));
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        FAIL(e, ERR_INTERNAL, "could not tie the unwrap helper to its parent: %s", strerror(errno));
    memory_locked = may_lock_all() && mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
    return RC_OK;
}

static RC serve_get_key(struct key_provider *p, struct in *in, struct out *o, struct err *e)
{
    struct key_info info = { 0 };
    char version[65];
    const char *v = take_version(in, version);
    uint64_t deadline_us = take_u64(in);

    if (in->bad || in->left)
        FAIL(e, ERR_PROTOCOL_ERROR, "a malformed request");
    TRY(p->get_key(p, v, deadline_us, &info, e));
    put_info(o, &info);
    return RC_OK;
}

static RC serve_wrap(struct key_provider *p, struct in *in, struct out *o, struct err *e)
{
    AUTO(secret_freep) struct secret *plain = NULL;
    struct wrapped_key w = { 0 };
    char version[65];
    const char *v = take_version(in, version);
    uint64_t deadline_us = take_u64(in);
    size_t len = take_u16(in);
    const uint8_t *bytes = take(in, len);

    if (in->bad || in->left || len == 0)
        FAIL(e, ERR_PROTOCOL_ERROR, "a malformed request");
    TRY(secret_from(bytes, len, &plain, e));
    TRY(p->wrap(p, v, plain, deadline_us, &w, e));
    put_wrapped(o, &w);
    return RC_OK;
}

static RC serve_unwrap(struct key_provider *p, struct in *in, struct out *o, struct err *e)
{
    AUTO(secret_freep) struct secret *plain = NULL;
    struct wrapped_key w;
    bool fresh;
    uint64_t deadline_us;

    take_wrapped(in, &w);
    fresh = take_u8(in) == 1;
    deadline_us = take_u64(in);
    if (in->bad || in->left)
        FAIL(e, ERR_PROTOCOL_ERROR, "a malformed request");
    TRY(p->unwrap(p, &w, fresh, deadline_us, &plain, e));
    put_u16(o, (uint16_t)secret_len(plain));
    put_bytes(o, secret_view(plain), secret_len(plain));
    return RC_OK;
}

static void put_error(struct helper_frame *f, struct out *o, const struct err *why)
{
    *o = helper_begin(f, HELPER_ERROR);
    put_u32(o, (uint32_t)why->code);
    put_text(o, why->msg, sizeof(why->msg));
    put_text(o, why->detail, sizeof(why->detail));
}

/* serve_one(): a request in `in`, its answer in `o`. The request was copied out of the frame that the answer is built in. */
static RC serve_one(struct key_provider *p, enum helper_type t, struct in *in, struct out *o,
                    struct err *e)
{
    switch (t) {
    case HELPER_GET_KEY: return serve_get_key(p, in, o, e);
    case HELPER_WRAP: return serve_wrap(p, in, o, e);
    case HELPER_UNWRAP: return serve_unwrap(p, in, o, e);
    default: FAIL(e, ERR_PROTOCOL_ERROR, "an unknown request");
    }
}

struct session {
    struct helper_frame request, reply;
    struct key_provider *p;
};

static void session_fini(struct session *s)
{
    helper_frame_fini(&s->request);
    helper_frame_fini(&s->reply);
    if (s->p && s->p->free)
        s->p->free(s->p);
}

/* greet(): the first frame is HELLO; make the provider from it. A failure is told to the parent too. */
static RC greet(int fd, struct session *s, helper_make_fn make, void *arg, struct err *e)
{
    enum helper_type t;
    struct out o;
    struct in in;
    bool closed;

    TRY(helper_receive(fd, 0, &s->request, &closed, e));
    if (closed)
        FAIL(e, ERR_PROTOCOL_ERROR, "the parent closed before it said anything");
    in = helper_fields(&s->request, &t);
    if (t != HELPER_HELLO)
        FAIL(e, ERR_PROTOCOL_ERROR, "the parent did not begin with HELLO");
    if (make(SLICE(in.p, in.left), arg, &s->p, e).failed) {
        struct err ignored = { 0 };

        put_error(&s->reply, &o, e);
        /* e is what this process ends with */
        (void)!helper_send(fd, &s->reply, &o, &ignored).failed;
        return RC_FAILED;
    }
    o = helper_begin(&s->reply, HELPER_WELCOME);
    put_u8(&o, memory_locked);
    return helper_send(fd, &s->reply, &o, e);
}

RC helper_serve(int fd, helper_make_fn make, void *arg, struct err *e)
{
    AUTO(session_fini) struct session s = { 0 };

    TRY(helper_frame_init(&s.request, e));
    TRY(helper_frame_init(&s.reply, e));
    TRY(greet(fd, &s, make, arg, e));
    for (;;) {
        struct err why = { 0 };
        enum helper_type t;
        struct out o;
        struct in in;
        bool closed;

        TRY(helper_receive(fd, 0, &s.request, &closed, e));
        if (closed)
            return RC_OK;
        in = helper_fields(&s.request, &t);
        o = helper_begin(&s.reply, HELPER_OK);
        if (serve_one(s.p, t, &in, &o, &why).failed)
            put_error(&s.reply, &o, &why);
        TRY(helper_send(fd, &s.reply, &o, e));
        if (why.code == ERR_PROTOCOL_ERROR)
            /* a parent that talks nonsense is not served again */
            FAIL(e, ERR_PROTOCOL_ERROR, "%s", why.msg);
    }
}

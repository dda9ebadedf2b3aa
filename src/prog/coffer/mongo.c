/* mongo.c - OP_MSG with one body section: header (length, request id, response to, opcode), flags, section kind 0, document. */
#include "mongo.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/file.h"

enum {
    HEADER = 16,
    PROLOGUE = HEADER + 4 + 1,
    OP_MSG = 2013,
    REPLY_MAX = 48 << 20,
    DEPTH_MAX = 200
};

RC mongo_open(struct mongo *m, int port, uint64_t timeout_ms, struct err *e)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval t = { .tv_sec = (time_t)(timeout_ms / 1000),
                         .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000) };

    *m = MONGO_INIT;
    AUTO(fd_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) != 0 ||
        connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
        FAIL(e, ERR_HOST_UNREACHABLE, "could not connect to port %d: %s", port, strerror(errno));
    m->fd = fd;
    fd = -1;
    return RC_OK;
}

void mongo_close(struct mongo *m)
{
    if (m->fd >= 0)
        close(m->fd);
    m->fd = -1;
}

static RC receive(struct mongo *m, uint8_t *p, size_t len, struct err *e)
{
    while (len > 0) {
        ssize_t n = recv(m->fd, p, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            FAIL(e, errno == EAGAIN ? ERR_TIMEOUT : ERR_IO, "could not read the answer: %s",
                 strerror(errno));
        if (n == 0)
            FAIL(e, ERR_IO, "the server closed the connection");
        p += n;
        len -= (size_t)n;
    }
    return RC_OK;
}

static RC send_all(struct mongo *m, struct slice s, struct err *e)
{
    while (s.len > 0) {
        ssize_t n = send(m->fd, s.p, s.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            FAIL(e, ERR_IO, "could not send the command: %s", strerror(errno));
        s.p += n;
        s.len -= (size_t)n;
    }
    return RC_OK;
}

static RC check_ok(struct bdoc reply, struct err *e)
{
    struct bval ok = bdoc_get(reply, "ok"), code = bdoc_get(reply, "code"),
                text = bdoc_get(reply, "errmsg");
    int64_t number = ERR_OPERATION_FAILED;

    if (bval_is_number(ok) && bval_to_double(ok) == 1.0)
        return RC_OK;
    if (bval_is_number(code) && bval_to_i64(code, &number) &&
        (number <= 0 || number > ERR_CODE_MAX))
        number = ERR_OPERATION_FAILED;
    struct slice s =
        text.type == BT_STRING ? bval_str(text) : SLICE_LIT("the server gave no reason");
    FAIL(e, (enum err_code)number, "%.*s", (int)s.len, (const char *)s.p);
}

RC mongo_run(struct mongo *m, struct bdoc command, struct arena *a, struct bdoc *reply,
             struct err *e)
{
    struct buf out = BUF_INIT;
    uint8_t head[PROLOGUE];

    *reply = BDOC_EMPTY;
    buf_push_le32(&out, PROLOGUE + command.len);
    buf_push_le32(&out, (uint32_t)++m->request_id);
    buf_push_le32(&out, 0);
    buf_push_le32(&out, OP_MSG);
    buf_push_le32(&out, 0); /* flags */
    buf_push_u8(&out, 0);   /* body */
    buf_push(&out, command.p, command.len);
    rc_t sent = send_all(m, buf_view(&out), e);
    buf_wipe(&out); /* createUser carries a password */
    TRY(sent);

    TRY(receive(m, head, sizeof(head), e));
    uint32_t len = get_le32(head);
    if (len < PROLOGUE + 5 || len > REPLY_MAX || get_le32(head + 12) != OP_MSG ||
        get_le32(head + 8) != (uint32_t)m->request_id || head[PROLOGUE - 1] != 0)
        FAIL(e, ERR_PROTOCOL_ERROR, "the answer is not one of a MongoDB server");
    uint8_t *body = arena_alloc(a, len - PROLOGUE);
    TRY(receive(m, body, len - PROLOGUE, e));
    TRY(bdoc_validate(body, len - PROLOGUE, DEPTH_MAX, reply, e));
    return check_ok(*reply, e);
}

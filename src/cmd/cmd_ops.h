/* cmd_ops.h - what runs on the connections of this node (cmd_ops.c). */
#ifndef CMD_CMD_OPS_H
#define CMD_CMD_OPS_H

#include "cmd_priv.h"

/* cmd__op_begin(): once the request was checked, before its handler; cmd__op_end() always, behind it. */
void cmd__op_begin(struct cmd_req *r);
void cmd__op_end(struct cmd_req *r);
/* cmd__op_describe(): the fields op, ns and command of what is shown of a command; without what must not be. */
void cmd__op_describe(const struct cmd_def *def, struct bdoc body, struct slice db, struct bw *w);
/* cmd__op_wait(): it is going to be parked, waiting for a lock: it stays what the connection runs, and is shown. cmd__op_since(): since when such a one has been
 * running that is run again; else 0. */
void cmd__op_wait(struct cmd_req *r);
uint64_t cmd__op_since(struct cmd_client *c);

/* cmd_ops_kill_session(): interrupt what other connections run in the session (NULL: in any) of the user (NULL: anybody's). */
void cmd_ops_kill_session(struct cmd_req *r, const uint8_t *lsid, const char *user);
/* cmd_ops_count(): commands that run on all connections. */
struct cmd_ops_count {
    int running, writing;
    int waiting; /* for a lock, of those that write */
};
void cmd_ops_count(struct cmd_req *r, struct cmd_ops_count *out);
/* cmd_ops_write(): append what runs to the open array of w: of all users, which needs the privilege, or one's own. */
RC cmd_ops_write(struct cmd_req *r, bool all_users, struct bw *w, struct err *e);

#endif

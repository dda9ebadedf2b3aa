/* cmd_ops.h - what runs on the connections of this node (cmd_ops.c). */
#ifndef CMD_CMD_OPS_H
#define CMD_CMD_OPS_H

#include "cmd_priv.h"

/* cmd__op_begin(): once the request was checked, before its handler; cmd__op_end() always, behind it. */
void cmd__op_begin(struct cmd_req *r);
void cmd__op_end(struct cmd_req *r);

/* cmd_ops_kill_session(): interrupt what other connections run in the session (NULL: in any) of the user (NULL: anybody's). */
void cmd_ops_kill_session(struct cmd_req *r, const uint8_t *lsid, const char *user);
/* cmd_ops_write(): append what runs to the open array of w: of all users, which needs the privilege, or one's own. */
RC cmd_ops_write(struct cmd_req *r, bool all_users, struct bw *w, struct err *e);

#endif

/* cmd_auth.h - between hello and the SASL commands. */
#ifndef CMD_CMD_AUTH_H
#define CMD_CMD_AUTH_H

#include "bsonx/bw.h"

struct cmd_req;

/* cmd__speculative_authenticate(): hello's speculativeAuthenticate: writes the field of that name when the first step succeeds, nothing otherwise. */
void cmd__speculative_authenticate(struct cmd_req *r, struct bdoc d, struct bw *w);

#endif

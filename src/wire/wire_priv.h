/* wire_priv.h - between the files of wire. */
#ifndef WIRE_WIRE_PRIV_H
#define WIRE_WIRE_PRIV_H

#include "wire/wire.h"

enum { WIRE__COMPRESSED_HEAD = 9 };

/* wire__uncompress(): body is what follows the header of an OP_COMPRESSED message; out is in a. */
RC wire__uncompress(struct slice body, struct wire_codec *codec, struct arena *a, int32_t *opcode,
                    enum wire_compressor *how, struct slice *out, struct err *e);

#endif

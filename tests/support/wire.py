"""Messages of the wire protocol, for tests that speak it themselves."""
import struct

import bson

OP_REPLY, OP_QUERY, OP_COMPRESSED, OP_MSG = 1, 2004, 2012, 2013


def message(opcode, body, request=7):
    return struct.pack("<iiii", 16 + len(body), request, 0, opcode) + body


def op_msg(document, flags=0):
    return message(OP_MSG, struct.pack("<IB", flags, 0) + bson.encode(document))


def read_exactly(s, n):
    got = b""
    while len(got) < n:
        more = s.recv(n - len(got))
        if not more:
            raise ConnectionError("closed")
        got += more
    return got


def read_message(s):
    """(opcode, document) of one uncompressed reply; of OP_COMPRESSED, (opcode, id of the compressor)."""
    length, _, to, opcode = struct.unpack("<iiii", read_exactly(s, 16))
    body = read_exactly(s, length - 16)
    assert to == 7
    if opcode == OP_COMPRESSED:
        return opcode, body[8]
    return opcode, bson.decode(body[5:] if opcode == OP_MSG else body[20:])

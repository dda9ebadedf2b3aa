"""What lies on disk under one key and one nonce: the same bytes, or nothing at all. docs/formats/store.md says where both stand; no key is needed to see them."""
import os
import struct

HEADER, HEAD, TAG, CHUNK = 128, 48, 16, 4096
TABLES, STREAMS = 1, 2


class Repeated(AssertionError):
    """Two texts were sealed under one key and nonce."""


def header_of(path):
    """The header of a sealed file, which its key is derived from; None when it is no such file, or was left before its header was whole."""
    with open(path, "rb") as f:
        raw = f.read(HEADER)
    return raw if len(raw) == HEADER and raw[:8] == b"COFFERDB" else None


def layout_of(header):
    return header[10]


def salt_of(header):
    return header[48:80]


def pieces(path):
    """(nonce, what was sealed under it) of each chunk or frame, tags included. A torn tail is left out."""
    with open(path, "rb") as f:
        raw = f.read()
    body = raw[HEADER:]
    if layout_of(raw) == TABLES:
        for at in range(0, len(body), CHUNK + TAG):
            yield at // (CHUNK + TAG), body[at:at + CHUNK + TAG]
        return
    at, mark = 0, body[:4]
    while len(body) - at >= HEAD and body[at:at + 4] == mark:
        end = at + HEAD + struct.unpack(">I", body[at + 4:at + 8])[0] + TAG
        if end > len(body):
            return
        yield body[at + 12:at + 16] + body[at + 24:at + 32], body[at + HEAD:end]
        at = end


def compare(one, other):
    """Two files with the same salt: one is a copy of the other, or of what it was earlier."""
    if header_of(one) != header_of(other):
        raise Repeated(f"{one} and {other} have one salt and two headers")
    known = dict(pieces(one))
    longest = len(known)
    for number, (nonce, sealed) in enumerate(pieces(other)):
        cut = layout_of(header_of(one)) == TABLES and number + 1 >= longest  # the last chunk of a file that was still being written
        if nonce in known and known[nonce] != sealed and not cut:
            raise Repeated(f"{one} and {other} have two texts under one key and nonce, at piece {number}")


class Ledger:
    """Of all files that are ever noted: no key seals two texts under one nonce."""

    def __init__(self):
        self.seen, self.n_files = {}, 0

    def note(self, path):
        header = header_of(path)
        if header is None:
            return
        self.n_files += 1
        nonces = [nonce for nonce, _ in pieces(path)] if layout_of(header) == STREAMS and os.path.getsize(path) < 1 << 20 else []
        if len(nonces) != len(set(nonces)):
            raise Repeated(f"{path} uses a nonce twice")
        before = self.seen.setdefault(salt_of(header), path)
        if before != path and os.path.exists(before) and header_of(before) and not os.path.samefile(before, path):
            if salt_of(header_of(before)) == salt_of(header):
                compare(before, path)
        self.seen[salt_of(header)] = path

    def note_all(self, directory):
        for folder, _, names in os.walk(directory):
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    self.note(path)


def sealed_blocks(path):
    """Each 16 bytes of the sealed texts of a file, counted from the start of their chunk or frame; tags and odd ends left out."""
    for _, sealed in pieces(path):
        text = sealed[:-TAG]
        for at in range(0, len(text) - 15, 16):
            yield text[at:at + 16]

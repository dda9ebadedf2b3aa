"""Reading the memory of a process as root would: the positive control of every search for what must not be found."""
import os
import re
import struct


def memory_holds(pid, needles):
    """The needles that stand in the readable private memory of process pid."""
    found = set()
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        for line in maps:
            m = re.match(r"([0-9a-f]+)-([0-9a-f]+) r\S*p", line)
            if not m or "[v" in line:
                continue
            at, end = int(m.group(1), 16), int(m.group(2), 16)
            found |= _region(mem, at, end, needles - found)
            if found == needles:
                break
    return found


def _region(mem, at, end, needles):
    found, tail, keep = set(), b"", max((len(n) for n in needles), default=1) - 1
    while at < end and needles:
        try:
            mem.seek(at)
            piece = mem.read(min(end - at, 4 << 20))
        except (OSError, ValueError):
            break
        if not piece:
            break
        text = tail + piece
        found |= {n for n in needles if n in text}
        tail = text[-keep:] if keep else b""
        at += len(piece)
    return found


def files_hold(paths, needles):
    """{path: needles found in it}, for the files that hold any."""
    hits = {}
    for path in paths:
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as f:
            text = f.read()
        found = {n for n in needles if n in text}
        if found:
            hits[path] = found
    return hits


def all_files(folder):
    return sorted(os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)


PT_LOAD = 1


def core_memory_holds(path, needles):
    """The needles that stand in the memory which a core (ELF64, little endian) holds: its PT_LOAD segments.

    The notes are left out: they carry the registers of each thread, where the last few bytes that a thread moved may stand. Nothing that a
    process does keeps root from reading registers (docs/threat-model.md)."""
    found = set()
    with open(path, "rb") as f:
        head = f.read(64)
        assert head[:4] == b"\x7fELF" and head[4] == 2, "no 64-bit core"
        at, size, n = *struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54)
        for i in range(n):
            f.seek(at + i * size)
            kind, _, offset, _, _, filesz = struct.unpack("<IIQQQQ", f.read(40))
            if kind == PT_LOAD and filesz:
                f.seek(offset)
                text = f.read(filesz)
                found |= {x for x in needles if x in text}
    return found

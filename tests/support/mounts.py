"""Disks that are small, and directories that turn read-only, for tests that run as root: a mount is made in the machine's own table and taken away behind the test."""
import contextlib
import os
import subprocess

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk or turn a directory read-only")


def run(*command):
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr}"


@contextlib.contextmanager
def small_disk(path, megabytes):
    """A file system of that size on path, which is made."""
    os.makedirs(path, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", path)
    try:
        yield path
    finally:
        run("umount", "-l", path)


@contextlib.contextmanager
def read_only(path):
    """What is opened under path from now on can only be read; what was opened before is not touched."""
    # Made elsewhere first, where nobody writes: a mount with a writer cannot be turned read-only. A bind of it is read-only from its beginning.
    aside = path.rstrip("/") + ".read-only"
    os.mkdir(aside)
    run("mount", "--bind", path, aside)
    try:
        run("mount", "-o", "remount,bind,ro", aside)
        run("mount", "--bind", aside, path)
        try:
            yield
        finally:
            run("umount", "-l", path)
    finally:
        run("umount", "-l", aside)
        os.rmdir(aside)


def free_bytes(path):
    v = os.statvfs(path)
    return v.f_bavail * v.f_frsize


@contextlib.contextmanager
def filled(path, leave=0):
    """No room on the file system of path but for so many bytes."""
    name = os.path.join(path, "filler")
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for size in (1 << 20, 4096):
            try:
                while free_bytes(path) >= leave + size:
                    os.write(fd, b"\xff" * size)
            except OSError:
                pass
        yield
    finally:
        os.close(fd)
        os.unlink(name)

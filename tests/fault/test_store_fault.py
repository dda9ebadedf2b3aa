"""Each fallible call of a store's life fails once; the unit test of `make check-quick` takes every twelfth of them."""
import os
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("COFFER_BUILD", "build"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_each_call_fails_in_turn():
    done = subprocess.run([os.path.join(BUILD, "src/store/store_test_fault")], capture_output=True, text=True, check=False,
                          env={**os.environ, "COFFER_FAULT_ALL": "1"})
    assert done.returncode == 0, done.stdout + done.stderr

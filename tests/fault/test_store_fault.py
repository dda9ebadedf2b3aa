"""Each fallible call of a store's life fails once; here every 61st of the thousands, in `make faults` all of them."""
import os
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("COFFER_BUILD", "build"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_call_fails_in_turn():
    done = subprocess.run([os.path.join(BUILD, "src/store/store_test_fault")], capture_output=True, text=True, check=False,
                          env={**os.environ, "COFFER_FAULT_STEP": "61"})
    assert done.returncode == 0, done.stdout + done.stderr

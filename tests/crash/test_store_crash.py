"""kill -9 of a process whose threads write to a store, many times over. `make crash N=500` is the long version."""
import os
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("COFFER_BUILD", "build"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost():
    done = subprocess.run([os.path.join(BUILD, "src/store/store_test_crash")], capture_output=True, text=True, check=False,
                          env={**os.environ, "COFFER_CRASH_LOOPS": os.environ.get("COFFER_CRASH_LOOPS", "30")})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none was lost" in done.stdout

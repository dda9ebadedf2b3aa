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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_re_encryption_survives_every_step():
    """Killed and failed at every 17th call; twenty generations in a row under load. `make rewrites` is the long version."""
    done = subprocess.run([os.path.join(BUILD, "src/store/store_test_rewrite")], capture_output=True, text=True, check=False,
                          env={**os.environ, "COFFER_REWRITE_STEP": os.environ.get("COFFER_REWRITE_STEP", "17")})
    assert done.returncode == 0, done.stdout + done.stderr
    assert " kills" in done.stdout

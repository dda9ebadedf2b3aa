#!/usr/bin/env python3
"""make drill: an installation at its default settings, its key taken away and given back ROUNDS times; how long detecting, sealing and returning take."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# What README.md promises: seconds, of the worst of a hundred.
TARGETS = {"detect_s": 30, "seal_s": 5, "return_s": 30}


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--rounds", type=int, default=50)
    args.add_argument("--coffer", default=os.path.join(ROOT, "build/bin/coffer"))
    args = args.parse_args()
    with tempfile.TemporaryDirectory(prefix="coffer-drill-") as home:
        try:
            subprocess.run([args.coffer, "up", f"--home={home}", "--smk-port=0", "--cmk-port=0", "--vault-port=0", "--token-port=0"], check=True,
                           stdout=subprocess.DEVNULL)
            done = subprocess.run([args.coffer, "cluster", "drill", "cmk", f"--home={home}", f"--rounds={args.rounds}", "--yes", "-o", "json"],
                                  check=True, stdout=subprocess.PIPE, text=True)
        finally:
            subprocess.run([args.coffer, "down", f"--home={home}"], check=False, stdout=subprocess.DEVNULL)
    report = json.loads(done.stdout)
    late = False
    for name, target in TARGETS.items():
        print(f"{name}: median {report[name]['median']:.1f}, p99 {report[name]['p99']:.1f}, target {target}")
        late |= report[name]["p99"] > target
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())

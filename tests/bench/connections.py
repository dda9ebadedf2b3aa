#!/usr/bin/env python3
"""make connections: 10,000 idle connections beside 100 busy ones; what an idle one costs, and what the busy ones still get."""
import argparse
import json
import resource
import subprocess
import sys
import time

from run import Server


def resident_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def load(args, server, idle):
    command = [args.client, "--port", str(server.port), "--workload", "ping", "--connections", str(args.active), "--run", "5s",
               "--idle-connections", str(idle)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(4)
    with_them = resident_kb(server.process.pid)
    out, err = process.communicate(timeout=120)
    if process.returncode:
        raise SystemExit(f"{idle} idle connections: {err}")
    return json.loads(out), with_them


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cofferd", default="build/bin/cofferd")
    parser.add_argument("--client", default="build/bin/coffer-bench")
    parser.add_argument("--idle", type=int, default=10000)
    parser.add_argument("--active", type=int, default=100)
    args = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < args.idle + args.active + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard < args.idle + args.active + 200:
            raise SystemExit(f"the limit of open files, {hard}, is too low for {args.idle} connections")
    server = Server(args.cofferd, "sealed", "64MB")
    try:
        alone, without = load(args, server, 0)
        beside, with_them = load(args, server, args.idle)
    finally:
        server.stop()
    for label, figures in (("alone", alone), (f"beside {args.idle} idle", beside)):
        print(f"{args.active} active {label:20} {figures['ops_per_s']:10.0f} ops/s, p50 {figures['p50_us']:.0f} us, p99 {figures['p99_us']:.0f} us")
    print(f"an idle connection: {(with_them - without) / args.idle:.2f} KB")


if __name__ == "__main__":
    sys.exit(main())

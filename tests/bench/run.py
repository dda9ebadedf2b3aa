#!/usr/bin/env python3
"""make bench: the product against the same program with a null cipher, slice by slice, in one run.

Each pair of figures comes from two servers that stand side by side and are asked in turn (A B B A ...), so that a machine whose speed
drifts moves both. A ratio is the median of the ratios of the rounds. The last lines are `RATIO name value`, for programs to read.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

DOCS = 100_000
BATCH = 1_000


class Server:
    """One server in a directory of its own, stopped and removed at the end."""

    def __init__(self, binary, name, cache, faults=None, flags=()):
        self.name = name
        self.dir = tempfile.mkdtemp(prefix=f"coffer-bench-{name}-")
        env = dict(os.environ)
        env.pop("COFFER_FAULTS", None)
        if faults:
            env["COFFER_FAULTS"] = faults
        port_file = f"{self.dir}/port"
        self.log = open(f"{self.dir}/log", "wb")
        self.process = subprocess.Popen(
            [binary, "--data-dir", f"{self.dir}/data", "--state-dir", f"{self.dir}/state", "--port", "0", "--port-file", port_file,
             "--auth=false", "--cache-size", cache, "--reserve-size", "0", *flags],
            stdout=self.log, stderr=self.log, env=env)
        deadline = time.monotonic() + 30
        while not os.path.exists(port_file):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} did not start:\n" + open(f"{self.dir}/log").read()[-2000:])
            time.sleep(0.02)
        self.port = int(open(port_file).read())

    def cpu_s(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Bench:
    def __init__(self, args):
        self.args = args
        self.rows = []
        self.ratios = []
        self.first_id = 1_000_000_000

    def load(self, server, workload, connections=1, docs=DOCS, **more):
        """One slice of load: the generator's JSON, with the server's CPU per operation added."""
        command = [self.args.client, "--port", str(server.port), "--workload", workload, "--connections", str(connections),
                   "--docs", str(docs), "--warm", "200ms", "--run", f"{self.args.slice}ms"]
        for key, value in more.items():
            command += ["--" + key.replace("_", "-"), str(value)]
        before = server.cpu_s()
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(f"{workload} on {server.name}: {run.stderr}")
        figures = json.loads(run.stdout)
        figures["cpu_us"] = (server.cpu_s() - before) * 1e6 / max(figures["requests"], 1)
        return figures

    def fresh_ids(self):
        """A range of ids that no slice has used: connections count on from there + (their number << 40)."""
        self.first_id += 10_000_000
        return self.first_id

    def fill(self, server):
        self.load(server, "bulk", requests=DOCS // BATCH, first_id=0)

    def pair(self, name, a, b, of):
        """Rounds of A and B in turn; `of` runs one slice. Appends two rows and the ratio A/B of ops/s."""
        rounds = []
        for i in range(self.args.rounds):
            order = (a, b) if i % 2 == 0 else (b, a)
            got = {id(x): of(x, i) for x in order}
            rounds.append((got[id(a)], got[id(b)]))
        for side, label in ((0, a[1]), (1, b[1])):
            figures = [r[side] for r in rounds]
            self.rows.append((name, label) + tuple(statistics.median(f[k] for f in figures)
                                                   for k in ("ops_per_s", "p50_us", "p99_us", "cpu_us")))
        per_round = [r[0]["ops_per_s"] / r[1]["ops_per_s"] for r in rounds]
        self.ratios.append((name, statistics.median(per_round), min(per_round), max(per_round)))

    def sealed(self, name, servers, workload, connections, **more):
        sealed, null = servers

        def of(x, i):
            extra = dict(more)
            if workload in ("bulk", "journal"):
                extra["first_id"] = self.fresh_ids()
            return self.load(x[0], workload, connections, **extra)

        self.pair(name, (sealed, "sealed"), (null, "null"), of)

    def with_pair(self, cache, body, *flags):
        servers = []
        try:
            servers.append(Server(self.args.cofferd, "sealed", cache, flags=flags))
            servers.append(Server(self.args.cofferd_null, "null", cache, flags=flags))
            for s in servers:
                self.fill(s)
            body(servers)
        finally:
            for s in servers:
                s.stop()

    def in_cache(self, servers):
        self.sealed("sealed_cache_point", servers, "point", 4)
        self.sealed("sealed_cache_update", servers, "update", 4)
        self.sealed("sealed_cache_scan", servers, "scan", 4)
        self.sealed("sealed_cache_agg", servers, "agg", 4)
        point, ping = (servers[0], "point"), (servers[0], "ping")
        self.pair("point_vs_ping", point, ping, lambda x, i: self.load(x[0], x[1], 32))
        self.sealed("sealed_journal", servers, "journal", 64)
        self.sealed("sealed_bulk", servers, "bulk", 2)

    def a_tenth(self, servers):
        self.sealed("sealed_tenth_point", servers, "point", 4)
        self.sealed("sealed_tenth_scan", servers, "scan", 4)

    def durable(self):
        for faults, name in (("fs.sync=delay2", "durable_64_vs_1"), (None, "durable_64_vs_1_raw")):
            server = Server(self.args.cofferd, "sealed", "256MB", faults)
            try:
                self.fill(server)

                def of(x, i, server=server):
                    return self.load(server, "journal", x[0], first_id=self.fresh_ids())

                self.pair(name, (64, "64 writers"), (1, "1 writer"), of)
            finally:
                server.stop()

    def report(self):
        print(f"{'figure':24} {'side':12} {'ops/s':>12} {'p50 us':>10} {'p99 us':>10} {'CPU us/op':>10}")
        for row in self.rows:
            print(f"{row[0]:24} {row[1]:12} {row[2]:12.1f} {row[3]:10.0f} {row[4]:10.0f} {row[5]:10.1f}")
        print()
        for name, median, low, high in self.ratios:
            print(f"{name}: median {median:.3f}, rounds {low:.3f} to {high:.3f}")
        print()
        for name, median, _, _ in self.ratios:
            print(f"RATIO {name} {median:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cofferd", default="build/bin/cofferd")
    parser.add_argument("--cofferd-null", default="build/bin/cofferd-null")
    parser.add_argument("--client", default="build/bin/coffer-bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slice", type=int, default=2000, help="milliseconds of one slice")
    parser.add_argument("--only", choices=["cache", "tenth", "durable"], help="one part")
    args = parser.parse_args()
    bench = Bench(args)
    if args.only in (None, "cache"):
        bench.with_pair("1GB", bench.in_cache)
    # A small memtable, so that the documents are in files and not still in memory.
    if args.only in (None, "tenth"):
        bench.with_pair("10MB", bench.a_tenth, "--memtable-size=4MB")
    if args.only in (None, "durable"):
        bench.durable()
    bench.report()


if __name__ == "__main__":
    sys.exit(main())

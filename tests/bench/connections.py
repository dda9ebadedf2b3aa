#!/usr/bin/env python3
"""make connections: 10,000 idle connections beside 100 busy ones; what an idle one costs, with TLS too, and what the busy ones still get."""
import argparse
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from run import Server

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from wire import op_msg, read_message  # noqa: E402


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


def tls_idle_kb(binary, count):
    """What each of `count` idle TLS connections adds to the server's resident memory, in KB."""
    with tempfile.TemporaryDirectory(prefix="coffer-bench-tls-") as directory:
        pem = f"{directory}/server.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem"],
                       check=True, capture_output=True)
        fd = os.open(pem, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as out:
            for part in ("cert", "key"):
                with open(f"{directory}/{part}.pem", encoding="ascii") as f:
                    out.write(f.read())
        server = Server(binary, "tls", "64MB", flags=(f"--tls-cert-file={pem}",))
        try:
            context = ssl.create_default_context(cafile=f"{directory}/cert.pem")
            context.check_hostname = False
            open_ones = []

            def more(n):
                for _ in range(n):
                    connection = context.wrap_socket(socket.create_connection(("127.0.0.1", server.port)))
                    connection.sendall(op_msg({"hello": 1, "$db": "admin"}))  # as a driver's idle connection has done
                    read_message(connection)
                    open_ones.append(connection)

            more(200)  # what the first ones cost is not what one costs
            before = resident_kb(server.process.pid)
            more(count)
            after = resident_kb(server.process.pid)
            for connection in open_ones:
                connection.close()
            return (after - before) / count
        finally:
            server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cofferd", default="build/bin/cofferd")
    parser.add_argument("--client", default="build/bin/coffer-bench")
    parser.add_argument("--idle", type=int, default=10000)
    parser.add_argument("--active", type=int, default=100)
    parser.add_argument("--tls-idle", type=int, default=2000)
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
    print(f"an idle connection with TLS: {tls_idle_kb(args.cofferd, args.tls_idle):.2f} KB")


if __name__ == "__main__":
    sys.exit(main())

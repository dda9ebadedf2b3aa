"""PyKMIP's server on a port of its own choosing: pykmip_server.py DIRECTORY PORT PEM CA-FILE. Its database, log, policies and, once it listens and knows the
policies, its `port` file are in DIRECTORY."""
import os
import sys
import time

from kmip.services.server.server import KmipServer


def main(directory, port, pem, ca_file):
    policies = os.path.join(directory, "policies")
    server = KmipServer(hostname="127.0.0.1", port=5696, certificate_path=pem, key_path=pem, ca_path=ca_file, auth_suite="TLS1.2",
                        config_path=None, log_path=os.path.join(directory, "server.log"), policy_path=policies, live_policies=True,
                        database_path=os.path.join(directory, "database"))
    server.config.settings["port"] = int(port)  # its own check refuses 0
    server.start()
    server._socket.listen(64)
    known = {name[:-len(".json")] for name in os.listdir(policies)}
    while not known <= set(server.policies.keys()):  # a process of its own reads them; whoever is killed meanwhile was too slow
        time.sleep(0.05)
    part = os.path.join(directory, "port.part")
    with open(part, "w", encoding="ascii") as f:
        f.write(str(server._socket.getsockname()[1]))
    os.rename(part, os.path.join(directory, "port"))
    server.serve()


if __name__ == "__main__":
    main(*sys.argv[1:])

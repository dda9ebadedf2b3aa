"""PKCS #11 tokens of SoftHSM's, administered with OpenSC's tool, and a module before SoftHSM's that misbehaves."""
import os
import secrets
import shutil
import subprocess
import urllib.parse

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
SHIM = os.path.join(os.path.dirname(__file__), "p11shim.c")


class Token:
    """One token with a key of the kind "rsa" or "aes", labelled cmk; its versions have the ids 01, 02 and so on."""

    def __init__(self, directory, kind):
        self.dir, self.kind, self.n_keys = str(directory), kind, 0
        self.store = self.path("tokens")
        self.pin = "xmarkerx" + secrets.token_hex(8)
        self.so_pin = secrets.token_hex(8)
        os.makedirs(self.store)
        self.env = {**os.environ, "SOFTHSM2_CONF": self.path("softhsm2.conf")}
        with open(self.env["SOFTHSM2_CONF"], "w", encoding="ascii") as f:
            f.write(f"directories.tokendir = {self.store}\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.run("softhsm2-util", "--init-token", "--free", "--label", "my token", "--so-pin", self.so_pin, "--pin", self.pin)
        self.put_pin(self.pin)
        self.new_key()

    def path(self, name):
        return os.path.join(self.dir, name)

    def run(self, *command):
        done = subprocess.run(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
        assert done.returncode == 0, done.stdout.decode()

    def tool(self, *args):
        self.run("pkcs11-tool", "--module", MODULE, "--token-label", "my token", "--login", "--pin", self.pin, *args)

    def new_key(self):
        self.n_keys += 1
        make = ["--keypairgen", "--key-type", "rsa:2048", "--usage-decrypt"] if self.kind == "rsa" else [
            "--keygen", "--key-type", "aes:32", "--usage-wrap", "--sensitive"]
        self.tool(*make, "--label", "cmk", "--id", f"{self.n_keys:02x}")

    def import_rsa(self, token, pem):
        self.run("softhsm2-util", "--import", pem, "--token", token, "--label", "cmk", "--id", "01", "--pin", self.pin)

    def add_token(self, token):
        self.run("softhsm2-util", "--init-token", "--free", "--label", token, "--so-pin", self.so_pin, "--pin", self.pin)

    def delete_keys(self, first=1, last=None):
        for i in range(first, (last or self.n_keys) + 1):
            for kind in ("privkey", "pubkey") if self.kind == "rsa" else ("secrkey",):
                self.tool("--delete-object", "--type", kind, "--id", f"{i:02x}")

    def put_pin(self, pin, mode=0o600):
        path = self.path("pin")
        with open(os.open(path + ".part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as f:
            f.write(pin + "\n")
        os.chmod(path + ".part", mode)
        os.rename(path + ".part", path)

    def change_pin(self, pin):
        self.tool("--change-pin", "--new-pin", pin)
        self.pin = pin

    def remove(self):
        os.rename(self.store, self.store + ".away")
        os.makedirs(self.store)

    def put_back(self):
        os.rmdir(self.store)
        os.rename(self.store + ".away", self.store)

    def back_up(self):
        shutil.copytree(self.store, self.path("backup"))

    def restore(self):
        """The node's helpers have files of the store open, and make new ones: it is moved away, not taken apart."""
        os.rename(self.store, self.path("left"))
        os.rename(self.path("backup"), self.store)

    def uri(self, module=MODULE, env=()):
        env = [("SOFTHSM2_CONF", self.env["SOFTHSM2_CONF"]), *env]
        query = "&".join([f"module-path={module}", *(f"x-env={n}={urllib.parse.quote(v)}" for n, v in env)])
        return f"pkcs11:token=my%20token;object=cmk?{query}"

    def node_settings(self, module=MODULE, env=()):
        return {"key-mode": "cmk", "key-url": self.uri(module, env), "token-source": "pin-file", "token-secret-file": self.path("pin")}

    def vault_settings(self, module=MODULE, env=()):
        return {"root-key-pkcs11": self.uri(module, env), "root-key-pkcs11-pin-file": self.path("pin")}


class Shim:
    """SoftHSM's module behind one that goes wrong as `mode` says."""

    def __init__(self, token):
        self.so, self.mode_file, self.logins_file = token.path("p11shim.so"), token.path("mode"), token.path("logins")
        flags = subprocess.run(["pkg-config", "--cflags", "p11-kit-1"], stdout=subprocess.PIPE, check=True).stdout.decode().split()
        subprocess.run(["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", self.so, SHIM, *flags, "-ldl"], check=True)
        self.env = [("P11SHIM_MODULE", MODULE), ("P11SHIM_MODE", self.mode_file), ("P11SHIM_LOGINS", self.logins_file)]
        self.set_mode("")

    def set_mode(self, mode):
        with open(self.mode_file + ".part", "w", encoding="ascii") as f:
            f.write(mode)
        os.rename(self.mode_file + ".part", self.mode_file)

    def n_logins(self):
        with open(self.logins_file, encoding="ascii") as f:
            return len(f.readlines())


def modules_in(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as f:
        text = f.read()
    return [w for w in ("softhsm", "p11shim") if w in text]

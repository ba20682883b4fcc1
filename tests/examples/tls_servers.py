# SPDX-License-Identifier: BSL-1.0
"""`openssl s_server`, once with each kind of certificate."""
import pathlib
import socket
import subprocess
import tempfile
import time

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class TlsServer:
    host = "localhost"

    def __init__(self, directory, name, host, days, signer):
        self.certificate = directory / f"{name}.pem"
        self.key = directory / f"{name}.key"
        about = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-keyout", self.key]
        if signer:
            request = directory / f"{name}.csr"
            openssl("req", *KEY, *about, "-out", request)
            openssl("x509", "-req", "-in", request, "-CA", f"{signer}.pem", "-CAkey", f"{signer}.key", "-CAcreateserial",
                    "-days", days, "-copy_extensions", "copy", "-out", self.certificate)
        else:
            openssl("req", "-x509", *KEY, *about, "-days", days, "-out", self.certificate)
        for _ in range(3):  # somebody may take the port before the server does
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
            self.process = subprocess.Popen(
                ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", self.certificate, "-key", self.key,
                 "-www"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if self.answers():
                return
            self.close()
        raise RuntimeError("openssl s_server did not start")

    def answers(self):
        for _ in range(3000):
            if self.process.poll() is not None:
                return False
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return True
            except ConnectionRefusedError:
                time.sleep(0.01)
        return False

    def close(self):
        self.process.kill()
        self.process.wait()


class TlsServers:
    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        directory = pathlib.Path(self.directory.name)
        root = directory / "root"
        openssl("req", "-x509", *KEY, "-subj", "/CN=Test Root", "-days", 2, "-keyout", f"{root}.key", "-out",
                f"{root}.pem")
        self.authority = f"{root}.pem"
        self.good = TlsServer(directory, "good", "localhost", 2, root)
        self.expired = TlsServer(directory, "expired", "localhost", -1, root)
        self.self_signed = TlsServer(directory, "self-signed", "localhost", 2, None)
        self.other_host = TlsServer(directory, "other-host", "elsewhere", 2, root)

    def close(self):
        for server in [self.good, self.expired, self.self_signed, self.other_host]:
            server.close()
        self.directory.cleanup()

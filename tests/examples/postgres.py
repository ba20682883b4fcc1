# SPDX-License-Identifier: BSL-1.0
"""A PostgreSQL with its own settings, for the tests of the examples."""
import ctypes
import glob
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG = 1  # prctl(2)


def program(name):
    found = shutil.which(name) or next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin/" + name))), None)
    if not found:
        raise FileNotFoundError(f"{name} is missing; its Debian package is postgresql")
    return found


class Postgres:
    """Started by `with`. `address` is what libpq is to connect to."""

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="coir-postgres-"))
        self.address = f"host={self.directory} user=tester dbname=postgres"
        self.server = None
        try:
            if os.geteuid() == 0:
                user = pwd.getpwnam("postgres")  # it refuses to run as root
                os.chown(self.directory, user.pw_uid, user.pw_gid)
            subprocess.run([program("initdb"), "-D", "data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
                           check=True, stdout=subprocess.DEVNULL, **self.as_postgres())
            self.server = subprocess.Popen(
                [program("postgres"), "-D", "data", "-k", str(self.directory), "-c", "listen_addresses=",
                 "-c", "fsync=off"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.as_postgres())
            ready = [program("pg_isready"), "-q", "-d", self.address]
            while subprocess.run(ready).returncode != 0:
                if self.server.poll() is not None:
                    raise RuntimeError("PostgreSQL ended at once")
                time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise
        return self

    def as_postgres(self):
        parent = os.getpid()
        user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None

        def prepare():
            if user:
                os.setgid(user.pw_gid)
                os.setuid(user.pw_uid)
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after setuid, which clears it
            if os.getppid() != parent:
                os._exit(1)

        return {"cwd": self.directory, "preexec_fn": prepare}

    def __exit__(self, *_):
        if self.server:
            self.server.send_signal(signal.SIGINT)
            self.server.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

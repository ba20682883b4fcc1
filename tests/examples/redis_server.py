# SPDX-License-Identifier: BSL-1.0
"""A Redis with its own settings, for the tests of the examples."""
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG = 1  # prctl(2)


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Redis:
    """Started by `with`, on loopback. Writes down what it answers to before it answers, so that it may be killed."""

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="coir-redis-"))
        self.port = unused_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.server = None
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        parent = os.getpid()

        def prepare():
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        self.server = subprocess.Popen(
            [shutil.which("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory),
             "--save", "", "--appendonly", "yes", "--appendfsync", "always"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=prepare)
        while not self.answers():
            if self.server.poll() is not None:
                raise RuntimeError("redis-server ended at once")
            time.sleep(0.02)

    def answers(self):
        try:
            return self.command("PING") == "PONG"
        except OSError:
            return False

    def command(self, *words):
        """The answer as redis-cli prints it."""
        result = subprocess.run(["redis-cli", "-p", str(self.port), *map(str, words)], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True)
        if result.returncode != 0:
            raise OSError("redis-cli")
        return result.stdout.rstrip("\n")

    def kill(self):
        self.server.kill()
        self.server.wait()

    def __exit__(self, *_):
        if self.server:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

# SPDX-License-Identifier: BSL-1.0
"""Servers on loopback, good and bad, for the tests of the examples."""
import hashlib
import http.server
import os
import socket
import struct
import threading


def body_of(path):
    """What the good server answers for /N/...: N bytes that look random."""
    size = int(path.split("/")[1])
    block = hashlib.sha256(path.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
        elif self.path == "/broken":
            self.send_error(500)
        elif self.path == "/redirect":
            self.answer(302, b"", location="/100/moved")
        elif self.path == "/circle":
            self.answer(302, b"", location="/circle")
        elif self.path == "/hangup":
            # Promises more than it sends.
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 100)
            self.close_connection = True
        elif self.path == "/reset":
            self.connection.recv(0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        else:
            self.answer(200, body_of(self.path))

    def answer(self, status, body, location=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that goes away is no news


class Servers:
    """Started by `with`: `good`, `silent` and `refused` are the beginnings of URLs."""

    def __enter__(self):
        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.good = "http://127.0.0.1:%d" % self.server.server_port

        # The kernel accepts for it, and nobody ever answers.
        self.silent_socket = socket.create_server(("127.0.0.1", 0))
        self.silent = "http://127.0.0.1:%d" % self.silent_socket.getsockname()[1]

        # Bound, so that nobody else gets the port, but not listening.
        self.refused_socket = socket.socket()
        self.refused_socket.bind(("127.0.0.1", 0))
        self.refused = "http://127.0.0.1:%d" % self.refused_socket.getsockname()[1]

        # Ours only: no proxy that happens to be configured.
        self.environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.silent_socket.close()
        self.refused_socket.close()

# SPDX-License-Identifier: BSL-1.0
"""A web site for crawlers: pages that link to each other, and some that are held back until the test says so."""
import http.server
import threading

PAGES = 30  # /page/0 ... : each links to twice its number and one more, so that depth 5 reaches all


def links_of(number):
    return [each for each in (2 * number + 1, 2 * number + 2) if each < PAGES]


def body_of(number):
    links = "".join(f'<a href="/page/{each}">{each}</a>\n' for each in links_of(number))
    other = '<a href="http://127.0.0.1:9/elsewhere">another host</a> <a HREF=../page/0#top>back</a> <a href="mailto:x@y">'
    return f"<html>page {number}\n{links}{other}</html>".encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.site.requested(self.path, self.headers["User-Agent"].removeprefix("coir-fleet/"))
        if self.path == "/moved":
            self.answer(302, b"", {"Location": "/page/0"})
        elif self.path == "/loop":
            self.answer(200, b'<a href="/loop">here</a> <a href="/missing?a=1&amp;b=2">x</a>', {"Content-Type": "text/html"})
        elif self.path.startswith("/page/"):
            self.answer(200, body_of(int(self.path.split("/")[2])), {"Content-Type": "text/html; charset=utf-8"})
        else:
            self.answer(404, b"no such page", {})

    def answer(self, status, body, headers):
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # who asked has been killed

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_):
        pass


class Site:
    """Started by `with`. `hold(path)` before a request for it; then `holding(path)` waits until somebody has asked, and
    says who; `let_go(path)` has it answered, and all that ask later."""

    def __init__(self):
        self.lock = threading.Lock()
        self.requests = []  # (path, worker)
        self.held = {}
        self.asked = {}

    def __enter__(self):
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.site = self
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def hold(self, path):
        self.held[path] = threading.Event()
        self.asked[path] = threading.Event()

    def holding(self, path):
        assert self.asked[path].wait(60), f"nobody has asked for {path}"
        return next(worker for asked, worker in self.requests if asked == path)

    def let_go(self, path):
        self.held[path].set()

    def requested(self, path, worker):
        with self.lock:
            self.requests.append((path, worker))
        if path in self.held:
            self.asked[path].set()
            self.held[path].wait(60)

    def who_asked(self, path):
        return [worker for asked, worker in self.requests if asked == path]

    def __exit__(self, *_):
        for each in self.held.values():
            each.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

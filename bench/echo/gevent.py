# SPDX-License-Identifier: BSL-1.0
"""A greenlet per connection, gevent's sockets."""
import bench
import gevent
from gevent import socket


def serve(client):
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while data := client.recv(4096):
            client.sendall(data)
    except OSError:
        pass
    client.close()


bench.raise_descriptor_limit()
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(4096)
bench.show(port=listener.getsockname()[1])
while True:
    gevent.spawn(serve, listener.accept()[0])

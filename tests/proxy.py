"""A TCP proxy between the exporter and PostgreSQL, to cause faults on the wire at a chosen moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Proxy:
    """Forwards to a server on 127.0.0.1, until it is told to hold back or to cut what the server says."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._budget: int | None = None
        self.holding = threading.Event()
        """Set while something that the server said is held back."""
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def hold(self, after_bytes: int = 0) -> None:
        """Hold back what the server says, on each connection after its next `after_bytes` bytes."""
        self.holding.clear()
        self._budget = after_bytes
        self._flowing.clear()

    def release(self) -> None:
        """Let everything flow again, what was held back first."""
        self._flowing.set()

    def cut(self) -> None:
        """Close every connection where it stands."""
        for open_socket in list(self._sockets):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        self.release()

    def serve(self) -> None:
        """Accept connections until closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target_port))
                with self._lock:
                    self._sockets |= {client, server}
                self._start(self._forward, client, server)
                self._start(self._forward_back, server, client)

    def close(self) -> None:
        """End everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _start(self, function: object, *sockets: socket.socket) -> None:
        thread = threading.Thread(target=function, args=sockets)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _forward_back(self, server: socket.socket, client: socket.socket) -> None:
        spent = 0
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if not self._flowing.is_set():
                    allowed = max(0, (self._budget or 0) - spent)
                    client.sendall(data[:allowed])
                    spent += len(data[:allowed])
                    data = data[allowed:]
                    if data:
                        self.holding.set()
                        self._flowing.wait()
                client.sendall(data)
        with self._lock:
            self._sockets -= {client, server}
        client.close()
        server.close()


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """Run a proxy to a port of 127.0.0.1."""
    proxy = Proxy(port)
    accepting = threading.Thread(target=proxy.serve)
    accepting.start()
    try:
        yield proxy
    finally:
        proxy.close()
        accepting.join()

"""A cable to the database server that can be cut, or go silent without a word, and be mended."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Cable:
    """A TCP forwarder on loopback.

    Parameters
    ----------
    target
        Port that it leads to.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._refuses = False
        self._ends: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Every connection breaks, and nobody gets through."""
        self._refuses = True
        for end in list(self._ends):
            shut(end)

    def silence(self) -> None:
        """Nothing comes through any more, and nobody is told."""
        self._open.clear()

    def mend(self) -> None:
        """All is well again; what was under way arrives late."""
        self._refuses = False
        self._open.set()

    def close(self) -> None:
        """Away with it."""
        self.cut()
        self.mend()
        shut(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._connect(self._listener.accept()[0])

    def _connect(self, near: socket.socket) -> None:
        try:
            far = None if self._refuses else socket.create_connection(("127.0.0.1", self.target))
        except OSError:  # the server is down
            far = None
        if far is None:
            near.close()
            return
        self._ends |= {near, far}
        left = threading.Semaphore(0)
        for ends in ((near, far), (far, near)):
            threading.Thread(target=self._forward, args=(*ends, left), daemon=True).start()
        threading.Thread(target=self._bury, args=(near, far, left), daemon=True).start()

    def _forward(self, one: socket.socket, other: socket.socket, left: threading.Semaphore) -> None:
        with suppress(OSError):
            while content := one.recv(1 << 16):
                self._open.wait()
                other.sendall(content)
        shut(one)
        shut(other)
        left.release()

    def _bury(self, near: socket.socket, far: socket.socket, left: threading.Semaphore) -> None:
        """Both directions have ended."""
        left.acquire()
        left.acquire()
        self._ends -= {near, far}
        near.close()
        far.close()


def shut(end: socket.socket) -> None:
    """End both directions; who waits there wakes up."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)

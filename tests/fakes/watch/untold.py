"""What no audit event tells of: the port that the system chose for a socket, and what uvloop does in C.

Python's class over that of C is given a method that tells; what stands in it is found first.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .connections import NetworkWatch


def hear_of_ports(watch: NetworkWatch) -> None:
    bind = socket.socket.bind

    def bind_and_tell(self: socket.socket, address: Any) -> None:
        bind(self, address)
        watch.note_bound(self)

    socket.socket.bind = bind_and_tell  # type: ignore[method-assign, assignment]


def hear_of_uvloop(watch: NetworkWatch, loops: Any) -> None:
    """`loops` is `uvloop.Loop`. Its servers are bound as Python's sockets are; its datagrams go unseen."""
    look_up, connect = loops.getaddrinfo, loops.create_connection

    async def getaddrinfo(self: Any, host: Any, port: Any, **options: Any) -> Any:
        sys.audit("socket.getaddrinfo", host, port, 0, 0, 0)
        return await look_up(self, host, port, **options)

    async def create_connection(self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        if host is not None:
            sys.audit("socket.getaddrinfo", host, port, 0, 0, 0)
            watch.judge(host, int(port or 0))
        return await connect(self, factory, host, port, **options)

    loops.getaddrinfo, loops.create_connection = getaddrinfo, create_connection

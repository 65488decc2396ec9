"""Bounds on open connections, in all and from one address; connections without a request give way to new ones.

Plain bookkeeping; a connection is anything that can be closed.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from serving.limits import MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS


class Closable(Protocol):
    """A connection."""

    def give_way(self) -> None:
        """Close it now, to make room for another."""
        ...


class Connections:
    """The open connections by address. Each either waits (for a request, or for the rest of its head) or works."""

    def __init__(self, total: int = MAX_CONNECTIONS, per_address: int = MAX_CONNECTIONS_PER_ADDRESS) -> None:
        self._total = total
        self._per_address = per_address
        self._open: dict[str, set[Closable]] = {}
        self._waiting: dict[str, OrderedDict[Closable, None]] = {}  # longest first

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def admit(self, connection: Closable, address: str) -> bool:
        """Admit a connection, which waits from now on; False when none can give way because all work.

        At its address's bound, one of the same address gives way; at the bound of all, one of the address with most
        among those that have one that waits.
        """
        owner = client_of(address)
        if len(self._open.get(owner, ())) >= self._per_address:
            admitted = self._make_room(owner)
        elif len(self) >= self._total:
            waiting = [other for other in self._open if self._waiting[other]]
            admitted = bool(waiting) and self._make_room(max(waiting, key=lambda other: len(self._open[other])))
        else:
            admitted = True
        if admitted:
            self._open.setdefault(owner, set()).add(connection)
            self._waiting.setdefault(owner, OrderedDict())[connection] = None
        return admitted

    def works(self, connection: Closable, address: str) -> None:
        """The head of a request is complete: the connection does not give way until it waits again."""
        self._waiting.get(client_of(address), OrderedDict()).pop(connection, None)

    def waits(self, connection: Closable, address: str) -> None:
        """The answer is written."""
        owner = client_of(address)
        if connection in self._open.get(owner, ()):
            self._waiting[owner][connection] = None

    def forget(self, connection: Closable, address: str) -> None:
        """The connection is closed."""
        owner = client_of(address)
        if connection not in self._open.get(owner, ()):
            return
        self._open[owner].discard(connection)
        self._waiting[owner].pop(connection, None)
        if not self._open[owner]:
            del self._open[owner], self._waiting[owner]

    def _make_room(self, owner: str) -> bool:
        if not self._waiting[owner]:
            return False
        longest = next(iter(self._waiting[owner]))
        self.forget(longest, owner)
        longest.give_way()
        return True


def client_of(address: str) -> str:
    """The client that an address counts for: itself, or for IPv6 its /64 network, which belongs to one client."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))

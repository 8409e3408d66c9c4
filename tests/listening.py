"""At which addresses processes listen."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from tests.end_to_end.command_processes import psutil


def addresses_of(processes: Iterable[Any]) -> set[str]:
    """The addresses at which these processes take connections."""
    connections = [each for process in processes for each in process.net_connections("inet")]
    return {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}


def is_loopback(address: str) -> bool:
    """Whether this machine alone reaches it."""
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback

"""Addresses that the lab listens on, judged after they are resolved."""

import ipaddress
import socket
from typing import NamedTuple, Tuple

from gan_jax.core import errors


class Listening(NamedTuple):
    """Where to listen.

    Attributes:
        name: what people type, in the form that browsers send as Host.
        addresses: numbers to bind, with no name to look up again.
    """

    name: str
    addresses: Tuple[str, ...]

    @property
    def local(self):
        """Return whether this machine alone reaches all of them."""
        return all(_ip(address).is_loopback for address in self.addresses)


def resolve(host):
    """Return where to listen for a name or an address in any spelling.

    Args:
        host: str.

    Returns:
        `Listening`.

    Raises:
        errors.ConfigError: for what is no address, and for those that stand
            for all of a machine's: 0.0.0.0, '::', and what resolves to them.
    """
    if host in ('', '*'):
        raise _unspecified(host)
    addresses = _look_up(host)
    if any(_ip(address).is_unspecified for address in addresses):
        raise _unspecified(host)
    try:
        _look_up(host, socket.AI_NUMERICHOST)
    except errors.ConfigError:
        return Listening(host.lower(), addresses)
    name = str(_ip(addresses[0])).partition('%')[0]
    return Listening(f'[{name}]' if ':' in name else name, addresses)


def _unspecified(host):
    return errors.ConfigError(
        f'--host={host!r} is no address that people would type; it stands for '
        "all of this machine's: name one of them"
    )


def _look_up(host, flags=0):
    """Return the addresses of a name, each once, in the system's order."""
    try:
        found = socket.getaddrinfo(
            host, None, type=socket.SOCK_STREAM, flags=flags
        )
    except (OSError, UnicodeError) as error:
        raise errors.ConfigError(
            f'--host={host!r} is no address: '
            f'{getattr(error, "strerror", None) or "no name is like that"}'
        ) from error
    return tuple(dict.fromkeys(
        socket.getnameinfo(
            entry[4], socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        )[0] for entry in found
    ))


def _ip(address):
    """Return an `ipaddress` object; of IPv4 written as IPv6 the IPv4."""
    ip = ipaddress.ip_address(address)
    return getattr(ip, 'ipv4_mapped', None) or ip

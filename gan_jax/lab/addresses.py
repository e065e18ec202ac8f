"""Resolution of the address that the lab listens on.

A name is resolved once, and the numbers are checked and bound. Resolving it
again when binding could give another address than the one that was checked.
"""

import ipaddress
import socket
from typing import NamedTuple, Tuple

from gan_jax.core import errors


class Listening(NamedTuple):
    """Resolved address of the server.

    Attributes:
        name: name or number, in the form that browsers send as Host.
        addresses: numeric addresses to bind.
    """

    name: str
    addresses: Tuple[str, ...]

    @property
    def local(self):
        """Return whether only this machine can reach all addresses."""
        return all(_ip(address).is_loopback for address in self.addresses)


def resolve(host):
    """Resolve a host name, or a numeric address in any spelling.

    Args:
        host: str.

    Returns:
        `Listening`.

    Raises:
        errors.ConfigError: if `host` cannot be resolved, or stands for all
            addresses of the machine: 0.0.0.0, '::', or a name of them.
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
        f'--host={host!r} stands for all addresses of this machine; name one '
        'of them'
    )


def _look_up(host, flags=0):
    """Return the addresses of a name, each once, in the system's order."""
    try:
        entries = socket.getaddrinfo(
            host, None, type=socket.SOCK_STREAM, flags=flags
        )
    except (OSError, UnicodeError) as error:
        raise errors.ConfigError(
            f'--host={host!r} is not an address: '
            f'{getattr(error, "strerror", None) or "malformed name"}'
        ) from error
    return tuple(dict.fromkeys(
        socket.getnameinfo(
            entry[4], socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        )[0] for entry in entries
    ))


def _ip(address):
    """Parse an address; IPv4 mapped to IPv6 becomes IPv4."""
    ip = ipaddress.ip_address(address)
    return getattr(ip, 'ipv4_mapped', None) or ip

"""`glorext login`: keep a name and password for an OCI registry, after the registry took them."""

from __future__ import annotations

import getpass
import re
import sys

from glorext.runtime import DownloadError, UsageError
from glorext.runtime.cli import parser

from . import challenges
from .download import get_small
from .logins import Login, keep_login
from .oci import MAX_BYTES, address

HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?")


def login(host: str, given: Login) -> str:
    """Keep a login where docker would, once the registry at `host` took it; the words for where that is.

    Raises:
        DownloadError: the registry refuses it, or cannot be reached.
        UsageError: no host, or docker's configuration cannot be read.
    """
    if not HOST.fullmatch(host):
        raise UsageError(expected="a registry's host, such as registry.example.com:5000", found=repr(host[:200]))
    host = host.lower()
    with challenges.trying(host, given):
        base = address(host)
        challenges.register(base)
        get_small(base, MAX_BYTES, {})
    return keep_login(host, given)


def main(argv: list[str]) -> None:
    """`glorext login HOST --username NAME [--password-stdin]`."""
    arguments = parser(
        "login",
        "Keep a name and password for an OCI registry, where docker keeps its own: in its credential helper if it has "
        "one, else in ~/.docker/config.json.",
        "glorext login registry.example.com --username anna --password-stdin",
    )
    arguments.add_argument("host", metavar="HOST", help="the registry, with its port where it has one")
    arguments.add_argument("--username", required=True, metavar="NAME", help="the name, or that of a robot account")
    arguments.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    options = arguments.parse_args(argv)
    if options.password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = getpass.getpass(f"password of {options.username} at {options.host}: ")
    else:
        raise UsageError(expected="--password-stdin, since nobody can type here", found="no terminal")
    if not password:
        raise UsageError(expected="a password", found="none")
    try:
        kept = login(options.host, Login(options.username, password))
    except DownloadError as error:
        raise DownloadError(f"not kept: {error}") from None
    print(f"{options.host} takes {options.username}; kept in {kept}")

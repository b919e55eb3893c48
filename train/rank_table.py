"""Ascend's rank tables: which cards train together, and their addresses; and `glorext rank-table`."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from glorext.runtime.cli import parser as make_parser
from glorext.runtime.errors import DataError, SetupError, UsageError
from glorext.runtime.fields import Fields
from glorext.runtime.files import write_json
from glorext.runtime.log import get_logger

logger = get_logger("train")
HCCN = Path("/etc/hccn.conf")
NUMBER = re.compile("[0-9]{1,6}")
# CANN's documentation of rank tables: A3's are of version 1.2; Kubernetes writes "initializing" until all is known.
KNOWN = {"version": ("1.0", "1.2"), "status": ("completed",)}
ADDRESS = re.compile(r"^\s*address_(\d+)\s*=\s*(\S+)\s*$", re.M)


@dataclass(frozen=True)
class Card:
    """One card of a rank table: the host it is in, its number there, its network address, its rank."""

    server: str
    device_id: int
    device_ip: str
    rank: int


def read_rank_table(path) -> list[Card]:
    """The cards of a rank table, by rank.

    Raises:
        DataError: not a finished rank table of version 1.0 or 1.2, or ranks that are not 0, 1, 2, ...
    """
    top = Fields.read(path, do="Make one with `glorext rank-table`.")
    for key, known in KNOWN.items():
        if key in top:
            top.one_of(key, *known)
    cards = []
    for server in top.inners("server_list"):
        host = server.take("server_id", str)
        for device in server.inners("device"):
            card, rank = (int(device.matching(key, NUMBER, "a number as text")) for key in ("device_id", "rank_id"))
            cards.append(Card(host, card, device.take("device_ip", str) if "device_ip" in device else "", rank))
    cards.sort(key=lambda card: card.rank)
    if not cards or [card.rank for card in cards] != list(range(len(cards))):
        raise DataError(expected="the ranks 0, 1, 2, ...", found=[card.rank for card in cards], where=path)
    return cards


def cards_of_host(path, host: int) -> tuple[list[str], list[int]]:
    """The hosts of a rank table, and the numbers of the cards of one of them in the order in which msrun ranks them.

    Raises:
        DataError: no rank table, or one that msrun cannot follow: it starts the same number of processes on every host
            and gives those of one host consecutive ranks.
        UsageError: no such host.
    """
    cards = read_rank_table(path)
    servers = list(dict.fromkeys(card.server for card in cards))
    if not 0 <= host < len(servers):
        raise UsageError(expected=f"a host below {len(servers)}, the hosts of {path}", found=host, where="--host")
    per_host = len(cards) // len(servers)
    if [card.server for card in cards] != [server for server in servers for _ in range(per_host)]:
        raise DataError(
            expected="as many cards on every host, and consecutive ranks on each",
            found=", ".join(f"rank {card.rank} on {card.server}" for card in cards),
            where=path,
        )
    found = [card.device_id for card in cards if card.server == servers[host]]
    if found != sorted(found):
        logger.warning("%s: cards %s get their ranks in rising order: the driver takes no other", path, found)
    return servers, sorted(found)


def address_of(server: str) -> str | None:
    """The address in a rank table's `server_id`; None where it is a name."""
    try:
        return str(ip_address(server))
    except ValueError:
        return None


def make_rank_table(addresses: dict[int, str], devices: list[int], server: str) -> dict:
    """A rank table of version 1.0 for cards of one host.

    Args:
        addresses: network address of each card of the host.
        devices: the cards to use; the lowest has the lowest rank.
        server: the host's own address.
    """
    missing = [device for device in devices if device not in addresses]
    if missing:
        raise UsageError(expected=f"cards out of {sorted(addresses)}", found=missing, where="--devices")
    cards = [
        {"device_id": str(device), "device_ip": addresses[device], "rank_id": str(rank)}
        for rank, device in enumerate(sorted(devices))
    ]
    return _table({server: cards})


def merged(paths) -> dict:
    """One rank table of version 1.0 for the hosts of several, whose ranks follow each other in the order of `paths`.

    Raises:
        DataError: not a finished rank table of version 1.0, or a host that stands in two of them.
    """
    servers: dict[str, list[dict]] = {}
    count = 0
    for path in paths:
        top, seen = Fields.read(path), set(servers)
        if "version" in top:
            top.one_of("version", "1.0")  # an A3's table says more of each card
        for card in read_rank_table(path):
            if card.server in seen:
                raise DataError(
                    expected="each host in one table",
                    found=f"{card.server} again",
                    where=path,
                    do="Make each host's table with its own address: glorext rank-table --server ADDRESS.",
                )
            device = {"device_id": str(card.device_id), "device_ip": card.device_ip, "rank_id": str(count)}
            servers.setdefault(card.server, []).append(device)
            count += 1
    return _table(servers)


def _table(servers: dict[str, list[dict]]) -> dict:
    hosts = [{"server_id": server, "host_nic_ip": "reserve", "device": cards} for server, cards in servers.items()]
    return {"version": "1.0", "server_count": str(len(hosts)), "status": "completed", "server_list": hosts}


def card_addresses(conf: Path = HCCN) -> dict[int, str]:
    """Network address of each card of this host, from the driver's configuration or else from `hccn_tool`.

    Raises:
        SetupError: neither knows an address: there are no Ascend cards, or their network is not set up.
    """
    if conf.is_file():
        return {int(card): address for card, address in ADDRESS.findall(conf.read_text())}
    found = {}
    for card in sorted(int(node.name.removeprefix("davinci")) for node in Path("/dev").glob("davinci[0-9]*")):
        try:
            answer = subprocess.run(
                ["hccn_tool", "-i", str(card), "-ip", "-g"], capture_output=True, text=True, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        match = re.search(r"ipaddr:(\S+)", answer.stdout)
        if match:
            found[card] = match[1]
    if not found:
        raise SetupError(
            expected=f"Ascend cards with addresses in {conf} or from hccn_tool",
            found="none",
            do="Give them: glorext rank-table --devices 0,1 --addresses 192.168.100.100,192.168.101.100",
        )
    return found


def card_numbers(text: str, where: str) -> list[int]:
    """The cards that "0,1,2", "0-7" or hccl_tools' "[0,8)" names, each once; `where` names the flag in errors."""
    closed, half_open = re.fullmatch(r"(\d+)-(\d+)", text), re.fullmatch(r"\[\s*(\d+)\s*,\s*(\d+)\s*\)", text)
    match = closed or half_open
    found = list(range(int(match[1]), int(match[2]) + bool(closed))) if match else text.split(",")
    if not found or not all(str(part).isdecimal() for part in found) or len(set(map(int, found))) < len(found):
        raise UsageError(expected="cards as 0-7, [0,8) or 0,1,2, each once", found=text, where=where)
    return list(map(int, found))


def _address(text: str, where: str) -> str:
    address = address_of(text)
    if address is None:
        raise UsageError(expected="an IP address", found=text, where=where)
    return address


def main(argv: list[str]) -> int:
    """`glorext rank-table`: write a rank table, merge those of several hosts, or show the cards of one."""
    parser = make_parser(
        "rank-table",
        "Write a rank table for this host's Ascend cards, merge those of several hosts, or show one.",
        "glorext rank-table --devices 0-7 --out rank_table_8.json",
    )
    parser.add_argument("--devices", default="0-7", help="cards, 0-7, [0,8) or 0,2,4; the lowest has the lowest rank")
    parser.add_argument("--addresses", help="the cards' network addresses, instead of asking the driver")
    parser.add_argument("--server", default="127.0.0.1", help="this host's address")
    parser.add_argument("--merge", nargs="+", metavar="FILE", help="tables of one host each, host 0's first")
    parser.add_argument("--out", help="file to write")
    parser.add_argument("--show", metavar="FILE", help="print `rank device_id device_ip server` of an existing table")
    arguments = parser.parse_args(argv)
    if (arguments.out is None) == (arguments.show is None):
        raise UsageError(expected="one of --out and --show", found="none or both")
    if arguments.show:
        for card in read_rank_table(arguments.show):
            print(card.rank, card.device_id, card.device_ip, card.server)
        return 0
    if arguments.merge:
        table = merged(arguments.merge)
        write_json(arguments.out, table)
        print(f"{arguments.out}: {len(table['server_list'])} hosts")
        return 0
    devices = card_numbers(arguments.devices, "--devices")
    if arguments.addresses:
        given = [_address(text.strip(), "--addresses") for text in arguments.addresses.split(",")]
        if len(given) != len(devices):
            raise UsageError(expected=f"{len(devices)} addresses, one per card", found=len(given), where="--addresses")
        addresses = dict(zip(devices, given))
    else:
        addresses = card_addresses()
    write_json(arguments.out, make_rank_table(addresses, devices, _address(arguments.server, "--server")))
    print(f"{arguments.out}: {len(devices)} cards")
    return 0

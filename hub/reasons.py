"""Why a request failed, in words, and what to do about it."""

from __future__ import annotations

import errno
import socket
import ssl

LOGIN = (
    "GLOREXT_TOKENS=HOST=TOKEN gives a token, a line `machine HOST login NAME password PASSWORD` in ~/.netrc a "
    "password, `glorext login HOST` one for oci:// addresses"
)
# status: meaning, what to do
STATUSES = {
    401: ("the server wants a login", f"{LOGIN}."),
    403: ("the server forbids it", f"{LOGIN}; ask its administrator whether that may read here."),
    404: ("no such file", None),
    407: ("the proxy wants a login", "Write http://NAME:PASSWORD@HOST:PORT into HTTP_PROXY and HTTPS_PROXY."),
    410: ("it was removed", None),
    511: ("the network wants a login first", "Open any page in a browser and log in there."),
}
CERTIFICATE_HAS_EXPIRED, NOT_YET_VALID, OTHER_HOST, OTHER_ADDRESS = 10, 9, 62, 64
UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)


def of_status(code: int, phrase: str) -> tuple[str, str | None]:
    """Words and advice for the status of an answer that cannot be used."""
    words, do = STATUSES.get(code, (phrase, None))
    return f"status {code}: {words}", do


def of_error(error: BaseException) -> tuple[str, str | None, bool]:
    """Words, advice, and whether another attempt may succeed, for what `requests` raised."""
    causes = _causes(error)
    for explain in (_of_certificate, _of_tunnel, _of_proxy, _of_name, _of_connection):
        for cause in causes:
            if found := explain(cause):
                return found
    return _of_request(error)


def _causes(error: BaseException) -> list[BaseException]:
    """`error` and what lies behind it: the libraries wrap errors as arguments, as `reason` and as causes."""
    found: list[BaseException] = [error]
    for known in found:
        behind = (*known.args, getattr(known, "reason", None), known.__cause__, known.__context__)
        found += [item for item in behind if isinstance(item, BaseException) and all(item is not one for one in found)]
    return found


def _of_certificate(cause: BaseException) -> tuple[str, str | None, bool] | None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in (CERTIFICATE_HAS_EXPIRED, NOT_YET_VALID):
            do = "Check the clock of this machine; else the server needs a new certificate."
        elif cause.verify_code in (OTHER_HOST, OTHER_ADDRESS):
            do = "Use the name that the certificate is for; in a guest network, log in with a browser first."
        else:
            do = "Set REQUESTS_CA_BUNDLE to the certificate of your network's own authority, if it has one."
        return f"the server's certificate is not trusted: {cause.verify_message}", do, False
    if isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return "the connection broke off while TLS was agreed on", None, True
    if isinstance(cause, ssl.SSLError):
        if cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            return "the server answers without TLS", "Check its port, and whether its address begins with http:.", False
        return f"TLS fails: {cause.reason or cause}", None, False
    return None


def _of_tunnel(cause: BaseException) -> tuple[str, str | None, bool] | None:
    text = str(cause)
    if not isinstance(cause, OSError) or not text.startswith("Tunnel connection failed: "):
        return None
    answer = text.removeprefix("Tunnel connection failed: ")
    words, do = STATUSES[407] if answer.startswith("407") else (f"the proxy refuses it: {answer}", None)
    return words, do, answer.startswith("5")


def _of_proxy(cause: BaseException) -> tuple[str, str | None, bool] | None:
    import urllib3

    text = str(cause)
    if "SOCKS" in text and "ependenc" in text:
        return "a SOCKS proxy needs another library", "Install it: pip install 'requests[socks]'.", False
    if isinstance(cause, urllib3.exceptions.ProxyError) or type(cause).__name__.startswith("SOCKS"):
        return "the proxy cannot be reached", "Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY.", True
    return None


def _of_name(cause: BaseException) -> tuple[str, str | None, bool] | None:
    if not isinstance(cause, socket.gaierror):
        return None
    passing = cause.errno == getattr(socket, "EAI_AGAIN", None)
    words = "the name server does not answer" if passing else "no name server knows the host"
    return words, "Check the address and this machine's DNS; many networks have a proxy (HTTPS_PROXY).", passing


def _of_connection(cause: BaseException) -> tuple[str, str | None, bool] | None:
    import requests

    if isinstance(cause, ConnectionRefusedError):
        return "the connection is refused: nothing listens there", None, True
    if isinstance(cause, OSError) and cause.errno in UNREACHABLE:
        return "there is no way to that host", "Check this machine's network.", True
    if isinstance(cause, requests.ConnectTimeout):
        return "no connection came about in time", "A firewall may be in between; see HTTPS_PROXY.", True
    if isinstance(cause, (requests.Timeout, TimeoutError)):
        return "the server is silent", None, True
    return None


def _of_request(error: BaseException) -> tuple[str, str | None, bool]:
    import requests
    import urllib3

    if isinstance(error, requests.exceptions.InvalidHeader):
        return "the answer has a header that is none", None, False
    if isinstance(
        error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, urllib3.exceptions.HTTPError)
    ):
        return f"the connection broke off ({type(_causes(error)[-1]).__name__})", None, True
    if isinstance(error, (requests.RequestException, ValueError)):
        kind = type(error).__name__
        return f"an address, its own or a redirect's or a proxy's, cannot be asked ({kind})", None, False
    # such as a REQUESTS_CA_BUNDLE that names no file
    return str(error), None, False

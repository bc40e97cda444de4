"""What may stand in the query of a store URL, and what its values mean.

These are the options of redis-py's own URLs. They are read here, so that they mean the same with
every version of it, and so that a wrong one is told by its name.
"""

from __future__ import annotations

import codecs
import math
import ssl
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

__all__ = ["Malformed", "check_tls", "read_options"]

_LONGEST = 200


class Malformed(Exception):
    """Why a URL cannot be used, in words that hold no password."""


class _Option(NamedTuple):
    #: Raises ValueError, LookupError or OSError where the text is not allowed.
    read: Callable[[str], Any]
    #: What is allowed.
    allowed: str
    #: Whether it is nobody's business.
    secret: bool = False
    #: Whether it concerns how redis-py reads replies or keeps a pool, which streamhub does itself.
    ignored: bool = False


def _yes_or_no(text: str) -> bool:
    return {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}[
        text.lower()
    ]


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ValueError
    return seconds


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError
    return int(text)


def _some(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError
    return text


def _word(text: str) -> str:
    # Redis takes no others in names of clients.
    if not text or not all("!" <= character <= "~" for character in text):
        raise ValueError
    return text


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise FileNotFoundError
    return text


def _directory(text: str) -> str:
    if not Path(text).is_dir():
        raise FileNotFoundError
    return text


def _one_of(**values: Any) -> Callable[[str], Any]:
    return lambda text: values[text]


_TLS_VERSIONS = {
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
    **{str(int(one)): one for one in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)},
}


def _verify_flags(text: str) -> list[ssl.VerifyFlags]:
    return [ssl.VerifyFlags[one.strip()] for one in text.strip("[]").split(",")]


_BOOL = "yes or no"
_FILE = "the path of a file that is there"
_FLAGS = f"one or more of {', '.join(ssl.VerifyFlags.__members__)}, with commas between"

_OPTIONS = {
    "db": _Option(_count, "the number of a database"),
    "username": _Option(str, "text", secret=True),
    "password": _Option(str, "text", secret=True),
    "client_name": _Option(_word, "ASCII characters without spaces"),
    "socket_timeout": _Option(_seconds, "seconds, more than 0"),
    "socket_connect_timeout": _Option(_seconds, "seconds, more than 0"),
    "socket_keepalive": _Option(_yes_or_no, _BOOL),
    "lib_name": _Option(_word, "ASCII characters without spaces", ignored=True),
    "lib_version": _Option(_word, "ASCII characters without spaces", ignored=True),
    "socket_read_size": _Option(_count, "bytes", ignored=True),
    "retry_on_timeout": _Option(_yes_or_no, _BOOL, ignored=True),
    "health_check_interval": _Option(_count, "whole seconds", ignored=True),
    "max_connections": _Option(_count, "a number", ignored=True),
    "protocol": _Option(_one_of(**{"2": 2, "3": 3}), "2 or 3", ignored=True),
    "legacy_responses": _Option(_yes_or_no, _BOOL, ignored=True),
    "decode_responses": _Option(_yes_or_no, _BOOL, ignored=True),
    "encoding": _Option(codecs.lookup, "the name of an encoding", ignored=True),
    "encoding_errors": _Option(codecs.lookup_error, "what Python calls it", ignored=True),
}
_TLS_OPTIONS = {
    "ssl_cert_reqs": _Option(
        _one_of(none="none", optional="optional", required="required"),
        "none, optional or required",
    ),
    "ssl_check_hostname": _Option(_yes_or_no, _BOOL),
    "ssl_ca_certs": _Option(_file, _FILE),
    "ssl_ca_path": _Option(_directory, "the path of a directory that is there"),
    "ssl_ca_data": _Option(_some, "certificates in PEM"),
    "ssl_certfile": _Option(_file, _FILE),
    "ssl_keyfile": _Option(_file, _FILE),
    "ssl_password": _Option(str, "text", secret=True),
    "ssl_min_version": _Option(_TLS_VERSIONS.__getitem__, " or ".join(_TLS_VERSIONS)),
    "ssl_ciphers": _Option(_some, "names of ciphers, as OpenSSL writes them"),
    "ssl_include_verify_flags": _Option(_verify_flags, _FLAGS),
    "ssl_exclude_verify_flags": _Option(_verify_flags, _FLAGS),
}
_SENTINEL_OPTIONS = {
    "sentinel_username": _Option(str, "text", secret=True),
    "sentinel_password": _Option(str, "text", secret=True),
    "sentinel_tls": _Option(_yes_or_no, _BOOL),
}


def read_options(query: str, *, tls: bool, sentinel: bool = False) -> dict[str, Any]:
    """What the query says, as the connections of redis-py and ``sentinel_…`` take it.

    :param tls: whether the scheme asks for TLS.
    :raises Malformed: with the option, its value unless that is a secret, and what is allowed.
    """
    options: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:
        raise Malformed("its query is no percent-encoded UTF-8") from None
    for name, text in pairs:
        if name in options:
            raise Malformed(f"option {name} is given more than once")
        options[name] = text
    tls = tls or options.get("sentinel_tls", "").lower() in ("yes", "true", "1")
    known = {**_OPTIONS, **_TLS_OPTIONS, **(_SENTINEL_OPTIONS if sentinel else {})}
    found = {}
    for name, text in options.items():
        option = known.get(name)
        if option is None:
            shown = f"option {name}" if name.isidentifier() and text else "an option"
            raise Malformed(f"{shown} is unknown; allowed are {', '.join(sorted(known))}")
        if name in _TLS_OPTIONS and not tls:
            raise Malformed(f"option {name} is for TLS, which the scheme rediss:// asks for")
        value = _read(name, option, text)
        if not option.ignored:
            found[name] = value
    return found


def _read(name: str, option: _Option, text: str) -> Any:
    try:
        return option.read(text)
    except (ValueError, LookupError, OSError):
        shown = "" if option.secret else f" {_short(text)}"
        raise Malformed(f"option {name} is{shown}; allowed: {option.allowed}") from None


def check_tls(options: Mapping[str, Any], takes: Collection[str]) -> None:
    """That TLS can be set up with these options.

    :param takes: what connections of the installed redis-py take.
    :raises Malformed: it cannot.
    """
    if options.get("ssl_check_hostname") and options.get("ssl_cert_reqs") == "none":
        raise Malformed(
            "option ssl_check_hostname is yes, which needs ssl_cert_reqs to be required or optional"
        )
    if ("ssl_keyfile" in options or "ssl_password" in options) and "ssl_certfile" not in options:
        raise Malformed("option ssl_certfile is missing: a key is one of a certificate")
    for name in options:
        if name.startswith("ssl_") and name not in takes:
            raise Malformed(f"option {name} is unknown to the installed version of redis-py")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for names, attempt in _TLS_ATTEMPTS.items():
        if any(name in options for name in names):
            try:
                attempt(context, options)
            except (OSError, ValueError) as error:
                given = " and ".join(
                    f"{name} {_short(options[name])}" for name in names if name in options
                )
                reason = getattr(error, "reason", None) or type(error).__name__
                raise Malformed(f"option {given} cannot be used: {reason}") from None


_TLS_ATTEMPTS: dict[tuple[str, ...], Callable[[ssl.SSLContext, Mapping[str, Any]], object]] = {
    ("ssl_ca_certs",): lambda context, options: context.load_verify_locations(
        cafile=options["ssl_ca_certs"]
    ),
    ("ssl_ca_data",): lambda context, options: context.load_verify_locations(
        cadata=options["ssl_ca_data"]
    ),
    ("ssl_ciphers",): lambda context, options: context.set_ciphers(options["ssl_ciphers"]),
    # Without a password OpenSSL would ask for one at the terminal.
    ("ssl_certfile", "ssl_keyfile"): lambda context, options: context.load_cert_chain(
        options["ssl_certfile"],
        options.get("ssl_keyfile"),
        password=options.get("ssl_password", ""),
    ),
}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

"""Whether a request comes from a page of another site, which a browser sends with our cookies."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from .answers import bad_request
from .asked import Asked

__all__ = [
    "check_origins",
    "comes_from_elsewhere",
    "is_of_another_site",
    "refuse_from_elsewhere",
]

# What a browser adds to a request by itself, whoever made the page that sends it.
_BY_ITSELF = ("basic", "digest", "negotiate", "ntlm")


def check_origins(origins: Collection[str]) -> frozenset[str]:
    """
    :raises TypeError: they are one text.
    :raises ValueError: one is no origin.
    """
    if isinstance(origins, str):
        raise TypeError(f"origins must be several, in a list, not the one str {origins!r}")
    for origin in origins:
        parts = urlsplit(origin)
        if origin != "*" and origin != f"{parts.scheme}://{parts.netloc}":
            raise ValueError(f"an origin is written as https://example.org, not {origin!r}")
    return frozenset(origins)


def comes_from_elsewhere(request: Asked, origins: frozenset[str]) -> bool:
    """Whether a page of another site sends this with what authorises a user of ours.

    A request without cookies (nor a password that the browser keeps) proves by itself who sends
    it, and a program that is no browser says nothing of where it comes from: both are let through.
    """
    return _carries_what_browsers_add(request) and is_of_another_site(request, origins)


def is_of_another_site(request: Asked, origins: frozenset[str]) -> bool:
    """Whether a page of another site sends this, with or without anything that authorises it."""
    if "*" in origins:
        return False
    origin = request.headers.get("origin")
    if origin in origins:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    # A browser that does not say so, or one that reaches us without TLS. The scheme is not
    # compared: a proxy may have taken the TLS away.
    return origin is not None and _host_of(origin) not in request.headers.getlist("host")


def refuse_from_elsewhere(request: Asked, origins: frozenset[str]) -> None:
    """:raises BadRequest: a page of another site sends it."""
    if comes_from_elsewhere(request, origins):
        detail = "pages of other sites may not ask, stop or send here"
        raise bad_request("forbidden", detail, 403)


def _host_of(origin: str) -> str | None:
    """None of what no browser sends, and of an origin that is ``null``."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _carries_what_browsers_add(request: Asked) -> bool:
    scheme = (request.headers.get("authorization") or "").partition(" ")[0].lower()
    return request.headers.get("cookie") is not None or scheme in _BY_ITSELF

"""What of a request decides how it is answered: its headers and its query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl

__all__ = ["Asked", "Question", "Values"]


class Values(Protocol):
    """Headers, whose names are found in any case, or the parameters of a query."""

    def get(self, key: str, /) -> str | None: ...

    def getlist(self, key: str, /) -> list[str]: ...


class Asked(Protocol):
    """A request, as faces look at it. Starlette's is one as it is."""

    @property
    def headers(self) -> Values: ...

    @property
    def query_params(self) -> Values: ...


class Question:
    """The headers and the query of a request, in any framework."""

    def __init__(self, headers: Iterable[tuple[str, str]], query: str) -> None:
        self.headers: Values = _Headers((name.lower(), value) for name, value in headers)
        self.query_params: Values = _Query(parse_qsl(query, keep_blank_values=True))

    @classmethod
    def of_scope(cls, scope: Mapping[str, Any]) -> Question:
        """As ASGI brings it."""
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        ]
        return cls(headers, scope.get("query_string", b"").decode("latin-1"))

    @classmethod
    def of_environ(cls, environ: Mapping[str, Any]) -> Question:
        """As WSGI brings it."""
        headers = [
            (name[len("HTTP_") :].replace("_", "-"), value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ]
        return cls(headers, environ.get("QUERY_STRING", ""))


class _Headers:
    """Of those that come twice the first counts, unless all are asked for."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._pairs = list(pairs)

    def get(self, key: str, /) -> str | None:
        return next(iter(self.getlist(key.lower())), None)

    def getlist(self, key: str, /) -> list[str]:
        return [value for name, value in self._pairs if name == key]


class _Query(_Headers):
    """Of those that come twice the last counts."""

    def get(self, key: str, /) -> str | None:
        return next(reversed(self.getlist(key)), None)

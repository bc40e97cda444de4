"""Which face a request asks for."""

from __future__ import annotations

from ..answers import bad_request
from ..asked import Asked
from ..queries import bad_value, shortened
from .dialects import FACES, SSE
from .face import Face

__all__ = ["face_of", "negotiate"]

# Names of faces.
_BY_MEDIA_TYPE = {
    "text/event-stream": "sse",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/plain": "text",
}
_BY_WILDCARD = {
    "text/*": ("sse", "text"),
    "application/*": ("ndjson",),
    "*/*": ("sse", "ndjson", "text"),
}


def face_of(request: Asked) -> Face:
    """By ``?format=``, else by the ``Accept`` header.

    :raises BadRequest: no such format, or none that the client accepts.
    """
    named = request.query_params.get("format")
    if named is not None:
        if named not in FACES:
            raise bad_value("format", named, f"one of {', '.join(FACES)}", "unsupported_format")
        return FACES[named]
    accept = ",".join(request.headers.getlist("accept"))
    face = negotiate(accept)
    if face is None:
        offered = ", ".join(one.format(request).media_type for one in FACES.values())
        detail = f"offered are {offered}, not {shortened(accept)}"
        raise bad_request("not_acceptable", detail, 406)
    return face


def negotiate(accept: str | None) -> Face | None:
    """The face that an ``Accept`` header likes best; None if it likes none of ours.

    Without a header it is SSE. What cannot be understood in it is passed over.
    """
    if accept is None or not accept.strip():
        return SSE
    # What is named is not asked of the wildcards, and comes first among equals.
    named: dict[str, float] = {}
    covered: dict[str, float] = {}
    for entry in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = _quality(parameters)
        if (one := _BY_MEDIA_TYPE.get(media_type)) is not None:
            named[one] = max(quality, named.get(one, 0.0))
        for one in _BY_WILDCARD.get(media_type, ()):
            covered[one] = max(quality, covered.get(one, 0.0))
    wanted = {**named, **{name: q for name, q in covered.items() if name not in named}}
    best = max(wanted, key=wanted.__getitem__, default=None)
    return FACES[best] if best is not None and wanted[best] > 0 else None


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0

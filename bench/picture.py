"""The main rows as a picture: how much more each baseline takes than streamhub, as an SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from html import escape

from .rows import Line

__all__ = ["svg"]

_WIDTH, _LEFT, _RIGHT, _TOP, _STEP = 860, 230, 60, 48, 36
_LABEL = 36
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#212529}"
    ".small{font-size:11px}.row{stroke:#dee2e6}.grid{stroke:#f1f3f5}"
)
_COLOURS = {
    "streamhub": "#0b7285",
    "bare": "#868e96",
    "by hand": "#e8590c",
    "people": "#9c36b5",
}
_KINDS = {
    "bare": "bare",
    "bare hop": "bare",
    "bare waking": "bare",
    "redis-py's xrange": "bare",
    "round trip": "by hand",
    "reader each": "by hand",
    "round trip + reader each": "by hand",
    "xrange each": "by hand",
    "assistant-stream": "people",
    "fastapi-resumable-stream": "people",
    "dbos on Postgres": "people",
    "dbos on SQLite": "people",
    "sse-starlette": "people",
}
_LEGEND = {
    "streamhub": "streamhub",
    "bare": "the least that client and server can do",
    "by hand": "by hand, with redis-py",
    "people": "other libraries",
}


def svg(table: list[Line]) -> str:
    """Each pictured row is a line; a dot stands where a baseline takes so many times as much
    (time, processor or commands) as streamhub."""
    rows: dict[str, list[tuple[str, float]]] = {}
    for line in table:
        ratio = line.ratio or 0.0
        if line.row.pictured and line.baseline in _KINDS and ratio > 0:
            factor = ratio if line.row.more_is_better else 1 / ratio
            rows.setdefault(line.row.pictured, []).append((line.baseline, factor))
    factors = [factor for dots in rows.values() for _, factor in dots] or [1.0]
    low, high = math.log10(min(*factors, 0.5)), math.log10(max(*factors, 10) * 1.3)
    height = _TOP + _STEP * len(rows) + 56

    def x(factor: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log10(factor) - low) / (high - low)

    body = [*_axis(x, low, high, height), *_legend()]
    for at, (name, dots) in enumerate(rows.items()):
        y = _TOP + _STEP * at + 20
        body += [
            f'<text x="{_LEFT - 14}" y="{y + 4}" text-anchor="end">{escape(name)}</text>',
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" class="row"/>',
            f'<circle cx="{x(1):.1f}" cy="{y}" r="6" fill="{_COLOURS["streamhub"]}"/>',
        ]
        labelled = -_WIDTH * 1.0
        for baseline, factor in sorted(dots, key=lambda dot: dot[1]):
            colour, at_x = _COLOURS[_KINDS[baseline]], x(factor)
            # Below the line where the label before would be hit.
            above = at_x - labelled > _LABEL
            labelled = at_x if above else labelled
            place = f'<circle cx="{at_x:.1f}" cy="{y}" r="5" fill="{colour}">'
            note = f'<text x="{at_x + 4:.1f}" y="{y - 7 if above else y + 16}" class="small">'
            factor_text = f"{factor:.0f}" if factor >= 10 else f"{factor:.2g}"
            body += [
                f"{place}<title>{escape(baseline)}: {factor:.3g} times</title></circle>",
                f"{note}{factor_text} x</text>",
            ]
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    label = 'role="img" aria-label="How many times as much as streamhub each baseline takes"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>',
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        *body,
        "</svg>\n",
    ]
    return "\n".join(parts)


def _axis(x: Callable[[float], float], low: float, high: float, height: int) -> Iterator[str]:
    bottom = height - 44
    for power in range(math.ceil(low), math.floor(high) + 1):
        at = x(10**power)
        yield f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}" class="grid"/>'
        place = f'x="{at:.1f}" y="{bottom + 16}" text-anchor="middle"'
        yield f'<text {place} class="small">{10**power:g} x</text>'
    note = "how many times the time, processor or commands of streamhub (logarithmic)"
    yield f'<text x="{_LEFT}" y="{bottom + 34}" class="small">{note}</text>'


def _legend() -> Iterator[str]:
    at = 20
    for kind, text in _LEGEND.items():
        yield f'<circle cx="{at}" cy="24" r="5" fill="{_COLOURS[kind]}"/>'
        yield f'<text x="{at + 10}" y="28">{escape(text)}</text>'
        at += 40 + 7 * len(text)

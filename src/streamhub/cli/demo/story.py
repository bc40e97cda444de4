"""What the demo's model answers, and how it comes in tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

__all__ = ["STORY", "poems", "tokens"]

STORY = """\
A lighthouse is the simplest message ever built: I am here, and the rocks are beside me. For two \
thousand years that sentence was written in fire. Keepers carried wood up the stairs, then oil, \
then paraffin, and wound the clockwork that turned the lens through the night. A ship might see \
the light for an hour, lose it behind the rain, and find it again without having missed a word, \
because the lamp repeats itself until morning.

The lens is the clever part. Two centuries ago Augustin Fresnel cut thick glass into rings and \
stacked them like the steps of a theatre, so that one small flame could be seen from the horizon. \
Each tower turns in a rhythm of its own: two flashes and a pause, or one every ten seconds. \
Sailors read that rhythm like a name.

Most keepers have gone home by now. The lamps look after themselves, and nobody knows who is \
watching. They shine anyway, for whoever comes late.\
"""

_BEGINNING = (
    "Certainly! Here is a poem for every lighthouse in the world, all twenty thousand of them, "
    "from north to south."
)
_POEM = (
    "\n\nPoem {number}. It stands upon a rock, alone, a tower made of light and stone, and those "
    "who pass it in the dark will thank it for a single spark."
)

_TOKEN = re.compile(r"\s*(?:[^\W\d_]{1,7}|\d+|[^\w\s]|_)|\s+")


def tokens(text: str) -> list[str]:
    """The text in the pieces that a language model might make of it."""
    return _TOKEN.findall(text)


def poems() -> Iterator[str]:
    """The tokens of an answer that nobody wants to hear to its end."""
    yield from tokens(_BEGINNING)
    for number in count(1):
        yield from tokens(_POEM.format(number=number))

"""What scripts are made of."""

from __future__ import annotations

import re

import pytest

from streamhub.stores.redis.layout.scripts import Script, load_scripts

SCRIPTS = load_scripts()
# What is defined at the top of a script, and what is called or read by that name anywhere.
DEFINED = re.compile(rb"^local (?:function )?(\w+)", re.MULTILINE)
# What an append needs of the prelude: whatever else stood there would be made anew with each.
OF_APPEND = (
    b"sharded now_ms int number are_terms load whole refusal stored tell extend "
    b"now try_call read handle append answers"
).split()


def test_an_append_begins_with_what_it_uses_of_the_prelude_and_no_more() -> None:
    """Redis runs all of a script each time."""
    assert OF_APPEND == DEFINED.findall(SCRIPTS["append"].text)


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_script_has_all_that_it_uses_of_the_prelude(script: Script) -> None:
    """Nothing is called that only another script has; comments are not sent."""
    every = {name for one in SCRIPTS.values() for name in DEFINED.findall(one.text)}
    own = DEFINED.findall(script.text)
    for name in every - set(own):
        assert not re.search(rb"(?<![.\w])%s\(" % name, script.text), name
    assert b"--" not in script.text

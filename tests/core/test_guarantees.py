"""docs/guarantees.md names a test for every guarantee, and every fault of the campaign."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from ..faults.pairs import FIRSTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
TESTS = re.findall(r"`((?:tests|src)/[\w/]+\.py)::(\w+)`", PAGE)
SECTIONS = {
    title.split()[0]: text
    for title, _, text in (
        section.partition("\n") for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    )
}


@cache
def functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("number", range(1, 14))
def test_every_guarantee_has_its_basis_its_limits_and_a_test(number: int) -> None:
    """G1 to G13: what it rests on, what it does not promise, and a test by its number."""
    section = SECTIONS[f"G{number}"]

    assert "**Rests on**" in section
    assert "**Does not promise**" in section
    assert f"::test_g{number}_" in section


@pytest.mark.parametrize(("path", "name"), TESTS, ids=lambda value: str(value).rpartition("/")[2])
def test_every_test_that_is_named_exists(path: str, name: str) -> None:
    """Under this name, in this file."""
    assert name in functions(ROOT / path)


def test_every_fault_of_the_campaign_is_listed() -> None:
    """And no other: a line for each, once for all kinds of connections that it strikes."""
    campaign = {re.sub(r" (pubsub|writer) only$", "", name) for name in FIRSTS}
    rows = re.findall(r"^\| ([a-z ]+) \|", SECTIONS["Faults"], re.MULTILINE)

    assert sorted(campaign) == sorted(rows)

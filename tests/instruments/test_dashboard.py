"""The dashboard and the alert rules: what they ask for is there."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from streamhub import Hub
from streamhub.instruments.prometheus import PrometheusInstrument

from .scrapes import Scrape

PACKAGED = files("streamhub.instruments.prometheus")
PAGE = Path(__file__).parents[2] / "docs" / "seeing.md"
#: What Prometheus adds to all that it reads.
OF_TARGETS = {"job", "instance"}
#: What Grafana puts in.
_VARIABLES = {"$__rate_interval": "5m", "$job": ".*", "$instance": ".*"}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(PACKAGED.joinpath("alerts.yml").read_text())["groups"]
    assert "streamhub" == group["name"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PACKAGED.joinpath("dashboard.json").read_text())
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Of every rule, panel and variable."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in _VARIABLES.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            (asked,) = re.findall(r"label_values\((.*), \w+\)", variable["definition"])
            yield variable["name"], asked.replace("$job", ".*")


@pytest.fixture(scope="module")
def scrape() -> Scrape:
    """Of a hub that works."""
    registry = CollectorRegistry()

    async def work() -> Scrape:
        async with Hub(instruments=[PrometheusInstrument(registry)]) as hub:
            await (await hub.run("a", ["x"])).wait()
            return Scrape(generate_latest(registry).decode())

    return asyncio.run(work())


def test_they_name_what_there_is(scrape: Scrape) -> None:
    """Every metric, every label and every value of a label in an expression is in a real scrape."""
    labels = scrape.labels()
    wrong = []
    for where, expression in expressions():
        tree = promql_parser.parse(expression)
        selectors = list(_selectors(tree))
        assert selectors, expression
        known = set(OF_TARGETS)
        for selector in selectors:
            if selector.name not in labels:
                wrong.append((where, selector.name))
                continue
            known |= labels[selector.name]
            for matcher in selector.matchers.matchers:
                exact = {(selector.name, (matcher.name, matcher.value))} & {
                    (name, label) for name, *pairs in scrape.samples for label in pairs
                }
                if matcher.name not in OF_TARGETS and not exact:
                    wrong.append((where, f"{selector.name}{{{matcher.name}={matcher.value}}}"))
        wrong += [(where, label) for label in _grouped_by(tree) if label not in known]

    assert [] == wrong


def test_every_metric_is_shown(scrape: Scrape) -> None:
    """What is measured and not drawn is not found at three in the morning."""
    shown = {
        re.sub(r"_(bucket|sum|count)$", "", selector.name)
        for _, expression in expressions()
        for selector in _selectors(promql_parser.parse(expression))
    }
    measured = {
        f"{name}_total" if family.type == "counter" else name
        for name, family in scrape.families.items()
    }

    assert set() == measured - shown


def test_the_page_names_every_metric(scrape: Scrape) -> None:
    """And no other, in its table, with the labels of each."""
    section = PAGE.read_text().partition("## Metrics")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| (`.*) \|$", section, re.MULTILINE)
    named = re.findall(r"`(?:streamhub)?_(\w+)(?:\{(\w+)\})?`", " ".join(rows))
    measured = []
    for name, family in scrape.families.items():
        (labels,) = {frozenset(sample.labels) - {"le"} for sample in family.samples}
        total = "_total" if family.type == "counter" else ""
        measured.append((f"{name.removeprefix('streamhub_')}{total}", "".join(labels)))

    assert sorted(measured) == sorted(named)


def test_each_rule_says_what_it_means() -> None:
    """For how long it must hold, how bad it is, and what is the matter; the page on it says what to
    do, under its name."""
    told = PAGE.read_text()
    for rule in rules():
        assert {"alert", "expr", "for", "labels", "annotations"} == {*rule}
        assert re.fullmatch(r"\d+m", rule["for"])
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert all(rule["annotations"][text] for text in ("summary", "description"))
        assert f"**{rule['alert']}**" in told, rule["alert"]
    names = [rule["alert"] for rule in rules()]
    assert names == re.findall(r"^\*\*(Streamhub\w+)\*\*", told, re.MULTILINE)
    assert len(names) == len({*names})


def test_the_dashboard_can_be_imported() -> None:
    """No panel overlaps another, each says what it shows, and each asks the chosen data source."""
    taken: set[tuple[int, int]] = set()
    every = dashboard()["panels"]
    for panel in every:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    for panel in panels():
        assert panel["description"]
        assert "${datasource}" == panel["datasource"]["uid"]
        assert "unit" in panel["fieldConfig"]["defaults"]
    assert len(every) == len({panel["id"] for panel in every})
    names = [one["name"] for one in dashboard()["templating"]["list"]]
    assert ["datasource", "job", "instance"] == names


def _nodes(tree: Any) -> Iterator[Any]:
    """The expression and all that it is made of."""
    yield tree
    for part in ("lhs", "rhs", "expr", "param", "vector_selector"):
        below = getattr(tree, part, None)
        if below is not None:
            yield from _nodes(below)
    for argument in getattr(tree, "args", ()):
        yield from _nodes(argument)


def _selectors(tree: Any) -> Iterator[Any]:
    return (one for one in _nodes(tree) if isinstance(one, promql_parser.VectorSelector))


def _grouped_by(tree: Any) -> set[str]:
    found: set[str] = set()
    for one in _nodes(tree):
        modifier = getattr(one, "modifier", None)
        labels = getattr(modifier, "labels", None) or getattr(
            getattr(modifier, "matching", None), "labels", None
        )
        found |= {*(labels or ())}
    return found

"""The example of a deploy: its files against the schemas of who takes them, and what stands in them
in processes: the command of the image, the path of the probes, the configuration of the proxy."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from streamhub import Hub
from streamhub.formats.sse import Event
from streamhub.stores.redis.checkup import Level, check_up
from streamhub.testing.waiting import unhurried, until, within

from ..http.serving import Followed
from ..support.redis_server import HOST, RedisServer, free_port
from .following import EXAMPLES, Running
from .services import Services, numbers

kubernetes_validate = pytest.importorskip("kubernetes_validate")

pytestmark = pytest.mark.integrations

FOLDER = EXAMPLES / "deploy"
SERVE = "uvicorn app:app --port 8000 --timeout-graceful-shutdown 25"
SECOND = "uvicorn app:app --port 8001 --timeout-graceful-shutdown 25"
PROGRAMS = Path(sys.executable).parent


def manifests() -> list[dict[str, Any]]:
    files = sorted((FOLDER / "kubernetes").glob("*.yaml"))
    return [one for file in files for one in yaml.safe_load_all(file.read_text())]


def pod() -> dict[str, Any]:
    (deployment,) = [one for one in manifests() if one["kind"] == "Deployment"]
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def compose() -> dict[str, Any]:
    """The file as Docker Compose reads it, which checks it by its schema."""
    command = [str(PROGRAMS / "docker-compose"), "--file", str(FOLDER / "compose.yaml")]
    read = subprocess.run(
        [*command, "config", "--format", "json"], capture_output=True, text=True, check=False
    )
    assert 0 == read.returncode, read.stderr
    found: dict[str, Any] = json.loads(read.stdout)["services"]
    return found


def command_of_the_image() -> list[str]:
    (written,) = re.findall(r"^CMD (.*)$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    words: list[str] = json.loads(written)
    return words


# Kubernetes knows preStop's sleep from 1.30 on, unless it is told not to.
@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_takes_the_manifests(version: str) -> None:
    """They have no field that it does not know, and none of another type."""
    for one in manifests():
        kubernetes_validate.validate(one, version, strict=True)


def test_the_parts_of_the_manifests_belong_together() -> None:
    """What selects finds, what names is there, and no credential stands in any of them."""
    by_kind = {(one["kind"], one["metadata"]["name"]): one for one in manifests()}
    (container,) = pod()["containers"]
    labels = by_kind["Deployment", "web"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        by_kind["Deployment", "web"]["spec"]["selector"]["matchLabels"],
        by_kind["Service", "web"]["spec"]["selector"],
        by_kind["PodDisruptionBudget", "web"]["spec"]["selector"]["matchLabels"],
    ]
    (variable,) = container["env"]
    reference = variable["valueFrom"]["secretKeyRef"]
    url = by_kind["Secret", reference["name"]]["stringData"][reference["key"]]
    (port,) = container["ports"]

    assert [labels] * 3 == selectors
    assert ("STREAMHUB_URL", "redis://redis:6379/0") == (variable["name"], url)
    assert ("Service", "redis") in by_kind
    assert command_of_the_image()[-3] == str(port["containerPort"])
    for probe in ("readinessProbe", "livenessProbe"):
        assert {"path": "/health", "port": port["name"]} == container[probe]["httpGet"]
    assert port["name"] == by_kind["Service", "web"]["spec"]["ports"][0]["targetPort"]


def test_who_stops_an_instance_waits_for_it() -> None:
    """Answers get less time than the server, and the server less than what it is killed after; the
    page on deploys has these numbers."""
    (drain,) = re.findall(r"^DRAIN = (\d+)\.0", (FOLDER / "app.py").read_text(), re.MULTILINE)
    server = int(command_of_the_image()[-1])
    (container,) = pod()["containers"]
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = pod()["terminationGracePeriodSeconds"]
    page = (EXAMPLES.parent / "docs" / "deploys.md").read_text()
    table = page.partition("\n## Under Kubernetes\n")[2].partition("\n## ")[0]
    told = {
        name: int(value)
        for name, value in re.findall(r"^\| `(.*?)` \| (\d+) \|", table, re.MULTILINE)
    }

    assert int(drain) < server
    assert sleep + server < grace
    assert {
        "preStop: sleep": sleep,
        "lifespan(hub, drain=…)": int(drain),
        "--timeout-graceful-shutdown": server,
        "terminationGracePeriodSeconds": grace,
    } == told
    for name in ("web-1", "web-2"):
        assert f"{server + 5}s" == compose()[name]["stop_grace_period"]


def test_docker_compose_takes_the_file() -> None:
    """Its instances are those that the proxy asks, and are as healthy as their probe says."""
    services = compose()
    asked = re.findall(r"\b([\w-]+):8000", (FOLDER / "Caddyfile").read_text())

    assert {"web-1", "web-2", "proxy", "redis"} == services.keys()
    assert ["web-1", "web-2"] == asked
    for name in asked:
        assert "http://127.0.0.1:8000/health" in services[name]["healthcheck"]["test"][-1]
        assert {"STREAMHUB_URL": "redis://redis:6379/0"} == services[name]["environment"]


async def test_the_doctor_finds_nothing_to_mend_in_its_redis(
    make_redis: Callable[..., RedisServer],
) -> None:
    """Started as both files start it."""
    (stateful,) = [one for one in manifests() if one["kind"] == "StatefulSet"]
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    server = make_redis(arguments=container["args"][1:])
    found = (await check_up(server.url)).findings

    assert container["args"] == compose()["redis"]["command"]
    assert {Level.OK, Level.NOTE} >= {one.level for one in found}
    assert "append-only file" in " ".join(one.found for one in found)


@asynccontextmanager
async def proxy(site: Services, ports: list[int]) -> AsyncIterator[str]:
    """Caddy with the file of the example, in front of these ports; its address."""
    port = free_port()
    file = site.folder / "Caddyfile"
    text = file.read_text().replace(":8080 {", f"http://{HOST}:{port} {{")
    for number, one in enumerate(ports, 1):
        text = text.replace(f"web-{number}:8000", f"{HOST}:{one}")
    file.write_text(text)
    command = "caddy run --config Caddyfile --adapter caddyfile"
    variables = {"HOME": str(site.folder), "XDG_CONFIG_HOME": str(site.folder)}
    async with await Running.start(command, site.folder, variables):
        yield f"http://{HOST}:{port}"


@pytest.mark.slow
async def test_an_instance_is_replaced_in_the_middle_of_an_answer(
    tmp_path: Path, redis_url: str
) -> None:
    """Through the proxy its reader gets all of the answer, from the other one, and no error."""
    assert ["--host", "0.0.0.0"] == command_of_the_image()[2:4]
    assert shlex.split(SERVE) == command_of_the_image()[:2] + command_of_the_image()[4:]
    changes = {
        "PAUSE = 0.25": f"PAUSE = {unhurried(0.02)}",
        "DRAIN = 20.0": f"DRAIN = {unhurried(0.2)}",
    }
    site = Services("deploy", tmp_path, changes=changes, STREAMHUB_URL=redis_url)
    told: list[Event] = []

    async def follow(client: httpx.AsyncClient) -> None:
        """As an EventSource does, which comes again with the id of its last event."""
        while not told or told[-1].event != "end":
            headers = {"last-event-id": told[-1].id} if told else {}
            async with client.stream("GET", "/chats/1/answer", headers=headers) as response:
                assert 200 == response.status_code
                followed = Followed(response)
                with suppress(EOFError):
                    while True:
                        told.append(await followed.next())

    async def is_begun() -> bool:
        return len(told) > 20

    async with (
        site.served(SERVE) as first,
        site.served(SECOND),
        proxy(site, [site.port_of(one) for one in ("8000", "8001")]) as url,
        httpx.AsyncClient(base_url=url, timeout=None) as client,
        Hub.from_url(redis_url) as hub,
        asyncio.TaskGroup() as group,
    ):
        for probe in ("readinessProbe", "livenessProbe"):
            path = pod()["containers"][0][probe]["httpGet"]["path"]
            assert 200 == (await client.get(path)).status_code
        await client.post(f"{site.url}/chats/1", params={"question": "Why"})
        following = group.create_task(follow(client))
        await until(is_begun)
        first.signal(signal.SIGTERM)
        await first.ended()
        await within(following)
        stream = await hub.get("chat:1")
        assert stream is not None
        assert 1 == (await stream.info()).handovers

    assert [*range(1, 201)] == numbers(told)
    assert {"message", "end"} == {one.event for one in told}
    assert "finished" in told[-1].data

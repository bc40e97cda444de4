"""The package as its users get it: the wheel, complete and working away from the source tree, and
the release that makes it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

import streamhub

from ..support.built_package import ROOT, build

PROGRAM = """
import asyncio, sys
import streamhub

async def main(url):
    async with streamhub.Hub.from_url(url) as hub:
        stream = await hub.run("chat:1", ["Hello", ", ", "world"])
        print("".join([chunk.data async for chunk in stream.subscribe()]))

print(streamhub.__file__)
asyncio.run(main(sys.argv[1]))
"""

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(set((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")))
#: Where a copy of the repository might be seen.
ADDRESS = "https://example.org/team/streamhub"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel installed into it, and nothing else."""
    directory = tmp_path_factory.mktemp("site")
    _run("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(directory), str(wheel))
    return directory


@pytest.mark.slow
def test_the_wheel_holds_the_whole_package(wheel: Path) -> None:
    """Every source file is in the wheel, with the scripts and the marker that it is typed."""
    sources = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "streamhub").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("streamhub/")}

    assert sources == packed
    assert "streamhub/py.typed" in packed
    assert "streamhub/demo/page/index.html" in packed
    assert any(name.startswith("streamhub/stores/redis/layout/lua/") for name in packed)


@pytest.mark.slow
def test_the_source_distribution_is_all_that_its_tests_need(tmp_path: Path) -> None:
    """Every file of the repository is in it, but what git leaves out."""
    with tarfile.open(build(tmp_path, what="sdist")) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    asked = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    try:
        listed = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no clone of the repository")
    kept = {name for name in listed.splitlines() if (ROOT / name).is_file()}

    assert {"PKG-INFO"} == packed - kept
    assert set() == kept - packed


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["memory", "redis"])
def test_a_program_runs_on_the_installed_wheel(
    backend: str, site: Path, redis_url: str, tmp_path: Path
) -> None:
    """What a user installs publishes and subscribes."""
    url = redis_url if backend == "redis" else "memory://"
    output = _run("-c", PROGRAM, url, cwd=tmp_path, path=site).splitlines()

    assert [str(site / "streamhub" / "__init__.py"), "Hello, world"] == output


@pytest.mark.slow
def test_the_command_is_installed(site: Path, tmp_path: Path) -> None:
    """The wheel brings the ``streamhub`` command."""
    command = site / "bin" / "streamhub"

    assert "demo" in _run(str(command), "--help", cwd=tmp_path, path=site)


@pytest.mark.slow
def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    """Its metadata has the links of the project and the license."""
    with ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        facts = HeaderParser().parsestr(archive.read(name).decode())

    assert PROJECT["version"] == facts["Version"]
    assert "MIT" == facts["License-Expression"]
    assert {f"{label}, {url}" for label, url in PROJECT["urls"].items()} == {
        *facts.get_all("Project-URL", [])
    }


def test_the_package_knows_its_version() -> None:
    """As it is installed; ``import streamhub`` alone does not look it up."""
    program = "import streamhub, sys; print('importlib.metadata' in sys.modules)"

    assert PROJECT["version"] == streamhub.__version__
    assert "False\n" == _run("-c", program, path=ROOT / "src")
    with pytest.raises(AttributeError, match="no attribute 'versoin'"):
        assert streamhub.versoin  # type: ignore[attr-defined]


def test_the_urls_of_the_project_lead_somewhere() -> None:
    """They name documents of the repository, as long as it has no address of its own."""
    assert [] == [url for url in PROJECT["urls"].values() if not (ROOT / url).is_file()]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("README.md", "CHANGELOG.md", "pyproject.toml", "tools/release.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def _release(copy: Path, tag: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(copy / "tools" / "release.py"), tag, ADDRESS],
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_version_can_be_released_as_it_stands(copy: Path) -> None:
    """Its tag is accepted, the changelog has its notes, and the package's page gets links with the
    address in front, all of which lead to documents that are there."""
    tag = f"v{PROJECT['version']}"
    released = _release(copy, tag)
    urls = tomllib.loads((copy / "pyproject.toml").read_text())["project"]["urls"]
    links = re.findall(r"\]\(([^)#\s]+)\)", (copy / "README.md").read_text())
    places = {
        link.removeprefix(f"{ADDRESS}/{kind}/{tag}/")
        for link in [*urls.values(), *links]
        for kind in ("blob", "raw")
        if link.startswith(f"{ADDRESS}/{kind}/")
    }

    assert (0, "") == (released.returncode, released.stderr)
    assert "### Added" in released.stdout
    assert "\n## " not in released.stdout
    assert f"{ADDRESS}/raw/{tag}/docs/demo.png" in links
    assert [] == [link for link in [*urls.values(), *links] if not link.startswith("https://")]
    assert [] == [place for place in places if not (ROOT / place).is_file()]
    assert PROJECT.keys() == tomllib.loads((copy / "pyproject.toml").read_text())["project"].keys()


@pytest.mark.parametrize("tag", ["v99.0.0", PROJECT["version"], f"v{PROJECT['version']}.1", ""])
def test_a_tag_that_is_not_the_version_is_refused(copy: Path, tag: str) -> None:
    """Nothing is changed, and it says which version there is."""
    released = _release(copy, tag)

    assert 1 == released.returncode
    assert PROJECT["version"] in released.stderr
    assert (ROOT / "README.md").read_text() == (copy / "README.md").read_text()


def test_a_version_without_notes_is_refused(copy: Path) -> None:
    """The heading that is missing is named."""
    (copy / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n- Everything.\n")
    released = _release(copy, f"v{PROJECT['version']}")

    assert 1 == released.returncode
    assert f"## [{PROJECT['version']}]" in released.stderr


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_whole_and_may_do_little(path: Path) -> None:
    """Jobs wait for jobs that are there, end in time, name what they use by a version, and have no
    right to write that they do not need. What comes from outside is never part of a script."""
    workflow = _yaml(path)
    jobs = workflow["jobs"]

    assert {"contents": "read"} == workflow["permissions"]
    for name, job in jobs.items():
        assert {*job.get("needs", [])} <= {*jobs}
        assert "uses" in job or job["timeout-minutes"] <= 60
        assert name in ("publish", "announce") or "permissions" not in job
        for step in job.get("steps", []):
            assert ("uses" in step) != ("run" in step)
            assert "${{" not in step.get("run", "")
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@(v\d+|release/v\d+)", step.get("uses", "a/b@v1"))
    called = [job["uses"] for job in jobs.values() if "uses" in job]
    assert [] == [one for one in called if not (ROOT / one).is_file()]


def test_what_the_workflows_run_is_there() -> None:
    """Scripts, tools and make targets that a step names exist."""
    steps = [
        s for path in WORKFLOWS for j in _yaml(path)["jobs"].values() for s in j.get("steps", [])
    ]
    runs = [step["run"] for step in steps if "run" in step]
    targets = {
        *re.findall(r"^([a-z-]+)(?: [a-z-]+)*:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    }
    made = {
        name
        for run in runs
        if run.startswith("make ")
        for name in re.findall(r" ([a-z-]+)\b(?!=)", run)
    }
    named = {name for run in runs for name in re.findall(r"[\w./-]+\.(?:py|sh)\b", run)}

    assert {"test", "check", "install-dev"} <= made <= targets | {"install-dev"}
    assert {".github/server-program.sh", "tools/release.py"} == named
    assert [] == [name for name in named if not (ROOT / name).is_file()]


def test_the_workflow_covers_what_the_package_claims() -> None:
    """Every Python of the classifiers, the oldest and the newer servers, the lowest versions of all
    packages, the newest, and the wheel away from its source."""
    jobs = _yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    images = [*matrix["image"], *(one["image"] for one in matrix["include"])]
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    runs = {
        name: "\n".join(step.get("run", "") for step in job.get("steps", []))
        for name, job in jobs.items()
    }

    assert claimed == matrix["python"]
    assert ["6.2", "7.4", "8.1", "8.2"] == sorted(re.findall(r":([\d.]+)-", "\n".join(images)))
    assert "-r requirements/lowest.txt" in runs["lowest"]
    assert "make test NEWEST=yes" in runs["newest"]
    assert "make check-wheel" in runs["wheel"]


def test_one_job_publishes_and_needs_no_password() -> None:
    """The package index trusts the workflow; all tests have passed before."""
    jobs = _yaml(ROOT / ".github" / "workflows" / "release.yml")["jobs"]

    assert {"id-token": "write"} == jobs["publish"]["permissions"]
    assert ["test", "build"] == jobs["publish"]["needs"]
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text()


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_asks_for_what_it_labels(path: Path) -> None:
    """Every field has a label and a name of its own."""
    form = _yaml(path)
    if path.name == "config.yml":
        assert {"blank_issues_enabled": False} == form
        return
    fields = [field for field in form["body"] if field["type"] != "markdown"]

    assert {"name", "description", "labels", "body"} == {*form}
    assert len(fields) == len({field["id"] for field in fields})
    assert all(field["attributes"]["label"] for field in fields)
    assert {"textarea", "dropdown"} >= {field["type"] for field in fields}


def test_updates_are_proposed_for_what_the_repository_uses() -> None:
    """The actions of the workflows, and the packages of pyproject.toml."""
    updates = _yaml(ROOT / ".github" / "dependabot.yml")["updates"]

    assert {"github-actions", "pip"} == {one["package-ecosystem"] for one in updates}


@pytest.mark.parametrize("name", ["SECURITY.md", "RELEASING.md", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_a_page_about_the_project_names_what_is_there(name: str) -> None:
    """Its links, and the files and targets that it mentions."""
    text = (ROOT / name).read_text()
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    files = re.findall(r"`([\w./-]+/[\w./-]+\.(?:py|md|yml|sh))`", text)

    assert [] == [one for one in [*links, *files] if not (ROOT / one).exists()]


def _run(*args: str, cwd: Path = ROOT, path: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": "" if path is None else str(path)}
    done = subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert 0 == done.returncode, done.stdout
    return done.stdout

"""What the workflows refer to exists: jobs, matrix keys, scripts, extras, markers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="needs a checkout; a source archive has none")


def jobs(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


ALL = [pytest.param(job, jobs(path), id=f"{path.stem}-{name}") for path in WORKFLOWS
       for name, job in jobs(path).items()]  # fmt: skip


@pytest.mark.parametrize(("job", "others"), ALL)
def test_a_job_waits_for_jobs_of_its_workflow(job: dict[str, Any], others: dict[str, Any]) -> None:
    needs = job.get("needs", [])
    assert set([needs] if isinstance(needs, str) else needs) <= set(others)


@pytest.mark.parametrize(("job", "others"), ALL)
def test_a_job_reads_the_keys_of_its_matrix(job: dict[str, Any], others: dict[str, Any]) -> None:
    matrix = job.get("strategy", {}).get("matrix", {})
    assert set(re.findall(r"matrix\.(\w+)", str(job))) == set(matrix)


@pytest.mark.parametrize(("job", "others"), ALL)
def test_a_job_is_bounded_and_its_actions_have_versions(
    job: dict[str, Any], others: dict[str, Any]
) -> None:
    assert job.get("timeout-minutes", 0) > 0
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert "uses" not in step or re.fullmatch(r"[\w/-]+@[\w/.]+", step["uses"])


@pytest.mark.parametrize(("job", "others"), ALL)
def test_commands_name_scripts_extras_and_markers_that_exist(
    job: dict[str, Any], others: dict[str, Any]
) -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    markers = {m.partition(":")[0] for m in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    for command in commands(job):
        for script in re.findall(r"(?<![\w/])\.ci/\w+", command):
            assert (ROOT / script).is_file()
        for names in re.findall(r'"\.\[([\w,]+)\]"', command):
            assert set(names.split(",")) <= set(extras)
        for expression in re.findall(r'-m "([^"]+)"', command):
            assert set(expression.split()) - {"not", "and", "or"} <= markers


def test_what_is_published_is_what_the_build_kept() -> None:
    release = jobs(ROOT / ".github" / "workflows" / "release.yml")
    kept, taken = (
        step["with"]
        for job in ("build", "publish")
        for step in release[job]["steps"]
        if "artifact" in step.get("uses", "")
    )
    assert kept == taken


def test_dependabot_watches_folders_that_exist() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "pip"}
    assert all((ROOT / update["directory"].lstrip("/")).is_dir() for update in updates)

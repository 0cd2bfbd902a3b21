"""Runs a project's workflows with act, on this machine, as they stand.

Every `uses:` has a stand-in under stand_ins/actions; act itself stands in for actions/checkout.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Project, commit_all, run_in
from machine import STAND_INS, tool

REPOSITORY = "acme/credit-risk"
SMOKE_API_KEY = "key-of-the-smoke-tests"
CHECKOUT = "actions/checkout"


def load(path: Path) -> dict[str, Any]:
    """Read YAML; `on` stays a word."""
    text = re.sub(r"^on:", "'on':", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def steps(folder: Path) -> Iterator[dict[str, Any]]:
    """Every step of every workflow and composite action under a .github folder."""
    for path in sorted(folder.rglob("*.yml")):
        content = load(path)
        for job in content.get("jobs", {}).values():
            yield from job.get("steps", [])
        yield from content.get("runs", {}).get("steps", [])


def uses(folder: Path) -> dict[str, set[str]]:
    """Each action of somebody else's that is used, and the inputs that it is given."""
    found: dict[str, set[str]] = {}
    for step in steps(folder):
        name = step.get("uses", "./")
        if not name.startswith("./"):
            found.setdefault(name, set()).update(step.get("with", {}))
    return found


def stand_in(name: str) -> Path:
    return STAND_INS / "actions" / name.split("@")[0]


def check_out(project: Project) -> Project:
    """The project as a repository of REPOSITORY, for a runner to check out, with its API key."""
    path = project.path / "ops" / "project.json"
    if path.exists():
        entry = f"smoke:{hashlib.sha256(SMOKE_API_KEY.encode()).hexdigest()}"
        ops = json.loads(path.read_text(encoding="utf-8"))
        ops["api_keys"] = {"staging": [entry], "production": [entry]}
        path.write_text(json.dumps(ops), encoding="utf-8")
    run_in(project.path, "git", "init", "--quiet", "--initial-branch", "main")
    address = f"https://github.com/{REPOSITORY}.git"
    run_in(project.path, "git", "remote", "add", "origin", address)
    commit_all(project.path, "Generated")
    return project


@dataclass(frozen=True)
class Run:
    """What became of a workflow's run."""

    passed: bool
    # The jobs that ran, and their results; a job that was skipped is not among them.
    jobs: dict[str, str]
    log: str = field(repr=False)
    summary: str

    def expect(self, **jobs: str) -> None:
        """The jobs that ran are exactly these, with these results, and the run is red if one is."""
        if self.jobs != jobs or self.passed != (set(jobs.values()) <= {"success"}):
            others = {name for name, result in self.jobs.items() if jobs.get(name) != result}
            told = [
                "\n".join(line for line in self.log.splitlines() if line.startswith(f"{name}|"))
                for name in sorted(others)
            ]
            text = "\n\n".join(each[-8000:] for each in [*told, self.log])
            pytest.fail(f"{jobs} was expected of {self}\n{text}", pytrace=False)


def act(
    project: Project,
    workflow: str,
    event: str,
    lab: Path,
    *,
    payload: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    ref: str = "refs/heads/main",
) -> Run:
    """Run one workflow for one event; `lab` is a folder for what the runner needs."""
    artifacts, home, temporary = lab / "artifacts", lab / "home", lab / "tmp"
    shutil.rmtree(artifacts, ignore_errors=True)  # every run of act has the number 1
    for folder in (artifacts, home, temporary):
        folder.mkdir(parents=True, exist_ok=True)
    owner, name = REPOSITORY.split("/")
    repository = {"full_name": REPOSITORY, "name": name, "owner": {"login": owner}}
    body = {"ref": ref, "repository": {**repository, "default_branch": "main"}, **(payload or {})}
    (lab / "event.json").write_text(json.dumps(body), encoding="utf-8")
    stand_ins = [
        f"--local-repository={use}={stand_in(use)}"
        for use in uses(project.path / ".github")
        if not use.startswith(CHECKOUT)
    ]
    inside = {"STAND_IN_ARTIFACTS": str(artifacts), "TMPDIR": str(temporary), **(env or {})}
    uv = Path(tool("uv")).resolve().parent
    kept = ("UV_CACHE_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "LANG", "PIP_CACHE_DIR")
    # act is no part of the project: it sees nothing of the environment that the tests run in.
    clean = {key: os.environ[key] for key in kept if key in os.environ}
    clean |= {"HOME": str(home), "PATH": f"{STAND_INS / 'bin'}:{uv}:/usr/local/bin:/usr/bin:/bin"}
    result = run_in(
        project.path,
        *("env", "-i", *(f"{key}={value}" for key, value in clean.items())),
        *(
            tool("act"),
            event,
            f"--workflows=.github/workflows/{workflow}",
            f"--eventpath={lab / 'event.json'}",
        ),
        *("--platform=ubuntu-latest=-self-hosted", "--no-cache-server", "--json", *stand_ins),
        *(
            f"--action-cache-path={lab / 'act'}",
            "--actor=somebody",
            "--secret=GITHUB_TOKEN=token-of-the-run",
            f"--secret=SMOKE_API_KEY={SMOKE_API_KEY}",
        ),
        *(f"--var={key}={value}" for key, value in (variables or {}).items()),
        *(f"--env={key}={value}" for key, value in {**clean, **inside}.items()),
        check=False,
    )
    return read(result.returncode, result.stdout + result.stderr)


def read(status: int, output: str) -> Run:
    """Read act's log of JSON lines."""
    jobs: dict[str, str] = {}
    log: list[str] = []
    summary: list[str] = []
    for line in output.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            entry = {"msg": line}
        if not isinstance(entry, dict):
            entry = {"msg": line}
        message = str(entry.get("msg", ""))
        if entry.get("jobResult"):
            jobs[entry["jobID"]] = entry["jobResult"]
        if entry.get("command") == "summary":
            summary.append(entry["content"])
        log.append(f"{entry.get('jobID', '')}| {message.rstrip()}")
    text = "\n".join(log)
    # act leaves a job out, with exit 0, where its runs-on is not mapped.
    if "unsupported platform" in text:
        pytest.fail(f"act left a job out:\n{text[-4000:]}", pytrace=False)
    return Run(status == 0, jobs, text, "\n".join(summary))

"""The workflows: read by their linters, held to the house's rules, and ci.yml run by act."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from act import CHECKOUT, Run, act, check_out, load, stand_in, steps, uses
from answers import SETS
from conftest import Project, outside, run_in
from machine import STAND_INS, buildah, dvc_cache, tool, train

Fresh = Callable[..., Project]
WORKFLOWS = ("ci", "release", "rollback")
# What a job may do beside reading the code, and why it must.
PERMISSIONS = {
    ("release", "image"): {"id-token": "write", "attestations": "write"},
    ("release", "staging"): {"id-token": "write", "attestations": "read"},
    ("release", "production"): {"id-token": "write", "attestations": "read"},
    ("rollback", "rollback"): {"id-token": "write", "attestations": "read"},
}


def workflow(project: Project, name: str) -> dict[str, Any]:
    return load(project.path / ".github" / "workflows" / f"{name}.yml")


def jobs(project: Project) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (name, key, job)
        for name in WORKFLOWS
        for key, job in workflow(project, name)["jobs"].items()
    ]


def lint(folder: Path) -> str:
    """What actionlint (with shellcheck), zizmor and shellcheck find under a .github folder."""
    found = ""
    lists = (
        [
            tool("actionlint"),
            f"-shellcheck={tool('shellcheck')}",
            "-pyflakes=",
            *folder.rglob("workflows/*.yml"),
        ],
        [
            tool("zizmor"),
            "--offline",
            "--persona=pedantic",
            "--no-progress",
            "--quiet",
            folder.parent,
        ],
        [tool("shellcheck"), *folder.rglob("*.sh")],
    )
    for command in lists:
        if command[-1] != command[0]:  # some file to look at
            result = run_in(folder, *command, check=False)
            found += (result.stdout + result.stderr) if result.returncode else ""
    return found


@pytest.mark.parametrize("name", SETS)
def test_linters_find_nothing(render: Fresh, name: str) -> None:
    assert lint(render(**SETS[name]).path / ".github") == ""


def test_linters_find_nothing_in_the_workshop(template: Path, tmp_path: Path) -> None:
    # A copy, without the stand-ins and the product.
    copy = shutil.copytree(template / ".github", tmp_path / ".github")
    assert lint(copy) == ""


def test_linters_find_what_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "bad.yml").write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"
        "      - run: echo ${{ github.event.head_commit.message }} $unquoted\n",
        encoding="utf-8",
    )
    found = lint(tmp_path / ".github")
    assert "SC2086" in found
    assert "template-injection" in found


def test_actions_are_pinned_by_commit(project: Project, template: Path) -> None:
    pinned: dict[str, set[str]] = {}
    for folder in (project.path / ".github", template / ".github"):
        for path in folder.rglob("*.yml"):
            for action, rest in re.findall(r"uses: ([^./\s][^@\s]*)(.*)", path.read_text("utf-8")):
                assert re.fullmatch(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+", rest), (
                    f"{path}: {action}{rest}"
                )
                pinned.setdefault(action, set()).add(rest)
    assert len(pinned) >= 7
    assert {action: pins for action, pins in pinned.items() if len(pins) > 1} == {}


# The newest uv whose checksum a release of setup-uv holds, from its release notes: what
# `version: latest-known` installs there.
LATEST_KNOWN_UV = {"v10.0.1": "0.12.4"}


def test_the_uv_that_the_workflows_bring_is_new_enough(fresh: Fresh, template: Path) -> None:
    project = fresh()
    workflows = project.read(".github/workflows/ci.yml")
    (tag,) = set(re.findall(r"astral-sh/setup-uv@\w+ # (\S+)", workflows))
    assert "version: latest-known" in workflows
    uv = ("uv", "tool", "run", "--quiet", f"uv@{LATEST_KNOWN_UV[tag]}")
    project.run(*uv, "sync", "--locked", "--quiet")
    run_in(template, *uv, "lock", "--check", "--quiet")


def test_stand_ins_know_the_inputs_that_are_used(project: Project) -> None:
    used = uses(project.path / ".github")
    for name, given in used.items():
        if not name.startswith(CHECKOUT):
            declared = load(stand_in(name) / "action.yml")["inputs"]
            assert given <= set(declared), name
            required = {key for key, entry in declared.items() if entry.get("required") is True}
            assert required <= given, name
    kept = {
        str(path.parent.relative_to(STAND_INS / "actions"))
        for path in STAND_INS.rglob("action.yml")
    }
    assert kept == {name.split("@")[0] for name in used} - {CHECKOUT}


def test_jobs_have_the_least_permissions_and_a_time_limit(project: Project) -> None:
    for name in WORKFLOWS:
        assert workflow(project, name)["permissions"] == {}
    for name, key, job in jobs(project):
        reads = {"contents": "read"} if any("uses" in step for step in job["steps"]) else {}
        assert job["permissions"] == reads | PERMISSIONS.get((name, key), {}), f"{name}: {key}"
        assert 0 < job["timeout-minutes"] <= 45
        assert job["runs-on"] == "ubuntu-latest"


def test_no_step_keeps_credentials_or_pastes_text_into_a_script(project: Project) -> None:
    for step in steps(project.path / ".github"):
        assert "${{" not in step.get("run", "")
        if step.get("uses", "").startswith(CHECKOUT):
            # Beside it at most the commit before, whose callers must not break.
            given = {"fetch-depth": 2, **step["with"]}
            assert given == {"persist-credentials": False, "fetch-depth": 2}


def test_nothing_in_ci_needs_a_secret(project: Project) -> None:
    text = project.read(".github/workflows/ci.yml")
    assert set(load(project.path / ".github/workflows/ci.yml")["on"]) == {
        "pull_request",
        "push",
        "merge_group",
    }
    assert not re.search(r"secrets\.|vars\.|environment:|pull_request_target", text)


def test_the_required_check_always_reports(project: Project) -> None:
    ci = workflow(project, "ci")
    required = ci["jobs"].pop("pass")
    assert required["if"] == "always()"
    assert sorted(required["needs"]) == sorted(ci["jobs"])
    assert "paths" not in str(ci["on"])  # a filtered workflow leaves a required check pending


def test_an_apply_is_never_cancelled_and_its_role_belongs_to_its_environment(
    project: Project,
) -> None:
    applying = {}
    for name, key, job in jobs(project):
        deploys = [step for step in job["steps"] if step.get("uses", "").endswith("actions/deploy")]
        assert ("environment" in job) == bool(deploys), key  # the trust of the roles hangs on it
        for step in deploys:
            applying[f"{name} {key}"] = (job["environment"], step["with"]["environment"])
            assert job["concurrency"]["cancel-in-progress"] is False
            role = step["with"]["role"]
            assert f"AWS_{job['environment'].upper()}_ROLE_ARN" in role or name == "rollback"
        if deploys:
            assert "cancel-in-progress: true" not in project.read(f".github/workflows/{name}.yml")
    chosen = "${{ inputs.environment }}"
    assert applying == {
        "release staging": ("staging", "staging"),
        "release production": ("production", "production"),
        "rollback rollback": (chosen, chosen),
    }


def test_no_cloud_leaves_ci_alone(render: Fresh) -> None:
    folder = render(cloud="none").path / ".github"
    assert {path.name for path in folder.rglob("*.yml")} == {"ci.yml", "dependabot.yml"}
    ecosystems = [
        entry["package-ecosystem"] for entry in load(folder / "dependabot.yml")["updates"]
    ]
    assert ecosystems == ["github-actions", "uv", "docker"]


def test_dependabot_groups_what_there_is(project: Project) -> None:
    updates = load(project.path / ".github" / "dependabot.yml")["updates"]
    ecosystems = [entry["package-ecosystem"] for entry in updates]
    assert ecosystems == ["github-actions", "uv", "docker", "terraform"]
    assert all(entry["groups"] for entry in updates)


@contextmanager
def deploying(project: Project, folder: Path, **programs: str) -> Iterator[subprocess.Popen[bytes]]:
    """The deploy action's script, on programs that are a few lines of shell each."""
    (folder / "bin").mkdir()
    for name, lines in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{lines}\n", encoding="utf-8")
        (folder / "bin" / name).chmod(0o755)
    (folder / "ops").mkdir()
    shutil.copy(project.path / "ops" / "project.json", folder / "ops")
    tool("jq")
    env = {
        "PATH": f"{folder / 'bin'}:{outside()['PATH']}",
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        "GITHUB_REPOSITORY": "a/b",
        "ENVIRONMENT": "production",
        "DIGEST": NEW,
        "AWS_REGION": "eu-central-1",
        "ECR_REPOSITORY_URL": "registry/b",
        "TF_STATE_BUCKET": "state",
    }
    script = project.path / ".github" / "actions" / "deploy" / "deploy.sh"
    with subprocess.Popen(
        ["bash", script], cwd=folder, env=env, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            for group in (process.pid, *(int(path.name) for path in folder.glob("running/*"))):
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)


NEW, OLD = f"sha256:{64 * 'a'}", f"sha256:{64 * 'b'}"
CLOUD = {
    "aws": f"""[ $2 = put-parameter ] && echo $6 >> recorded; echo '["{OLD}"]'""",
    "docker": "cat",
    "gh": "true",
}


def test_a_cancelled_deploy_lets_terraform_end(project: Project, tmp_path: Path) -> None:
    """The runner signals the script alone, not the processes that it has started."""
    apply = (
        "[ $2 = apply ] || exit 0\ntrap 'echo released > lock; exit 1' INT\n"
        "mkdir -p running/$$; echo held > lock\nfor i in {1..200}; do sleep 0.05; done"
    )
    lock = tmp_path / "lock"
    with deploying(
        project, tmp_path, **CLOUD, terraform=apply, make="echo smoke >> lock"
    ) as process:
        for _ in range(200):
            if lock.exists():
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert lock.read_text(encoding="utf-8") == "released\n"  # and no smoke suite, no way back
    assert b"cancelled during the apply" in output


@pytest.mark.parametrize("healthy", [OLD, NEW, "none"])
def test_an_apply_that_fails_goes_back(project: Project, tmp_path: Path, healthy: str) -> None:
    apply = (
        "[ $2 = apply ] || exit 0\necho $TF_VAR_image_digest >> applied\n"
        f"[ $TF_VAR_image_digest = {healthy} ]"
    )
    with deploying(project, tmp_path, **CLOUD, terraform=apply, make="true") as process:
        output, _ = process.communicate(timeout=20)
    applied = (tmp_path / "applied").read_text(encoding="utf-8").split()
    assert applied == [NEW] if healthy == NEW else [NEW, OLD]
    assert (tmp_path / "recorded").exists() == (healthy == NEW)
    assert process.returncode == (0 if healthy == NEW else 1)
    said = {NEW: f"{NEW} is live", OLD: f"went back to {OLD}", "none": f"and so did {OLD}"}
    assert said[healthy] in output.decode()


def run_ci(project: Project, shared: Path, lab: Path, **kwargs: Any) -> Run:
    env = {"STAND_IN_BUILDAH": " ".join(buildah().command), **dvc_cache(shared)}
    return act(project, "ci.yml", "pull_request", lab, env=env, **kwargs)


@pytest.mark.slow
@pytest.mark.suite
def test_ci_is_green_on_what_was_generated(fresh: Fresh, shared: Path, tmp_path: Path) -> None:
    train(shared, fresh())  # once for all tests; the run finds its stages in DVC's cache
    project = check_out(fresh())
    fork = {
        "head": {"ref": "x'; touch pwned #", "repo": {"fork": True, "full_name": "somebody/fork"}}
    }
    run = run_ci(
        project, shared, tmp_path, payload={"pull_request": {**fork, "title": "$(touch pwned)"}}
    )
    run.expect(
        check="success", test="success", train="success", image="success", **{"pass": "success"}
    )
    assert "gate" in run.summary.lower()
    assert "headline.json" in run.summary
    assert "| passed | loss saved against constant" in run.summary
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.slow
def test_ci_is_red_where_something_is_broken(fresh: Fresh, shared: Path, tmp_path: Path) -> None:
    """A lint error, a broken test and a model below the gate, each in the job it belongs to."""
    project = fresh()
    (project.package / "broken.py").write_text("import os\n", encoding="utf-8")
    for suite in (project.path / "tests").iterdir():  # the broken test alone is quick to run
        if suite.is_dir():
            shutil.rmtree(suite)
    unit = project.path / "tests" / "unit"
    unit.mkdir()
    (unit / "test_broken.py").write_text(
        "def test_broken() -> None:\n    assert False\n", encoding="utf-8"
    )
    params = project.path / "params.yaml"
    text = project.read("params.yaml")
    harder = text.replace("min_gain_over_constant: 0", "min_gain_over_constant: 1000")
    assert harder != text
    params.write_text(harder, encoding="utf-8")
    run = run_ci(check_out(project), shared, tmp_path)
    run.expect(check="failure", test="failure", train="failure", **{"pass": "failure"})
    assert "F401" in run.log
    assert "test_broken" in run.log
    assert re.search(r"\*\*refused\*\* \| loss saved against constant", run.summary)


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["check", "test", "train", "image", None])
def test_the_required_check_fails_with_each_job(
    fresh: Fresh, tmp_path: Path, broken: str | None
) -> None:
    """ci.yml as it stands, on targets that do nothing, but one that fails."""
    project = fresh()
    targets = "".join(
        f"{name}:\n\t{'false' if name == broken else 'true'}\n"
        for name in ("check", "test", "image")
    )
    train = (
        "false"
        if broken == "train"
        else "mkdir -p models/serving && touch models/serving/model.json"
    )
    (project.path / "Makefile").write_text(f"{targets}train:\n\t{train}\n", encoding="utf-8")
    result = {
        name: "failure" if name == broken else "success"
        for name in ("check", "test", "train", "image")
    }
    if broken == "train":
        del result["image"]
    outcome = "failure" if broken else "success"
    act(check_out(project), "ci.yml", "pull_request", tmp_path).expect(
        **result, **{"pass": outcome}
    )

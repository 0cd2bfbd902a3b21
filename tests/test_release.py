"""release.yml and rollback.yml, run by act.

The registry is Debian's, on loopback; an environment is the image of the digest that terraform was
given, started by buildah.
"""

import http.server
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from act import Run, act, check_out
from conftest import Project, commit_all
from machine import answers, buildah, dvc_cache, free_port, registry, tool, train

pytestmark = pytest.mark.slow
ENVIRONMENTS = ("staging", "production")
ROLES = {
    f"AWS_{name.upper()}_ROLE_ARN": f"arn:aws:iam::123456789012:role/credit-risk-github-{name}"
    for name in ("build", *ENVIRONMENTS)
}
RELEASED = dict.fromkeys(("setup", "train", "image", "staging", "production"), "success")


@dataclass
class World:
    """A project on its forge, with its cloud."""

    project: Project
    lab: Path
    variables: dict[str, str]
    env: dict[str, str]
    wrong: str
    releases: list[Run] = field(default_factory=list)

    @property
    def cloud(self) -> Path:
        return self.lab / "cloud"

    def lines(self, name: str) -> list[str]:
        path = self.cloud / name
        return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []

    def live(self, environment: str) -> str:
        """The digest of the image that runs, which must also answer."""
        (url,) = self.lines(f"{environment}/url")
        assert answers(f"{url}/health/ready")
        return self.lines(f"{environment}/applied")[-1]

    def spoil(self, environment: str) -> None:
        """Have the next digest that is applied there answer wrongly."""
        (self.cloud / environment / "spoil-next").write_text(self.wrong, encoding="utf-8")

    def commit(self, text: str) -> str:
        with (self.project.path / "README.md").open("a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")
        return commit_all(self.project.path, text)

    def push_by_hand(self, tag: str) -> str:
        """Push an image as somebody would who has the registry's password, but not the workflow."""
        repository, digest = self.variables["ECR_REPOSITORY_URL"], self.lab / "digest"
        with buildah().container(self.lines("pushes")[0]) as (name, _):
            buildah()("config", "--env", f"BY_HAND={tag}", name)
            buildah()("commit", "--quiet", "--format=docker", name, f"{repository}:{tag}")
        how = ("--tls-verify=false", "--digestfile", digest)
        buildah()("push", *how, f"{repository}:{tag}")
        return digest.read_text(encoding="utf-8")

    def release(self, **kwargs: Any) -> Run:
        options = {"variables": self.variables, "env": self.env, **kwargs}
        return act(self.project, "release.yml", "push", self.lab, **options)

    def rollback(self, environment: str, digest: str = "") -> Run:
        payload = {"inputs": {"environment": environment, "digest": digest}}
        options: dict[str, Any] = {"variables": self.variables, "env": self.env}
        return act(
            self.project, "rollback.yml", "workflow_dispatch", self.lab, payload=payload, **options
        )


class WrongAnswers(http.server.BaseHTTPRequestHandler):
    """A service that is up and knows nothing."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"status": "ready", "label": "wrong", "value": -1, "predictions": []}')

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def wrong_service() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), WrongAnswers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def world(
    shared: Path, project: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Two commits have been released, one after the other."""
    train(shared, project)  # the runs find its stages in DVC's cache
    lab = tmp_path_factory.mktemp("release")
    path = shutil.copytree(project.path, lab / project.path.name, symlinks=True)
    tests = Path(__file__).parent
    schema = ("--schema", next((tests / "terraform_schema").glob("schema-aws*.json.gz")))
    provider = (
        sys.executable,
        tests / "terraform_schema" / "with_schema_providers.py",
        *schema,
        "--",
    )
    for program in ("curl", "jq", "terraform"):
        tool(program)
    with registry(lab / "registry") as host, wrong_service() as wrong:
        images = f"{host}/credit-risk/service"
        env = {
            "STAND_IN_CLOUD": str(lab / "cloud"),
            "STAND_IN_BUILDAH": " ".join(buildah().command),
            "STAND_IN_TERRAFORM": " ".join(map(str, (*provider, tool("terraform")))),
            "STAND_IN_REGISTRY": host,
            "STAND_IN_IMAGES": images,
            "STAND_IN_BUCKET": "state-of-credit-risk",
            "BUILDAH_LAYERS": "true",
            **dvc_cache(shared),
        }
        variables = {
            "AWS_REGION": "eu-central-1",
            "ECR_REPOSITORY_URL": images,
            "TF_STATE_BUCKET": "state-of-credit-risk",
            **ROLES,
        }
        made = World(check_out(Project(path, {})), lab, variables, env, wrong)
        for environment in ENVIRONMENTS:
            (made.cloud / environment).mkdir(parents=True)
            address = f"http://127.0.0.1:{free_port()}\n"
            (made.cloud / environment / "url").write_text(address, encoding="utf-8")
        try:
            made.releases.append(made.release())
            made.releases[0].expect(**RELEASED)
            made.commit("A second release")
            made.releases.append(made.release())
            made.releases[1].expect(**RELEASED)
            yield made
        finally:
            for pid in made.cloud.glob("*/pid"):
                with suppress(ProcessLookupError):
                    os.killpg(int(pid.read_text(encoding="utf-8")), signal.SIGKILL)


def test_one_image_a_commit_goes_through_staging_to_production(world: World) -> None:
    first, second = world.lines("attestations")[:2]
    digests = [line.split()[0].split("@")[1] for line in (first, second)]
    assert len(world.lines("pushes")[:2]) == len(set(digests)) == 2
    assert first.split()[1:] == ["acme/credit-risk", "release.yml", "refs/heads/main"]
    for environment in ENVIRONMENTS:
        assert world.lines(f"{environment}/applied")[:2] == digests
        good = world.lines(f"parameters/release/credit-risk/{environment}/image-digest")
        assert good[:2] == digests
    for run, digest in zip(world.releases, digests, strict=True):
        assert f"production: {digest} is live" in run.summary


def test_rollback_brings_the_digest_before_back_and_again(world: World) -> None:
    first, second = (line.split()[0].split("@")[1] for line in world.lines("attestations")[:2])
    before, staging = world.live("production"), world.live("staging")
    other = {first: second, second: first}[before]
    world.rollback("production").expect(rollback="success")
    assert world.live("production") == other
    assert world.live("staging") == staging
    world.rollback("production", digest=before).expect(rollback="success")
    assert world.live("production") == before


@pytest.mark.parametrize("digest", ["by hand", "latest; touch pwned"])
def test_a_digest_that_is_not_attested_stays_out(world: World, digest: str) -> None:
    applied = world.lines("production/applied")
    if digest == "by hand":
        digest = world.push_by_hand("by-hand")
    run = world.rollback("production", digest=digest)
    run.expect(rollback="failure")
    assert (
        f"production: {digest} has no attestation" in run.summary or "64 hex digits" in run.summary
    )
    assert world.lines("production/applied") == applied
    assert not list(world.lab.rglob("pwned"))


def test_an_image_that_somebody_else_pushed_is_not_released(world: World) -> None:
    applied, pushes = world.lines("staging/applied"), world.lines("pushes")
    world.push_by_hand(world.commit("Pushed before its release"))
    run = world.release()
    run.expect(setup="success", train="success", image="success", staging="failure")
    assert "has no attestation" in run.summary
    assert (world.lines("staging/applied"), world.lines("pushes")) == (applied, pushes)


def test_a_failed_smoke_suite_in_staging_keeps_production_as_it_is(world: World) -> None:
    before = {name: world.live(name) for name in ENVIRONMENTS}
    world.commit("Wrong in staging")
    world.spoil("staging")
    run = world.release()
    run.expect(setup="success", train="success", image="success", staging="failure")
    assert f"went back to {before['staging']}" in run.summary
    assert {name: world.live(name) for name in ENVIRONMENTS} == before
    assert world.lines("staging/applied")[-2] == world.lines("staging/spoilt")[0]


def test_a_failed_smoke_suite_in_production_goes_back(world: World) -> None:
    before = world.live("production")
    world.commit("Wrong in production")
    world.spoil("production")
    run = world.release()
    run.expect(**{**RELEASED, "production": "failure"})
    (failed,) = world.lines("production/spoilt")
    assert world.live("staging") == failed
    assert f"{failed} failed; went back to {before}" in run.summary
    assert world.live("production") == before
    # What failed is nothing to go back to.
    world.rollback("production").expect(rollback="success")
    assert world.live("production") not in (before, failed)


def test_without_a_cloud_the_run_is_green_and_says_what_to_set(world: World) -> None:
    pushes = world.lines("pushes")
    run = world.release(variables={})
    run.expect(setup="success")
    for name in world.variables:
        assert f"- {name}\n" in run.summary
    assert world.lines("pushes") == pushes


def test_half_a_cloud_is_a_mistake(world: World) -> None:
    run = world.release(variables={"AWS_REGION": "eu-central-1", **ROLES})
    run.expect(setup="failure")
    assert "- ECR_REPOSITORY_URL\n- TF_STATE_BUCKET\n" in run.summary
    assert "- AWS_REGION" not in run.summary


def test_only_main_is_released_and_rolled_back(world: World) -> None:
    branch = {"ref": "refs/heads/feature"}
    world.release(**branch).expect()
    options: dict[str, Any] = {"variables": world.variables, "env": world.env, **branch}
    payload = {"inputs": {"environment": "production", "digest": ""}}
    act(
        world.project, "rollback.yml", "workflow_dispatch", world.lab, payload=payload, **options
    ).expect()

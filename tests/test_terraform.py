"""Terraform, held against the provider's argument schema by stand-ins; no cloud is asked."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgpack
import pytest
from conftest import Project, run_in
from reading import read_markdown
from terraform_schema.with_schema_providers import UNKNOWN, SchemaProvider, attached

SCHEMA = Path(__file__).parent / "terraform_schema" / "schema-aws-6.69.json.gz"
CHECKOV = "checkov==3.3.30"
ENVIRONMENTS = ("staging", "production")
STACKS = ("bootstrap", *(f"environments/{name}" for name in ENVIRONMENTS))
WITH_TESTS = ("bootstrap", "modules/service")
DIGEST = "sha256:" + 4 * "0123456789abcdef"
OTHER = "sha256:" + 64 * "0"
ISSUER = "token.actions.githubusercontent.com"
ACCOUNT = "stand-in-account_id"  # what the stand-in provider answers


@dataclass(frozen=True)
class Configuration:
    """A project's Terraform, initialised, with its state in a file."""

    root: Path
    environment: dict[str, str]

    @property
    def aws(self) -> Path:
        return self.root / "terraform" / "aws"

    def run(
        self, stack: str, *args: str, check: bool = True, **variables: Any
    ) -> subprocess.CompletedProcess[str]:
        given = {
            f"TF_VAR_{name}": value if isinstance(value, str) else json.dumps(value)
            for name, value in variables.items()
        }
        environment = {**self.environment, **given}
        return run_in(self.aws / stack, "terraform", *args, env=environment, check=check)

    def plan(self, stack: str, **variables: Any) -> dict[str, dict[str, Any]]:
        """The known values of all that would be made, by address."""
        if stack != "bootstrap":
            variables.setdefault("image_digest", DIGEST)
        self.run(stack, "plan", "-input=false", "-out=plan", **variables)
        shown = json.loads(self.run(stack, "show", "-json", "plan").stdout)
        (self.aws / stack / "plan").unlink()
        return {
            change["address"]: change["change"]["after"]
            for change in shown["resource_changes"]
            if change["mode"] == "managed"
        }

    def copy(self, folder: Path) -> "Configuration":
        shutil.copytree(self.root, folder, dirs_exist_ok=True)
        return Configuration(folder, self.environment)

    def rename(self, slug: str) -> None:
        keys = {name: [f"smoke:{'0' * 64}"] for name in ("staging", "production")}
        project = {"name": slug, "repository": f"example-org/{slug}", "api_keys": keys}
        (self.root / "ops" / "project.json").write_text(json.dumps(project), encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.aws / name).read_text(encoding="utf-8")
        assert old in text, f"{name} no longer holds {old!r}"
        (self.aws / name).write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    if not shutil.which("terraform"):
        pytest.skip("terraform is not installed")
    with attached(SCHEMA) as providers:
        yield {
            **providers,
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "CHECKPOINT_DISABLE": "1",
            "NO_COLOR": "1",
            "TF_CLI_ARGS": "-no-color",
            "TF_CLI_CONFIG_FILE": os.devnull,
        }


def bare(project: Project, folder: Path, environment: dict[str, str]) -> Configuration:
    for name in ("terraform", "ops"):
        shutil.copytree(project.path / name, folder / name)
    made = Configuration(folder, environment)
    made.rename(json.loads(project.read("ops/project.json"))["name"])
    return made


@pytest.fixture(scope="module")
def ready(
    project: Project, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Configuration:
    """The default project's configuration, initialised; not to be changed."""
    made = bare(project, tmp_path_factory.mktemp("terraform"), environment)
    for stack in STACKS:
        override = made.aws / stack / "backend_override.tf"
        override.write_text('terraform {\n  backend "local" {}\n}\n', encoding="utf-8")
        made.run(stack, "init", "-input=false")
    made.run("modules/service", "init", "-input=false")
    return made


@pytest.fixture
def own(ready: Configuration, tmp_path: Path) -> Configuration:
    """A copy of the test's own."""
    return ready.copy(tmp_path / "own")


@pytest.fixture(scope="module")
def plans(ready: Configuration) -> dict[str, dict[str, dict[str, Any]]]:
    return {stack: ready.plan(stack) for stack in STACKS}


# The configuration as it stands


def test_it_is_formatted(ready: Configuration) -> None:
    ready.run(".", "fmt", "-check", "-recursive", "-diff")


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_is_valid(ready: Configuration, stack: str) -> None:
    ready.run(stack, "validate")


@pytest.mark.parametrize("folder", WITH_TESTS)
def test_its_own_tests_pass(ready: Configuration, folder: str) -> None:
    assert re.search(r"[2-9] passed, 0 failed", ready.run(folder, "test").stdout)


@pytest.mark.parametrize("stack", STACKS[1:])
def test_no_environment_goes_without_a_key(own: Configuration, stack: str) -> None:
    path = own.root / "ops" / "project.json"
    ops = json.loads(path.read_text(encoding="utf-8"))
    environment = stack.rpartition("/")[2]
    ops["api_keys"][environment] = []
    path.write_text(json.dumps(ops), encoding="utf-8")
    refused = own.run(stack, "plan", "-input=false", check=False, image_digest=DIGEST)
    assert refused.returncode == 1
    assert "needs an entry for this environment" in " ".join(refused.stderr.split())


def test_every_test_file_is_run(ready: Configuration) -> None:
    found = {path.parent.relative_to(ready.aws).as_posix() for path in ready.aws.rglob("*.hcl")}
    assert found == set(WITH_TESTS)


def test_it_stays_small(project: Project) -> None:
    files = [path for path in (project.path / "terraform").rglob("*") if path.is_file()]
    assert len(files) <= 15
    code = [path for path in files if path.suffix in (".tf", ".hcl")]
    lines = [line for path in code for line in path.read_text(encoding="utf-8").splitlines()]
    assert len([line for line in lines if line.strip()]) <= 510


def test_the_stand_in_is_of_the_declared_major(ready: Configuration) -> None:
    with_version = re.findall(
        r'source = "hashicorp/aws", version = "~> (\d+)\.0"',
        "".join(path.read_text(encoding="utf-8") for path in ready.aws.rglob("*.tf")),
    )
    assert set(with_version) == {re.findall(r"aws-(\d+)\.", SCHEMA.name)[0]}
    for stack in STACKS:  # the environments have their constraint from the module
        assert "hashicorp/aws] ~> 6.0" in ready.run(stack, "providers").stdout


# What is refused


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("bootstrap/main.tf", "bucket_key_enabled", "bucket_keys", "Unsupported argument"),
        ("modules/platform/main.tf", "health_check {", "health {", "Unsupported block type"),
        ("modules/service/main.tf", "  family ", "  kind ", 'argument "family" is required'),
        (
            "modules/service/main.tf",
            "assign_public_ip = true",
            "assign_public_ip = 8",
            "bool required",
        ),
        ("environments/staging/main.tf", "use_lockfile", "use_lock", "Unsupported argument"),
    ],
)
def test_a_wrong_argument_is_caught(
    own: Configuration, file: str, old: str, new: str, message: str
) -> None:
    own.edit(file, old, new)
    stack = "bootstrap" if file.startswith(("bootstrap", "modules/platform")) else STACKS[1]
    (own.aws / stack / "backend_override.tf").unlink()
    command = ("init", "-reconfigure") if "use_lock" in old else ("validate",)
    result = own.run(stack, *command, check=False)
    assert result.returncode == 1
    assert message in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("staging", "latest"),
        ("staging", "sha256:0123"),
        ("staging", DIGEST.upper()),
        ("production", DIGEST + "0"),
        ("production", f"{DIGEST}\n"),
        ("production", f"x@{DIGEST}"),
    ],
)
def test_what_is_no_digest_is_refused(ready: Configuration, name: str, digest: str) -> None:
    stack = f"environments/{name}"
    result = ready.run(stack, "plan", "-input=false", check=False, image_digest=digest)
    assert result.returncode == 1
    assert "not sha256: and 64" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "subject",
    ["repo:somebody/credit-risk", "repo:example-org/*", "repo:example-org@*/credit-risk@2", "*"],
)
def test_the_subject_of_another_repository_is_refused(ready: Configuration, subject: str) -> None:
    result = ready.run("bootstrap", "plan", check=False, github_subjects=[subject])
    assert result.returncode == 1
    assert "may name only repo:example-org/credit-risk" in " ".join(result.stderr.split())


# Who may sign in

SUBJECTS = [
    ("repo:example-org/credit-risk:ref:refs/heads/main", "build"),
    ("repo:example-org/credit-risk:environment:staging", "staging"),
    ("repo:example-org/credit-risk:environment:production", "production"),
    ("repo:example-org@11/credit-risk@22:ref:refs/heads/main", "build"),
    ("repo:example-org@11/credit-risk@22:environment:staging", "staging"),
    ("repo:example-org@11/credit-risk@22:environment:production", "production"),
    ("repo:example-org@11/credit-risk@23:environment:production", None),
    ("repo:example-org/credit-risk:pull_request", None),
    ("repo:example-org/credit-risk:ref:refs/heads/main-2", None),
    ("repo:example-org/credit-risk:ref:refs/tags/main", None),
    ("repo:example-org/credit-risk:environment:production-2", None),
    ("repo:example-org/credit-risk-2:environment:production", None),
    ("repo:example-org/another:ref:refs/heads/main", None),
    ("repo:example-org-2/credit-risk:environment:staging", None),
    ("repo:somebody/credit-risk:ref:refs/heads/main", None),
    ("repo:example-org/credit-risk:*", None),
]


def roles(plan: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The trust policy of each role for GitHub."""
    found = {}
    for address, values in plan.items():
        name = re.fullmatch(r'aws_iam_role\.github\["(\w+)"\]', address)
        if name:
            found[name[1]] = json.loads(values["assume_role_policy"])
    return found


def lets_in(policy: dict[str, Any], claims: dict[str, str]) -> bool:
    """Evaluate a trust policy as AWS does, as far as these policies go."""
    for statement in policy["Statement"]:
        assert set(statement) == {"Effect", "Action", "Principal", "Condition"}
        assert statement["Effect"] == "Allow"
        assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
        assert statement["Principal"] == {
            "Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"
        }
        assert list(statement["Condition"]) == ["StringEquals"], "a pattern could match more"
        wanted = statement["Condition"]["StringEquals"]
        assert set(wanted) == {f"{ISSUER}:aud", f"{ISSUER}:sub"}
        for key, allowed in wanted.items():
            claim = claims[key.removeprefix(f"{ISSUER}:")]
            if claim not in ([allowed] if isinstance(allowed, str) else allowed):
                return False
    return bool(policy["Statement"])


def test_exactly_the_meant_jobs_get_in(
    ready: Configuration, plans: dict[str, dict[str, dict[str, Any]]]
) -> None:
    named = roles(plans["bootstrap"])
    # while one form replaces the other, both are let in
    both = ["repo:example-org/credit-risk", "repo:example-org@11/credit-risk@22"]
    moving = roles(ready.plan("bootstrap", github_subjects=both))
    assert set(named) == set(moving) == {"build", *ENVIRONMENTS}
    for subject, meant in SUBJECTS:
        for policies, expected in (
            (named, set() if "@" in subject else {meant}),
            (moving, {meant}),
        ):
            claims = {"aud": "sts.amazonaws.com", "sub": subject}
            got = {name for name, policy in policies.items() if lets_in(policy, claims)}
            assert got == expected - {None}, subject
            assert not any(
                lets_in(policy, claims | {"aud": "elsewhere"}) for policy in policies.values()
            )


def duties(plan: dict[str, dict[str, Any]], role: str) -> list[tuple[str, str]]:
    """What a role for GitHub may do, as pairs of action and resource."""
    policy = json.loads(plan[f'aws_iam_role_policy.github["{role}"]']["policy"])
    pairs = []
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        resources = statement["Resource"]
        for resource in [resources] if isinstance(resources, str) else resources:
            pairs += [(action, resource) for action in statement["Action"]]
    return pairs


def test_a_role_can_do_no_more_than_its_job(
    plans: dict[str, dict[str, dict[str, Any]]],
) -> None:
    plan = plans["bootstrap"]
    assert {action.split(":")[0] for action, _ in duties(plan, "build")} == {"ecr"}
    for role in ENVIRONMENTS:
        (other,) = set(ENVIRONMENTS) - {role}
        pairs = duties(plan, role)
        assert not [pair for pair in pairs if "*" in pair[0]]
        assert not [pair for pair in pairs if other in pair[1]]
        assert {action for action, _ in pairs if action.startswith("iam:")} == {"iam:PassRole"}
        writing = re.compile(r":(Create|Update|Delete|Put|Pass)")
        for action, resource in pairs:
            if writing.search(action):
                assert role in resource, f"{role} may {action} on {resource}"
        assert ("s3:PutObject", f"arn:aws:s3:::tfstate-credit-risk-{ACCOUNT}/{role}.tfstate.tflock"
                ) in pairs  # fmt: skip
        statements = json.loads(plan[f'aws_iam_role_policy.github["{role}"]']["policy"])
        (passing,) = (s for s in statements["Statement"] if "iam:PassRole" in s["Action"])
        service = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
        assert passing["Condition"] == {"StringEquals": service}


# What is made

LIMITS = {
    "aws_lb": r"(?!internal-)(?=.{1,32}$)[A-Za-z0-9]+(-+[A-Za-z0-9]+)*",
    "aws_lb_target_group": r"(?=.{1,32}$)[A-Za-z0-9]+(-+[A-Za-z0-9]+)*",
    "aws_s3_bucket": r"(?!xn--|sthree-|amzn-)(?=.{3,63}$)[a-z0-9][a-z0-9-]*[a-z0-9]",
    "aws_iam_role": r"[\w+=,.@-]{1,64}",
    "aws_ecr_repository": r"(?=.{2,256}$)[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*",
    "aws_ecs_cluster": r"[A-Za-z0-9_-]{1,255}",
    "aws_ecs_service": r"[A-Za-z0-9_-]{1,255}",
    "aws_ecs_task_definition": r"[A-Za-z0-9_-]{1,255}",
    "aws_kinesis_firehose_delivery_stream": r"[a-zA-Z0-9_.-]{1,64}",
    "aws_cloudwatch_log_group": r"(?!aws/)[.\-_/#A-Za-z0-9]{1,512}",
    "aws_security_group": r"(?!sg-)[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}",
}


@pytest.mark.parametrize("slug", ["x", "sthree-internal-123456789-123456789-1234"])
def test_every_name_fits(own: Configuration, slug: str) -> None:
    own.rename(slug)
    names: dict[str, list[str]] = {kind: [] for kind in LIMITS}
    for stack in ("bootstrap", "environments/production"):
        for address, values in own.plan(stack).items():
            kind = re.sub(r"\[[^]]*\]", "", address).split(".")[-2]
            if kind in LIMITS:
                name = values.get("name") or values.get("bucket") or values["family"]
                names[kind].append(name.replace(ACCOUNT, "123456789012"))
    for kind, pattern in LIMITS.items():
        assert names[kind], f"no {kind} in the plan"
        assert len(set(names[kind])) == len(names[kind]) or kind == "aws_lb"
        for name in names[kind]:
            assert re.fullmatch(pattern, name), f"{kind} {name}"
    # what is cut off still tells one project from another
    rest = hashlib.sha1(slug.encode()).hexdigest()[:6]
    assert all(name.endswith(f"-{rest}") for name in names["aws_lb"])


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_service_finds_what_bootstrap_makes(own: Configuration, name: str) -> None:
    own.rename("a-name-long-enough-to-be-cut")
    made = own.plan("bootstrap")
    stack = f"environments/{name}"
    own.run(stack, "apply", "-auto-approve", "-input=false", image_digest=DIGEST)
    state = json.loads(own.run(stack, "show", "-json").stdout)
    (module,) = state["values"]["root_module"]["child_modules"]
    looked_up = {
        resource["address"].removeprefix("module.service."): resource["values"]
        for resource in module["resources"]
    }
    there = f'module.platform["{name}"]'
    for kind in ("aws_lb", "aws_lb_target_group"):
        assert looked_up[f"data.{kind}.this"]["name"] == made[f"{there}.{kind}.this"]["name"]
    group = made[f'{there}.aws_security_group.this["service"]']["name"]
    assert looked_up["data.aws_security_group.service"]["name"] == group
    registry = made["aws_ecr_repository.service"]["name"]
    assert looked_up["data.aws_ecr_repository.service"]["name"] == registry
    service = looked_up["aws_ecs_service.service"]
    assert service["cluster"] == made[f"{there}.aws_ecs_cluster.this"]["name"]
    task = looked_up["aws_ecs_task_definition.service"]
    for duty in ("task", "execution"):
        role = made[f'{there}.aws_iam_role.this["{duty}"]']["name"]
        assert task[f"{duty}_role_arn"].endswith(f":role/{role}")
    (container,) = json.loads(task["container_definitions"])
    log = made[f"{there}.aws_cloudwatch_log_group.service"]["name"]
    assert container["logConfiguration"]["options"]["awslogs-group"] == log
    assert {"name": "PREDICTION_LOG", "value": "-"} in container["environment"]


def test_the_prediction_log_reaches_the_bucket(
    project: Project, plans: dict[str, dict[str, dict[str, Any]]]
) -> None:
    plan = plans["bootstrap"]
    for name in ENVIRONMENTS:
        there = f'module.platform["{name}"]'
        pattern = plan[f"{there}.aws_cloudwatch_log_subscription_filter.predictions"]
        (key,) = re.findall(r"\$\.(\w+)", pattern["filter_pattern"])
        written = "".join(
            path.read_text(encoding="utf-8") for path in project.package.rglob("*.py")
        )
        assert f'"{key}"' in written, f"no prediction is logged with {key}"
        delivery = plan[f"{there}.aws_kinesis_firehose_delivery_stream.predictions"]
        (target,) = delivery["extended_s3_configuration"]
        assert target["bucket_arn"] == f"arn:aws:s3:::data-credit-risk-{ACCOUNT}"
        policy = plan[f'{there}.aws_iam_role_policy.this["log-delivery"]']["policy"]
        assert f"{target['bucket_arn']}/{target['prefix']}*" in policy


def test_callers_reach_the_service_by_https_alone_once_there_is_a_certificate(
    ready: Configuration, plans: dict[str, dict[str, dict[str, Any]]]
) -> None:
    https = {"production": {"certificate_arn": "arn:aws:acm:1", "host": "risk.example.org"}}
    certified = ready.plan("bootstrap", https=https)
    for plan, name, port, protocol, url in (
        (plans["bootstrap"], "production", 80, "HTTP", ""),
        (certified, "staging", 80, "HTTP", ""),
        (certified, "production", 443, "HTTPS", "https://risk.example.org"),
    ):
        there = f'module.platform["{name}"]'
        listener = plan[f"{there}.aws_lb_listener.this"]
        assert (listener["port"], listener["protocol"]) == (port, protocol)
        door = plan[f'{there}.aws_vpc_security_group_ingress_rule.this["balancer"]']
        assert (door["from_port"], door["to_port"]) == (port, port)
        assert plan[f"{there}.aws_lb.this"]["tags"] == {"url": url}


# From nothing to a release, and the next one


def test_the_first_release_needs_no_image_before_it(own: Configuration, project: Project) -> None:
    """Bootstrap knows of no image; a release changes the image and nothing else."""
    own.run("bootstrap", "apply", "-auto-approve", "-input=false")
    variables = dict(
        line.split("=", 1)
        for line in own.run("bootstrap", "output", "-raw", "github_variables").stdout.splitlines()
    )
    workflows = (project.path / ".github" / "workflows").glob("r*.yml")
    used = {
        name
        for path in workflows
        for name in re.findall(r"\bvars\.(\w+)", path.read_text(encoding="utf-8"))
    }
    assert set(variables) == used
    stack = "environments/staging"
    apply = ("apply", "-auto-approve", "-input=false")
    own.run(stack, *apply, image_digest=DIGEST)
    assert own.run(stack, "output", "-raw", "image_digest").stdout == DIGEST
    assert own.run(stack, "output", "-raw", "service_url").stdout == "http://stand-in-dns_name"
    # a second plan is empty
    own.run(stack, "plan", "-detailed-exitcode", "-input=false", image_digest=DIGEST)
    changes = own.run(stack, "plan", "-input=false", image_digest=OTHER).stdout
    changed = re.findall(r"# (\S+) (?:will|must)", changes)
    assert changed == ["module.service.aws_ecs_task_definition.service"]
    assert OTHER in changes


def test_a_release_that_ecs_takes_back_fails(
    own: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steady is also a service that runs the old image again."""
    stack = "environments/production"
    apply = ("apply", "-auto-approve", "-input=false")
    own.run(stack, *apply, image_digest=DIGEST)
    plan, change = SchemaProvider.PlanResourceChange, SchemaProvider.ApplyResourceChange

    def new_revision(self: SchemaProvider, request: Any, context: Any) -> Any:
        response = plan(self, request, context)
        if request.type_name == "aws_ecs_task_definition":
            values = {**msgpack.unpackb(response.planned_state.msgpack), "arn": UNKNOWN}
            response.planned_state.msgpack = msgpack.packb(values)
        return response

    def taken_back(self: SchemaProvider, request: Any, context: Any) -> Any:
        response = change(self, request, context)
        values = msgpack.unpackb(response.new_state.msgpack)
        if request.type_name == "aws_ecs_task_definition":
            values["arn"] = "the new revision"
        else:
            values["task_definition"] = "the revision before"
        response.new_state.msgpack = msgpack.packb(values)
        return response

    monkeypatch.setattr(SchemaProvider, "PlanResourceChange", new_revision)
    monkeypatch.setattr(SchemaProvider, "ApplyResourceChange", taken_back)
    with attached(SCHEMA) as providers:
        stubborn = Configuration(own.root, own.environment | providers)
        result = stubborn.run(stack, *apply, check=False, image_digest=OTHER)
    assert result.returncode == 1
    assert "ECS went back to the one before" in " ".join(result.stderr.split())


def test_the_image_is_set_in_one_place(project: Project) -> None:
    release = [
        *(project.path / ".github").rglob("*.yml"),
        *(project.path / ".github").rglob("*.sh"),
    ]
    assert release
    for path in release:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"aws ecs|task-definition|update-service", text), path.name


@pytest.mark.parametrize("stack", STACKS)
def test_every_state_is_an_object_of_its_own_with_a_lock(project: Project, stack: str) -> None:
    text = project.read(f"terraform/aws/{stack}/main.tf")
    (backend,) = re.findall(r'backend "s3" \{\n(.*?)\n  \}', text, re.S)
    settings = dict(re.findall(r"(\w+) += (.+)", backend))
    assert settings == {"key": f'"{Path(stack).name}.tfstate"', "use_lockfile": "true"}


class Store(BaseHTTPRequestHandler):
    """As much of S3 as Terraform's state needs, conditional writes included."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    locked: list[str]

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def key(self) -> str:
        return self.path.partition("?")[0].removeprefix("/a-bucket/")

    def do_GET(self) -> None:
        if self.key() in self.objects:
            self.answer(200, self.objects[self.key()])
        elif self.key() in ("/a-bucket", ""):
            self.answer(200, b"<ListBucketResult></ListBucketResult>")
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("If-None-Match") == "*":
            if self.key() in self.objects:
                self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            self.locked.append(self.key())
        self.objects[self.key()] = body
        self.answer(200)

    def do_DELETE(self) -> None:
        self.objects.pop(self.key(), None)
        self.answer(204)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(
            200,
            b"<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::1:user/x</Arn>"
            b"<Account>1</Account></GetCallerIdentityResult></GetCallerIdentityResponse>",
        )

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def store() -> Iterator[tuple[type[Store], str]]:
    """A bucket on this machine, and its address."""
    handler = type("Own", (Store,), {"objects": {}, "locked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_apply_locks_its_state_and_a_left_lock_can_be_removed(
    project: Project,
    environment: dict[str, str],
    store: tuple[type[Store], str],
    tmp_path: Path,
) -> None:
    bucket, address = store
    there = {"AWS_ENDPOINT_URL_S3": address, "AWS_ENDPOINT_URL_STS": address}
    made = bare(project, tmp_path / "bare", environment | there)
    stack = "environments/staging"
    given = ("-backend-config=bucket=a-bucket", "-backend-config=region=eu-west-1")
    made.run(stack, "init", "-input=false", *given, "-backend-config=use_path_style=true")
    apply = ("apply", "-auto-approve", "-input=false")
    made.run(stack, *apply, image_digest=DIGEST)
    assert set(bucket.objects) == {"staging.tfstate"}
    assert set(bucket.locked) == {"staging.tfstate.tflock"}
    # as if an apply had been killed
    lock = {"ID": "0123", "Operation": "OperationTypeApply", "Who": "a-runner", "Path": "p"}
    bucket.objects["staging.tfstate.tflock"] = json.dumps(lock).encode()
    result = made.run(stack, *apply, check=False, image_digest=OTHER)
    assert result.returncode == 1
    assert "Error acquiring the state lock" in result.stderr
    made.run(stack, "force-unlock", "-force", "0123")
    made.run(stack, *apply, image_digest=OTHER)
    assert made.run(stack, "output", "-raw", "image_digest").stdout == OTHER


def test_the_readme_names_what_there_is(project: Project, ready: Configuration) -> None:
    text = project.read("terraform/aws/README.md")
    for stack, output in re.findall(r"-chdir=terraform/aws/(\S+) output -raw (\w+)", text):
        declared = "".join(
            path.read_text(encoding="utf-8") for path in (ready.aws / stack).glob("*.tf")
        )
        assert f'output "{output}"' in declared, f"{stack} has no output {output}"
    for folder in re.findall(r"-chdir=terraform/aws/([a-z/]+)", text):
        assert (ready.aws / folder).is_dir(), folder
    for variable in re.findall(r"TF_VAR_(\w+)|`(\w+)` in `terraform.tfvars`", text):
        name = "".join(variable)
        declared = "".join(path.read_text(encoding="utf-8") for path in ready.aws.rglob("*.tf"))
        assert f'variable "{name}"' in declared, name
    for link in read_markdown(text):
        if not link.startswith(("http", "#")):
            assert (project.path / "terraform" / "aws" / link).exists(), link
    for platform in ("linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64", "windows_amd64"):
        assert f"-platform={platform}" in text


# What an outside judge finds


def checkov(folder: Path) -> dict[str, list[dict[str, Any]]]:
    result = subprocess.run(
        ["uv", "tool", "run", "--python", sys.executable, "--from", CHECKOV, "checkov",
         "--directory", str(folder), "--framework", "terraform", "--skip-download",
         "--output", "json"],
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert result.stdout.startswith("{"), result.stderr[-3000:]
    return json.loads(result.stdout)["results"]


@pytest.mark.slow
def test_checkov_finds_nothing_unexplained(project: Project) -> None:
    folder = project.path / "terraform"
    results = checkov(folder)
    failed = [(check["check_id"], check["resource"]) for check in results["failed_checks"]]
    assert not failed
    assert len(results["passed_checks"]) > 90
    text = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.tf"))
    explained = dict(re.findall(r"#checkov:skip=(\w+):(.+)", text))
    assert set(explained) == {check["check_id"] for check in results["skipped_checks"]}
    assert all(len(reason) > 10 for reason in explained.values())


@pytest.mark.slow
def test_checkov_sees_a_bucket_that_could_be_public(fresh: Callable[..., Project]) -> None:
    made = Configuration(fresh().path, {})
    made.edit("bootstrap/main.tf", "block_public_acls       = true", "block_public_acls = false")
    results = checkov(made.aws / "bootstrap")
    assert "CKV_AWS_53" in {check["check_id"] for check in results["failed_checks"]}

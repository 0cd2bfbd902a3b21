"""Refuses an answer that the project could not live with, before a file is written."""

import json
import keyword
import re
import sys
import unicodedata

ANSWERS = json.loads({{cookiecutter | jsonify | jsonify}})
# Cookiecutter makes the folder before it runs this. So that a bad slug never becomes one,
# `__slug_as_given` in cookiecutter.json puts another in its place and keeps what was typed.
ANSWERS["project_slug"] = ANSWERS.get("__slug_as_given", ANSWERS.get("project_slug"))
# What was given before cookiecutter rendered it; cruft does not tell.
GIVEN = json.loads({{_cookiecutter | default({}) | jsonify | jsonify}})

# Names that the project's dependencies are installed or imported under: `make lock` writes this.
RESERVED = set(
    """
    adlfs aiobotocore aiohappyeyeballs aiohttp aiohttp-retry aioitertools aiosignal alembic amqp
    annotated-doc annotated-types annotationlib antlr4 antlr4-python3-runtime anyio appdirs
    argcomplete ast-serialize asyncssh atpublic attr attrs azure azure-core azure-identity
    azure-storage-blob billiard botocore celery certifi cffi cfgv charset-normalizer click
    click-didyoumean click-plugins click-repl cloudpickle colorama colorlog compression
    configobj contourpy coverage cryptography cycler dateutil decorator dictdiffer diskcache
    distlib distro dotenv dpath dulwich dvc dvc-azure dvc-data dvc-gs dvc-http dvc-objects
    dvc-render dvc-s3 dvc-studio-client dvc-task entrypoints execnet fastapi filelock
    flatbuffers flatten-dict flufl flufl-lock fonttools frozenlist fsspec funcy gcsfs git gitdb
    gitpython google google-api-core google-auth google-auth-oauthlib google-cloud-core
    google-cloud-storage google-cloud-storage-control google-crc32c google-resumable-media
    googleapis-common-protos grandalf grimp grpc grpc-google-iam-v1 grpc-status grpcio
    grpcio-status gto h11 httpcore2 httptools httpx2 httpx2-jsfetch hydra hydra-core hypothesis
    identify idna images import-linter importlinter iniconfig isodate iterative-telemetry jinja2
    jmespath joblib jwt kiwisolver knack kombu librt lightgbm mako markdown-it markdown-it-py
    markupsafe matplotlib mdurl ml-dtypes mpl-toolkits msal msal-extensions multidict mypy
    mypy-extensions mypyc narwhals networkx nodeenv numpy oauthlib omegaconf onnx onnxmltools
    onnxruntime opentelemetry opentelemetry-api optuna orjson packaging pandas pandas-stubs
    pandera pathspec pillow platformdirs pluggy pre-commit prettytable prometheus-client
    prompt-toolkit propcache proto proto-plus protobuf psutil psycopg psycopg-binary public py
    pyarrow pyasn1 pyasn1-modules pycparser pydantic pydantic-core pydantic-settings
    pydevd-plugins pydot pygit2 pygments pygtrie pyjwt pylab pyparsing pytest pytest-cov
    pytest-xdist python-dateutil python-discovery python-dotenv pywin32 pyyaml requests
    requests-oauthlib rich ruamel ruamel-yaml ruff s3fs scikit-learn scipy scmrepo semver
    setuptools shortuuid shtab six skl2onnx sklearn skops skrub smmap sortedcontainers
    sqlalchemy sqltrie starlette tabulate threadpoolctl tomlkit tqdm truststore typeguard
    types-pyyaml typing-extensions typing-inspect typing-inspection tzdata tzlocal urllib3
    uvicorn uvloop validate vine virtualenv voluptuous wcwidth wrapt xdist xgboost xgboost-cpu
    yaml yarl zc zc-lockfile
    """.split()
)
# Modules and folders that Python would find first, and names that Windows keeps for devices.
RESERVED |= {"conftest", "src", "test", "tests", "aux", "con", "nul", "prn"}

PATTERNS = {
    "project_slug": (r"[a-z][a-z0-9]*(-[a-z0-9]+)*", 1, 40, "single hyphens", "credit-risk"),
    "package_name": (r"[a-z][a-z0-9_]*", 3, 30, "underscores", "credit_risk"),
}


def refuse(key, why, instead):
    sys.exit("%s %s %s: type %s" % (key, ascii(ANSWERS[key]), why, instead))


def check_text(key):
    value = ANSWERS[key]
    for text in (value, GIVEN.get(key) or ""):
        if any(mark in text for mark in ("{" + "{", "{" + "%", "{" + "#")):
            refuse(
                key, "holds template code", "it without a brace that opens twice or before % or #"
            )
    if not value.strip():
        refuse(key, "is empty", "a few words")
    if value != value.strip():
        refuse(key, "begins or ends with a space", "it without")
    for character in value:
        if ord(character) > 0xFFFF:
            refuse(
                key,
                "holds %s, which TOML cannot hold as JSON writes it" % ascii(character),
                "it without emoji and other characters above U+FFFF",
            )
        if unicodedata.category(character) == "Cs":
            refuse(
                key,
                "holds bytes that are no text in this locale",
                "it again after export LC_ALL=C.UTF-8",
            )
        if unicodedata.category(character) in ("Cc", "Zl", "Zp"):
            refuse(key, "holds a control character or a line break", "plain text on one line")


def check_name(key):
    value = ANSWERS[key]
    pattern, least, most, joiner, example = PATTERNS[key]
    if not re.fullmatch(pattern, value):
        refuse(
            key,
            "is not made of a letter, then lower-case letters, digits and " + joiner,
            "one such as " + repr(example),
        )
    if not least <= len(value) <= most:
        refuse(key, "has %d letters" % len(value), "%d to %d, such as %r" % (least, most, example))
    if re.sub("[-_.]+", "-", value) in RESERVED:
        suffix = "-service" if key == "project_slug" else "_service"
        refuse(
            key,
            "is the name of one of the project's dependencies or folders",
            "another, such as %r" % (value + suffix),
        )


def check_package():
    value = ANSWERS["package_name"]
    for kind, names in (
        ("a keyword of Python", keyword.kwlist + keyword.softkwlist),
        ("a standard-library module", sys.stdlib_module_names),
    ):
        if value in names:
            refuse("package_name", "is " + kind, "another, such as %r" % (value + "_service"))


if sys.version_info < (3, 11):
    sys.exit(
        "Python %d.%d runs cookiecutter, and 3.11 is the oldest that works: "
        "use a newer one, such as uvx --python 3.13 cookiecutter" % sys.version_info[:2]
    )
if "_repo_dir" not in ANSWERS and "_commit" not in ANSWERS:  # nor does cruft run it
    sys.exit(
        "cookiecutter 2.2 is the oldest that works: use a newer one, such as uvx cookiecutter@2.7.1"
    )
for name in ("project_name", "description", "owner"):
    check_text(name)
if "/" in ANSWERS["owner"]:
    refuse("owner", "holds a slash", "the name of the organisation or user alone")
check_name("project_slug")
check_package()
check_name("package_name")

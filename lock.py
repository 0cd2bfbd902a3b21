"""Refreshes the project's lock file, and the names that no project can take.

The template ships its project's `uv.lock` with the project's name as the only variable. So the
default answers are rendered, locked there, and the variable is put back.
"""

import json
import os
import re
import subprocess
import tempfile
import textwrap
import tomllib
from pathlib import Path

from cookiecutter.main import cookiecutter

ROOT = Path(__file__).resolve().parent
HOOK = ROOT / "hooks" / "pre_gen_project.py"
PRODUCT = ROOT / "{{cookiecutter.project_slug}}"
# A name that sorts to one place for good and belongs to no package.
STAND_IN = "zz-stand-in"
# Modules of Pythons newer than the oldest that the project runs on: a package of that name would
# work today and be hidden there.
NEWER_MODULES = {"annotationlib", "compression"}
# `uv run` says where it is itself.
UV = os.environ.get("UV", "uv")
# Prints the names under which a project's environment imports what is installed.
IMPORT_NAMES = """
import importlib.metadata as metadata, json, re
names = {name.split("/")[0] for name in metadata.packages_distributions()}
print(json.dumps(sorted(name for name in names if re.fullmatch("[a-z][a-z0-9_]*", name))))
"""


def normalise(name: str) -> str:
    """A name as PEP 503 compares it."""
    return re.sub("[-_.]+", "-", name).lower()


def locked_names(lock: str, project: str) -> set[str]:
    """The distributions in a lock file, without the project itself."""
    packages = tomllib.loads(lock)["package"]
    return {normalise(package["name"]) for package in packages if package["name"] != project}


def import_names(project: Path) -> set[str]:
    """The modules that the project's dependencies bring along."""
    command = [UV, "run", "--directory", str(project), "--locked", "--all-groups", "--quiet"]
    printed = subprocess.run(
        [*command, "python", "-c", IMPORT_NAMES], check=True, stdout=subprocess.PIPE, env=outside()
    )
    return set(json.loads(printed.stdout)) - {STAND_IN.replace("-", "_")}


def reserved_block(names: set[str]) -> str:
    """The names as the hook holds them."""
    lines = textwrap.wrap(" ".join(sorted(names)), width=92, break_on_hyphens=False)
    return "\n".join("    " + line for line in lines)


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def outside() -> dict[str, str]:
    """The environment without the one that this script runs in."""
    return {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        answers = {"project_slug": STAND_IN, "package_name": STAND_IN.replace("-", "_")}
        project = Path(
            cookiecutter(
                str(ROOT),
                no_input=True,
                default_config=True,
                extra_context=answers,
                output_dir=folder,
            )
        )
        subprocess.run(
            [UV, "lock", "--upgrade", "--directory", str(project)], check=True, env=outside()
        )
        lock = (project / "uv.lock").read_text(encoding="utf-8")
        names = locked_names(lock, STAND_IN) | {
            normalise(name) for name in import_names(project) | NEWER_MODULES
        }
    token = "{{ cookiecutter.project_slug }}"
    write(PRODUCT / "uv.lock", lock.replace(f'name = "{STAND_IN}"', f'name = "{token}"'))
    hook = HOOK.read_text(encoding="utf-8")
    block = re.compile(r'(RESERVED = set\(\n    """\n).*?(\n?    """\.split\(\)\n)', re.DOTALL)
    hook, count = block.subn(
        lambda match: match[1] + reserved_block(names) + "\n    " + match[2].lstrip(), hook
    )
    if count != 1:
        raise SystemExit(f"{HOOK}: holds no block `RESERVED = set(...)`: put it back")
    write(HOOK, hook)
    print(f"{len(names)} names are reserved in {HOOK.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

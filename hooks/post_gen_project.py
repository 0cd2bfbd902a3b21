"""Deletes what the answers leave out, and notes where the project comes from for `make update`."""

import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import urlparse

# Pairs, since a filter that writes JSON would sort the keys of a mapping.
ANSWERS = dict(json.loads({{cookiecutter.items() | list | jsonify | jsonify}}))

# Answer -> paths that leave.
OPTIONS = {
    "task": {
        "classification": ["data/sample/housing.csv", "data/sample/housing.md"],
        "regression": ["data/sample/credit.csv", "data/sample/credit.md"],
    },
    "cloud": {
        "none": [
            "terraform",
            ".github/workflows/release.yml",
            ".github/workflows/rollback.yml",
            ".github/actions",
            "ops/project.json",
        ],
    },
    "tuning": {
        "no": [
            "src/{{cookiecutter.package_name}}/tuning",
            "tests/tuning",
            "tuning.mk",
            "tuning.yaml",
        ],
    },
}


def delete_what_leaves():
    for question, choices in OPTIONS.items():
        for path in map(Path, choices.get(ANSWERS[question], [])):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            for folder in list(path.parents)[:-1]:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()


def find_template():
    """The folder that cookiecutter rendered, and the git repository around it."""
    # A relative path is relative to where the command was run: the shell's word for it, then the
    # folder of the output, which is the same unless told otherwise.
    bases = (os.environ.get("PWD", ""), ANSWERS["_output_dir"])
    for folder in (Path(base, ANSWERS["_repo_dir"]) for base in bases):
        if (folder / "hooks" / "post_gen_project.py").is_file():
            folder = folder.resolve()
            for top in (folder, *folder.parents):
                if (top / ".git").exists():
                    return folder, top
    raise LookupError("the template is in no git repository")


def read(path):
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def read_commit(git, common):
    """The commit that is checked out, read from git's own files."""
    commit = read(git / "HEAD")
    if commit.startswith("ref: "):
        reference = commit[5:]
        packed = re.search(
            f"^([0-9a-f]+) {re.escape(reference)}$", read(common / "packed-refs"), re.MULTILINE
        )
        commit = read(common / reference) or (packed[1] if packed else "")
    if not re.fullmatch("[0-9a-f]{40,64}", commit):
        raise LookupError("the template's commit was not found in its git repository")
    return commit


def find_origin():
    """What cruft has to know of the template."""
    folder, top = find_template()
    git = top / ".git"
    if git.is_file():  # a worktree or a submodule
        git = top / read(git).removeprefix("gitdir: ")
    common = git / (read(git / "commondir") or ".")
    directory = None if folder == top else folder.relative_to(top).as_posix()
    # Git's index holds the paths of the tracked files as plain bytes.
    if directory and f"{directory}/cookiecutter.json".encode() not in (git / "index").read_bytes():
        raise LookupError("the git repository around the template does not track it")
    template, checkout = str(top), None
    if not ANSWERS["_repo_dir"].startswith(ANSWERS["_template"]):  # a clone that cookiecutter made
        checkout = ANSWERS["_checkout"]
        if url := re.search(
            r"^\[remote \"origin\"\]\n\s+url = (.+)$", read(common / "config"), re.M
        ):
            template = urlparse(url[1]).path if url[1].startswith("file:") else url[1]
    return template, read_commit(git, common), checkout, directory


def write_cruft_file():
    """Write what cruft itself would have written."""
    try:
        template, commit, checkout, directory = find_origin()
    except (LookupError, OSError, ValueError) as reason:
        print("No .cruft.json, so `make update` cannot work here:", ascii(str(reason))[1:-1])
        return
    run = ("_output_dir", "_repo_dir", "_checkout")
    context = {key: value for key, value in ANSWERS.items() if key not in run}
    context |= {"_template": template, "_commit": commit}
    content = {
        "template": template,
        "commit": commit,
        "checkout": checkout,
        "context": {"cookiecutter": context},
        "directory": directory,
    }
    unfinished = Path(".cruft.json.unfinished")
    with unfinished.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        file.write(json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    unfinished.replace(".cruft.json")


delete_what_leaves()
if "_output_dir" in ANSWERS:  # only cookiecutter tells it; cruft writes the file itself
    write_cruft_file()

"""What the pages of the workshop name is there."""

import re
import subprocess
from pathlib import Path

import pytest
from answers import CHOICES, QUESTIONS, ROOT
from reading import read_file, read_markdown

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in read_markdown(page.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (page.parent / link.partition("#")[0]).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_commands_are_targets_of_make(page: Path) -> None:
    folders = (ROOT, ROOT / "{{cookiecutter.project_slug}}")
    files = [file for folder in folders for file in (folder / "Makefile", *folder.glob("*.mk"))]
    made = "\n".join(file.read_text(encoding="utf-8") for file in files)
    named = re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    for target in named:
        assert re.search(f"^{target}:", made, re.MULTILINE), f"make {target}"


def test_readme_opens_with_one_sentence_and_two_commands() -> None:
    title, sentence, commands = README.split("\n\n")[:3]
    assert title == "# ml-cd-template"
    assert re.fullmatch(r"[A-Z][^.]*\.", sentence.replace("\n", " "))
    assert re.findall(r"^make (\w+)", commands, re.MULTILINE) == ["demo", "test"]


def test_readme_lists_every_question_and_choice() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.MULTILINE))
    assert list(rows) == [key for key in QUESTIONS if not key.startswith("_")]
    for question, choices in CHOICES.items():
        assert all(choice in rows[question] for choice in choices)
    for question in ("project_name", "owner"):
        assert rows[question].startswith(f"{QUESTIONS[question]} |")


def test_every_question_has_a_prompt_that_helps() -> None:
    prompts = QUESTIONS["__prompts__"]
    assert list(prompts) == [key for key in QUESTIONS if not key.startswith("_")]
    for question, prompt in prompts.items():
        if question in CHOICES:
            assert list(prompt) == ["__prompt__", *CHOICES[question]]


def test_make_help_lists_every_target() -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", made, re.MULTILINE)
    printed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, check=True).stdout
    assert set(re.findall(r"^make ([\w-]+)", printed.decode(), re.MULTILINE)) == set(phony.split())


def test_own_files_are_read_by_their_parsers() -> None:
    for name in (".pre-commit-config.yaml", "cookiecutter.json", "pyproject.toml", "uv.lock"):
        assert read_file(ROOT / name)

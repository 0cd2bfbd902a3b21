"""Reads a generated file by the parser of its own format, which fails where the file is broken."""

import ast
import configparser
import csv
import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markdown_it import MarkdownIt

# Formats whose own tools read them in tests of their own, and plain text.
UNREAD_SUFFIXES = {".css", ".tf", ".txt", ".hcl", ".mk", ".typed"}
UNREAD_NAMES = {
    "CODEOWNERS",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    ".dockerignore",
    ".dvcignore",
    ".gitattributes",
    ".gitignore",
}


def read_yaml(text: str) -> Any:
    return list(yaml.safe_load_all(text))


def read_markdown(text: str) -> list[str]:
    """The targets of the links."""
    found = []
    for block in MarkdownIt("commonmark").enable("table").parse(text):
        for token in block.children or []:
            target = token.attrs.get("href") or token.attrs.get("src")
            if target:
                found.append(str(target))
    return found


def read_ini(text: str) -> Any:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return parser


def read_shell(text: str) -> None:
    subprocess.run(["bash", "-n"], input=text.encode(), check=True)


READERS: dict[str, Callable[[str], Any]] = {
    ".csv": lambda text: list(csv.reader(text.splitlines())),
    ".json": json.loads,
    ".html": lambda text: jinja2.Environment(autoescape=True).parse(text),
    ".jsonl": lambda text: [json.loads(line) for line in text[:-1].split("\n")],
    ".lock": tomllib.loads,
    ".md": read_markdown,
    ".py": ast.parse,
    ".sh": read_shell,
    ".toml": tomllib.loads,
    ".yaml": read_yaml,
    ".yml": read_yaml,
    ".editorconfig": lambda text: read_ini("[top]\n" + text),
    "config": read_ini,
}


def read_file(path: Path) -> Any:
    """The content as the format's parser gives it; None for what is read elsewhere."""
    text = path.read_bytes().decode("utf-8")
    if path.name in UNREAD_NAMES or path.suffix in UNREAD_SUFFIXES:
        return None
    reader = READERS.get(path.suffix) or READERS.get(path.name)
    assert reader, f"{path.name}: name its parser in tests/reading.py"
    return reader(text)

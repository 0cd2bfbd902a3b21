"""The command line: one command for each job, each imported only when it is asked for."""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from typing import NoReturn

from .errors import ProjectError

COMMANDS = {
    "adopt": (".adopt.adopt", "describe a table that is new here by a contract"),
    "accept": (".data.validate:accept", "make the validated rows the reference for drift"),
    "fetch": (".data.fetch", "take the contract's table again from where it came from"),
    "feedback": (".data.feedback", "join ground truth with logged predictions, for training"),
    "ingest": (".data.ingest", "take a typed snapshot of the contract's source"),
    "validate": (".data.validate", "keep the rows that keep the contract, say why others go"),
    "split": (".data.split", "hold rows out for judging the model"),
    "train": (".training.train", "fit the model and the baseline"),
    "champion": (".registry.champion", "bring the model in production, to judge others by"),
    "evaluate": (".training.evaluate", "measure both on the held-out rows"),
    "export": (".training.export", "write the artefact and compare it with the model"),
    "gate": (".training.gate", "refuse a model that is not good enough"),
    "tune": (".tuning.tune", "look for better parameters, and write them into params.yaml"),
    "ablation": (".tuning.ablation", "measure what the model loses without each feature"),
    "staleness": (".tuning.staleness", "measure what a model loses as it grows old"),
    "card": (".training.card", "write what there is to know of the model, with plots"),
    "report": (".data.report", "write a page on the dataset that was validated last"),
    "score": (".batch.score", "score the rows of a CSV or Parquet file"),
    "serve": (".serving.server", "serve predictions over HTTP"),
    "mock": (".serving.mock", "serve a constant under the same API, for callers to start with"),
    "api": (".api", "write docs/openapi.json, or say what it breaks for a commit's callers"),
    "key": (".serving.auth:new", "make an API key, and the entry by which the service knows it"),
    "repro": (".versions:repro", "run the stages whose inputs have changed"),
    "push": (".versions:push", "send data and model to the default remote"),
    "pull": (".versions:pull", "bring data and model from the default remote"),
    "remote": (".remote", "set the default remote, which the team shares"),
    "registry": (".registry.command", "versions of the model, and what serves in which stage"),
}
"""For each command: the module, its function (`run` where none is named), and the purpose.

A module whose command takes arguments declares them in `arguments(parser)`. A folder that the
project's answers left out takes its commands along.
"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command; exit with 0, with 1 and the reason when it refuses, with 130 on Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
    parser = argparse.ArgumentParser(prog=__package__, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (path, purpose) in COMMANDS.items():
        if _is_there(path):
            commands.add_parser(name, help=purpose, description=purpose, add_help=False)
        else:
            commands.add_parser(name, add_help=False)  # in no list, and refused below
    command = parser.parse_known_args(arguments)[0].command
    path, _, job = COMMANDS[command][0].partition(":")
    try:
        if not _is_there(path):
            raise ProjectError(
                f"{_folder(path)[1:]} is not in this project; answer yes to the template's question"
                " of that name, which its README says how to do later, too"
            )
        module = import_module(path, __package__)
        own = commands.choices[command]
        own.add_argument("-h", "--help", action="help", help="show this and exit")
        if declare := getattr(module, "arguments", None):
            declare(own)
        options = vars(parser.parse_args(arguments))
        del options["command"]
        getattr(module, job or "run")(**options)
    except ProjectError as refusal:
        print(f"{command}: {refusal}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt as stop:
        print(": ".join([command, "interrupted", *map(str, stop.args)]), file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    sys.exit(0)


def _folder(path: str) -> str:
    """The first part of a module's path: `.data` of `.data.report`."""
    return f".{path[1:].partition('.')[0].partition(':')[0]}"


def _is_there(path: str) -> bool:
    return find_spec(_folder(path), __package__) is not None

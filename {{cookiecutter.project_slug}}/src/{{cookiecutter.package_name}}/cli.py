"""The command line: one command for each job, each imported only when it is asked for."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
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
    "evaluate": (".training.evaluate", "measure both on the held-out rows"),
    "export": (".training.export", "write the artefact and compare it with the model"),
    "gate": (".training.gate", "refuse a model that is not good enough"),
    "card": (".training.card", "write what there is to know of the model, with plots"),
    "report": (".data.report", "write a page on the dataset that was validated last"),
    "serve": (".serving.server", "serve predictions over HTTP"),
    "repro": (".versions:repro", "run the stages whose inputs have changed"),
    "push": (".versions:push", "send data and model to the default remote"),
    "pull": (".versions:pull", "bring data and model from the default remote"),
    "remote": (".remote", "set the default remote, which the team shares"),
}
"""For each command: the module, its function (`run` where none is named), and the purpose.

A module whose command takes arguments declares them in `arguments(parser)`.
"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command; exit with 0, or with 1 and the reason when it refuses."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
    parser = argparse.ArgumentParser(prog=__package__, description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, purpose) in COMMANDS.items():
        commands.add_parser(name, help=purpose, description=purpose, add_help=False)
    command = parser.parse_known_args(arguments)[0].command
    path, _, job = COMMANDS[command][0].partition(":")
    try:
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
    sys.exit(0)

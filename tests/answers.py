"""Sets of answers, computed from cookiecutter.json."""

import itertools
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
CHOICES: dict[str, list[str]] = {
    key: value
    for key, value in QUESTIONS.items()
    if isinstance(value, list) and not key.startswith("_")
}

# What people may call things: each must reach every file unchanged.
HOSTILE = {
    "project_name": """O'Neil's "Crédit" \\ #1 ${HOME} -- <b>日本</b>""",
    "project_slug": "odd-names",
    "package_name": "odd_names",
    "description": """-'''\"\"\" a: b, [c] & d's \\n \\u0041 ${x} %s Übermaß # {no} `tag`""",
    "owner": 'd\'Arc & Söhne "Ω"',
}
SHORTEST = {"project_slug": "abz", "package_name": "abz"}
LONGEST = {"project_slug": "l" * 40, "package_name": "w" * 30}
ODD = {**HOSTILE, **SHORTEST, "licence": "LicenseRef-Proprietary"}


def pairwise() -> list[dict[str, str]]:
    """The fewest sets, greedily, in which every two choices of two questions meet."""
    every = [dict(zip(CHOICES, row, strict=True)) for row in itertools.product(*CHOICES.values())]

    def pairs(answers: dict[str, str]) -> set[tuple[tuple[str, str], ...]]:
        return set(itertools.combinations(answers.items(), 2))

    left = set().union(*map(pairs, every))
    chosen = []
    while left:
        best = max(every, key=lambda answers: len(pairs(answers) & left))
        chosen.append(best)
        left -= pairs(best)
    return chosen


# Every render that the tests look at: name -> answers.
SETS: dict[str, dict[str, str]] = {
    "default": {},
    **{"-".join(answers.values()).lower(): answers for answers in pairwise()},
    "hostile": HOSTILE,
    "shortest": SHORTEST,
    "longest": LONGEST,
}

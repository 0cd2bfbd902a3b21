"""The project's own suite holds for a table and a feature that it was not written with."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from answers import ODD
from conftest import Project
from machine import REPRO, installed, pythons

pytestmark = [pytest.mark.slow, pytest.mark.suite]

ROWS = 1500
FEATURE = '''
def Anrufe_je_GB(Anrufe_Hotline: Numbers, Datenvolumen_GB: Numbers) -> Numbers:
    """Calls to the hotline for each gigabyte."""
    return Anrufe_Hotline / (Datenvolumen_GB + 1)


def grüne_Stadt(Ort: Categories) -> Categories:
    """Whether the town is one of the green ones."""
    return np.where(Ort == "Köln", "ja", "nein").astype(object)


DERIVED = (Anrufe_je_GB, grüne_Stadt)
'''
TEST = """import numpy as np

from {package}.derived import Anrufe_je_GB, grüne_Stadt


def test_calls() -> None:
    Anrufe, Datenvolumen = np.array([6.0, np.nan]), np.array([2.0, 2.0])
    np.testing.assert_array_equal(Anrufe_je_GB(Anrufe, Datenvolumen), [2.0, np.nan])


def test_towns() -> None:
    größte = np.array(["Köln", ""], object)
    assert grüne_Stadt(größte).tolist() == ["ja", "nein"]
"""
ASK = """
import json, sys
from pathlib import Path
from fastapi.testclient import TestClient
from {package}.serving.app import create_app
from {package}.serving.prediction_log import PredictionLog
from {package}.serving.predictor import load_predictor
from {package}.serving.settings import Settings

predictor = load_predictor(Path("models/serving"))
log = PredictionLog("logs/predictions.jsonl")
client = TestClient(create_app(predictor, log, Settings()))
answer = client.post("/v1/predictions", json=predictor.contract.example | json.loads(sys.argv[1]))
answer.raise_for_status()
log.close()
"""


def table(labels: list[str]) -> str:
    """Customers of a telephone company, as a spreadsheet in German would save them."""
    chance = random.Random(0)
    lines = [
        "Kunden-Nr.;E-Mail;Vertragsbeginn;Ort;Alter;Monatsgebühr (€);Datenvolumen GB"
        ";Anrufe Hotline;Rechnung online?;Vertragsart;Kündigung"
    ]
    for row in range(ROWS):
        fee, volume, calls = chance.gauss(40, 12), chance.expovariate(0.05), chance.randrange(9)
        risk = 0.09 * fee + 0.6 * calls - 0.03 * volume + chance.gauss(0, 1)
        label = labels[sum(risk > limit for limit in (6.4, 8.2)[: len(labels) - 1])]
        day = f"{chance.randint(1, 28):02}.{chance.randint(1, 12):02}.{chance.randint(2019, 2024)}"
        cells = [
            f"K{100000 + row}",
            f"{chance.choice(['käthe', 'jörg', 'lea'])}.{row}@example.org",
            day,
            chance.choice(["Köln", "Gießen", "Berlin", ""]),
            chance.randint(18, 80),
            f"{max(fee, 5):.2f}".replace(".", ","),
            "NA" if chance.random() < 0.08 else f"{volume:.1f}".replace(".", ","),
            calls,
            chance.choice(["ja", "nein"]),
            chance.choice(["monatlich", "12 Monate", "24 Monate"]),
            label,
        ]
        lines.append(";".join(map(str, cells)))
    return "\r\n".join(lines) + "\r\n"


def adopted(made: Project, folder: Path, labels: list[str], env: dict[str, str]) -> None:
    """Adopt the table, add two features with their test, and train."""
    data = folder / "Kunden März.csv"
    data.write_bytes(table(labels).encode("cp1252"))
    made.run("make", "adopt", f"DATA={data}", "TARGET=Kündigung", "ENCODING=cp1252", env=env)
    module = made.package / "derived.py"
    before = module.read_text(encoding="utf-8").removesuffix("\nDERIVED = ()\n")
    module.write_text(f"{before}\n{FEATURE}", encoding="utf-8")
    test = TEST.format(package=made.package.name)
    (made.path / "tests/unit/test_own_features.py").write_text(test, encoding="utf-8")
    made.run("make", "train", env=env)


def rows(project: Project) -> int:
    """How many rows the last training took in, all of them valid."""
    found = json.loads(project.read("reports/validation.json"))
    assert (found["rejected"], found["refusals"]) == (0, [])
    size: int = found["rows"]
    return size


CASES = {  # labels, answers, Python
    "two-labels": (["nein", "ja"], {}, 0),
    "three-labels-odd-newest": (["nein", "vielleicht", "ja"], ODD, -1),
}


@pytest.mark.parametrize("name", CASES)
def test_the_suite_is_green_and_a_known_customer_comes_back(
    name: str,
    fresh: Callable[..., Project],
    shared: Path,
    project: Project,
    tmp_path: Path,
    run_suite: Callable[[Project, dict[str, str]], str],
) -> None:
    labels, answers, index = CASES[name]
    env = {"UV_PYTHON": str(pythons()[index])}
    made = installed(fresh(**answers), shared, project, env)
    adopted(made, tmp_path, labels, env)
    if name == "two-labels":  # of the code, which is the same for three
        made.run("make", "check", env=env)
    tested = run_suite(made, env)
    (summary,) = re.findall(r"^=+ (.* passed.*) in ", tested, re.MULTILINE)
    assert re.fullmatch(r"\d+ passed", summary), summary
    before = rows(made)
    ask = ASK.format(package=made.package.name)
    made.run(made.path / ".venv/bin/python", "-c", ask, json.dumps({"Kunden-Nr.": "K100007"}))
    truth = f"Kunden-Nr.,time,Kündigung\nK100007,2099-01-01,{labels[0]}\n"
    (tmp_path / "labels.csv").write_text(truth, encoding="utf-8")
    params = made.path / "params.yaml"
    late = re.sub(r"max_delay_days: \d+", "max_delay_days: 36500", made.read("params.yaml"))
    params.write_text(late, encoding="utf-8")
    told = made.run("make", "feedback", f"TRUTH={tmp_path / 'labels.csv'}", env=env)
    assert "1 added" in told.stdout
    made.run(*REPRO, "validate", env=env)
    assert rows(made) == before + 1

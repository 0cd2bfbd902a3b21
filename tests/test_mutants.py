"""The tests of the gates catch faults in the gates: each is broken by hand, and a test fails."""

import os
import shutil
from pathlib import Path

import pytest
from conftest import Project
from machine import train

JUDGE, MEASURE = "training/judge.py", "training/measure.py"
DECISION, VALUE, TRAIN = "decision.py", "training/value.py", "training/train.py"
KEEPS = 'return self.figure >= self.limit if self.rule == "at least" else self.figure <= self.limit'
MUTANTS = [
    # A comparison turned round, or its end moved.
    (JUDGE, "return self.figure > self.limit", "return self.figure < self.limit"),
    (JUDGE, "return self.figure > self.limit", "return self.figure >= self.limit"),
    (
        JUDGE,
        KEEPS,
        KEEPS.replace("figure >=", "figure <="),
    ),
    (
        JUDGE,
        KEEPS,
        KEEPS.partition(" if")[0],
    ),
    # A limit ignored.
    (JUDGE, "            limits.max_group_gap,\n", "            1.0,\n"),
    (JUDGE, '        hurdle,\n        "the model', '        0.0,\n        "the model'),
    (JUDGE, 'if not each["small"] and', "if"),
    (JUDGE, "if (limit := getattr(limits, key)) is None:", 'if other == "rules":'),
    (JUDGE, '0.0 if artefact["linear"] else limits', "limits"),
    (JUDGE, "if name.lower() in denied", "if name in denied"),
    # Another figure than the one that is meant.
    (
        JUDGE,
        'end, rule = ("high", "at least") if other == "champion" else ("low", "above")',
        'end, rule = "mean", "above"',
    ),
    (JUDGE, 'metrics["metrics"]["saving"]', 'metrics["metrics"]["skill"]'),
    (JUDGE, 'gap["sure"],', 'gap["gap"],'),
    (JUDGE, 'max(metrics["single_feature"].items()', 'min(metrics["single_feature"].items()'),
    (JUDGE, 'each["intervals"][name][1]\n', 'each["metrics"][name]\n'),
    # A figure that is computed wrongly.
    (MEASURE, '"skill": 1 - of["loss"] / of["constant_loss"]', '"skill": 1 - of["loss"] / rows'),
    (MEASURE, '(of["constant_cost"] - of["cost"])', '(of["cost"] - of["constant_cost"])'),
    (MEASURE, 'of[f"hit {label}"] / of[f"true {label}"]', 'of[f"hit {label}"] / rows'),
    (MEASURE, 'each["small"]}', "each}"),
    (MEASURE, "np.hypot(_reach(first, metric, 0), _reach(second, metric, 1))", "0.0"),
    (
        MEASURE,
        'abs(point["predicted"] - point["observed"])',
        '(point["predicted"] - point["observed"])',
    ),
    (MEASURE, "(1 + confidence) / 2", "confidence"),
    (DECISION, "probabilities[:, 1] >= self.threshold", "probabilities[:, 1] > self.threshold"),
    (DECISION, "total.min()", "total.max()"),
    (VALUE, "given.get(answer, 0.0)", "given.get(true, 0.0)"),
    # Rows that decide although they are held out for judging.
    (TRAIN, "frame = read_table(layout.train)", "frame = read_table(layout.test)"),
    (
        TRAIN,
        "given, places = unseen_answers(model, rows, frame, contract, params)",
        "given, places = model.predict_proba(rows.features.table()), np.arange(len(frame))",
    ),
]
"""The file, what stands there, and the fault in its place."""
TESTS = ("test_gate.py", "test_measure.py", "test_decision.py", "test_folds.py")
RUNNER = """
import os
import sys

import dvc.repo, fastapi.testclient, gto.registry, hypothesis, pandas, pandera.pandas
import pyarrow.parquet, pytest, scipy.stats, skl2onnx, skops.io, sklearn.ensemble
import sklearn.linear_model, tqdm

copies, tests = sys.argv[1].split(os.pathsep), sys.argv[2:]
# What they all need is imported once, the package by each. A fork with threads can hang, so
# onnxruntime, which starts some, is no part of it.
assert len(os.listdir("/proc/self/task")) == 1
for copy in copies:
    if not os.fork():
        sys.path.insert(0, copy)
        os.dup2(os.open(copy + ".log", os.O_WRONLY | os.O_CREAT), 1)
        imported = "ignore::pytest.PytestAssertRewriteWarning"
        code = pytest.main(["-qx", "-p", "no:cacheprovider", "-W", imported, *tests])
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.slow
def test_the_tests_of_the_gates_catch_every_fault(
    project: Project, shared: Path, tmp_path: Path
) -> None:
    made = train(shared, project)
    copies = []
    for number, (name, sound, broken) in enumerate([(JUDGE, "", ""), *MUTANTS]):
        copies.append(tmp_path / f"{number}")
        shutil.copytree(made.package, copies[-1] / made.package.name)
        path = copies[-1] / made.package.name / name
        text = path.read_text(encoding="utf-8")
        assert not sound or text.count(sound) == 1, f"{name}: {sound}"
        path.write_text(text.replace(sound, broken) if sound else text, encoding="utf-8")
    done = made.run(
        ".venv/bin/python",
        "-c",
        RUNNER,
        os.pathsep.join(map(str, copies)),
        *(f"tests/model/{each}" for each in TESTS),
        env={"JE_ARROW_MALLOC_CONF": "background_thread:false"},
    )
    unbroken, *codes = [int(line) for line in done.stdout.split()]
    assert unbroken == 0, copies[0].with_suffix(".log").read_text(encoding="utf-8")
    assert len(codes) == len(MUTANTS) >= 20
    assert [each for each, code in zip(MUTANTS, codes, strict=True) if code != 1] == []

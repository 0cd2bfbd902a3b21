import hashlib
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from onnxruntime import InferenceSession

from {{ cookiecutter.package_name }}.contract import Contract
from {{ cookiecutter.package_name }}.decision import Decision
from {{ cookiecutter.package_name }}.derived import Categories, Numbers
from {{ cookiecutter.package_name }}.errors import ArtefactError, ExportError
from {{ cookiecutter.package_name }}.features import Encoder, Features
from {{ cookiecutter.package_name }}.files import read_json
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import load_params
from {{ cookiecutter.package_name }}.serving import predictor as serving
from {{ cookiecutter.package_name }}.serving.predictor import Predictor, load_predictor, sealed
from {{ cookiecutter.package_name }}.training import evaluate, export, train
from {{ cookiecutter.package_name }}.training.evaluate import answers
from {{ cookiecutter.package_name }}.training.parity import apart, compare, probes
from {{ cookiecutter.package_name }}.training.pipeline import build
from {{ cookiecutter.package_name }}.training.rows import to_rows
from {{ cookiecutter.package_name }}.training.skops_file import load, save


def change(layout: Layout, old: str, new: str) -> None:
    text = layout.params.read_text(encoding="utf-8")
    assert old in text
    layout.params.write_text(text.replace(old, new), encoding="utf-8")


def simpler(contract: Contract) -> str:
    kind = "LogisticRegression" if contract.labels else "Ridge"
    return f"sklearn.linear_model.{kind}"


def held_out(layout: Layout, contract: Contract) -> Features:
    return to_rows(contract, pd.read_parquet(layout.test)).features


def use(layout: Layout, estimator: str) -> None:
    old = layout.params.read_text(encoding="utf-8")
    start, end = old.index("  profile:"), old.index("\nvalue:")
    new = f"  profile: other\n  profiles:\n    other:\n      estimator: {estimator}\n"
    new += "      parameters: {}\n"
    layout.params.write_text(old[:start] + new + old[end:], encoding="utf-8")
    train.run(layout)
    evaluate.run(layout)
    export.run(layout)


def test_a_linear_model_agrees_on_every_row(layout: Layout, contract: Contract) -> None:
    use(layout, simpler(contract))
    rows = probes(contract, held_out(layout, contract), 7)
    expected = answers(contract, load(layout.model), rows.table())
    parity = compare(load_predictor(layout.candidate), rows, expected)
    assert parity.rows >= 20_000
    assert parity.differing == parity.flipped == 0


def test_trees_agree_where_an_input_equals_a_rounded_threshold(
    layout: Layout, contract: Contract
) -> None:
    random = np.random.default_rng(0)
    encoder = Encoder(contract)
    count = len(encoder.numbers)
    for _ in range(5):
        numbers = random.integers(0, 1000, (1200, count)).astype(np.float64) / 100
        table = np.full((1200, count + len(encoder.categories)), "", object)
        table[:, :count] = numbers.astype(np.float32)
        targets = (random.random(1200) < numbers[:, 0] / 10).astype(np.int64)
        model = build(contract, load_params(layout.params).model.chosen, 0).fit(
            table[:300], targets[:300]
        )
        session = InferenceSession(export.to_onnx(contract, model))
        inputs = {"numbers": table[:, :count].astype(np.float32), "categories": table[:, count:]}
        given = session.run(
            [session.get_outputs()[-1].name],
            {each.name: inputs[each.name] for each in session.get_inputs()},
        )[0]
        expected = answers(contract, model, table)
        assert apart(given.reshape(expected.shape).astype(float), expected)[1] == 0


def test_the_probes_hold_the_contracts_edges(layout: Layout, contract: Contract) -> None:
    rows = probes(contract, held_out(layout, contract), 7)
    encoder = Encoder(contract)
    for place, column in enumerate(encoder.numbers):
        values = rows.numbers[:, place]
        assert np.isnan(values).any()
        for limit in (column.constraints.minimum, column.constraints.maximum):
            assert limit is None or (values == np.float32(limit)).any()
    for place in range(len(encoder.categories)):
        words = set(rows.categories[:, place])
        assert {"", "a category that no training row holds"} <= words


def test_derived_features_go_all_the_way(
    layout: Layout, contract: Contract, derive: Callable[..., None]
) -> None:
    number, word = contract.numbers[0], contract.categories[0]
    before = Encoder(contract)
    derive("twice_as_much", Numbers, [number], lambda values: 2 * values)
    derive("known", Categories, [word], lambda words: np.where(words == "", "no", "yes"))
    use(layout, simpler(contract))
    session = InferenceSession(str(layout.candidate / "model.onnx"))
    shapes = {each.name: each.shape[1] for each in session.get_inputs()}
    assert shapes == {
        "numbers": len(before.numbers) + 1,
        "categories": len(before.categories) + 1,
    }
    assert {"twice_as_much", "known"} <= set(read_json(layout.metrics)["single_feature"])
    seen, model = held_out(layout, contract), load(layout.model)
    assert "remainder" not in model.named_steps["columns"].named_transformers_
    rows = probes(contract, seen, 7)
    assert np.nanmax(rows.numbers[:, -1]) > np.nanmax(seen.numbers[:, -1])
    assert "a category that no training row holds" in rows.categories[:, -1]
    expected = answers(contract, model, rows.table())
    assert compare(load_predictor(layout.candidate), rows, expected).differing == 0


def test_a_model_of_other_derived_features_is_refused(layout: Layout) -> None:
    path = layout.serving / "model.json"
    described = read_json(path)
    ours = described["derived_sha256"]
    other = "0" * 64
    del described["checksum"]
    path.write_bytes(sealed({**described, "derived_sha256": other}))
    with pytest.raises(ArtefactError, match=f"SHA-256 {other}, but this one has {ours}; run `make"):
        load_predictor(layout.serving)


def test_a_model_that_cannot_be_exported_names_the_other_way(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no converter")

    monkeypatch.setattr(export, "convert_sklearn", fail)
    with pytest.raises(ExportError, match="cannot be exported .*no converter; set artefact: skops"):
        export.run(layout)


def test_skops_is_the_other_way(layout: Layout, contract: Contract) -> None:
    change(layout, "artefact: onnx", "artefact: skops")
    export.run(layout)
    assert sorted(path.name for path in layout.candidate.iterdir()) == [
        "background.json",
        "contract.yaml",
        "metrics.json",
        "model.json",
        "model.skops",
    ]
    rows = held_out(layout, contract)
    np.testing.assert_array_equal(
        load_predictor(layout.candidate).answers(rows),
        answers(contract, load(layout.model), rows.table()),
    )


def test_a_type_that_is_not_trusted_is_refused(layout: Layout) -> None:
    before = layout.model.read_bytes()
    with pytest.raises(ExportError, match=r"pathlib.* would not be trusted"):
        save(layout.model, {"path": layout})
    assert layout.model.read_bytes() == before


def test_a_pickle_in_the_place_of_a_model_runs_nothing(layout: Layout, tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (marker,)

    layout.model.write_bytes(pickle.dumps(Hostile()))
    for job in (evaluate, export):
        with pytest.raises(ExportError, match=r"model.skops cannot be read \(File is not a zip"):
            job.run(layout)
    described = read_json(layout.serving / "model.json")
    artefact = layout.serving / described["artefact"]
    artefact.write_bytes(layout.model.read_bytes())
    with pytest.raises(ArtefactError, match="the file was altered"):
        load_predictor(layout.serving)
    del described["checksum"]
    described |= {
        "artefact": "model.skops",
        "sha256": hashlib.sha256(artefact.read_bytes()).hexdigest(),
    }
    artefact.rename(layout.serving / "model.skops")
    (layout.serving / "model.json").write_bytes(sealed(described))
    with pytest.raises(ArtefactError, match="does not answer the example .* not a zip file"):
        load_predictor(layout.serving)
    assert not marker.exists()


def test_no_pickle_and_no_joblib_file_is_written(layout: Layout) -> None:
    files = [path for path in layout.root.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {
        ".csv",
        ".json",
        ".onnx",
        ".parquet",
        ".skops",
        ".yaml",
    }
    assert not any(path.read_bytes().startswith(b"\x80\x04") for path in files)


def test_the_version_is_the_artefacts_hash(layout: Layout, contract: Contract) -> None:
    described = read_json(layout.serving / "model.json")
    assert described["version"] == f"{contract.name}@{described['sha256'][:12]}"


FILES = ["model.onnx", "model.json", "contract.yaml", "metrics.json", "background.json"]


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever parses the artefact or the contract fails."""

    def parse(*_: object, **__: object) -> None:
        raise AssertionError("parsed")

    for name in ("_load_onnx", "_load_skops", "load_contract"):
        monkeypatch.setattr(serving, name, parse)


@pytest.fixture
def another(pipeline: Layout, contract: Contract, tmp_path: Path) -> Path:
    """The folder of another model."""
    folder = tmp_path / "another"
    shutil.copytree(pipeline.root, folder)
    use(Layout(folder), simpler(contract))
    return Layout(folder).candidate


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(name: str, layout: Layout) -> None:
    (layout.serving / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name} cannot be read"):
        load_predictor(layout.serving)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("name", FILES)
def test_an_altered_byte_is_refused_before_anything_is_parsed(name: str, layout: Layout) -> None:
    path = layout.serving / name
    original = path.read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(len(original), size=1000):
        altered = bytearray(original)
        altered[place] ^= 1 + int(random.integers(255))
        path.write_bytes(altered)
        with pytest.raises(ArtefactError, match=f"{name} (has SHA-256 .*|was altered)"):
            load_predictor(layout.serving)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("name", ["model.skops", ".hidden", "__pycache__/a.pyc"])
def test_an_added_file_is_refused(name: str, layout: Layout) -> None:
    (layout.serving / name).parent.mkdir(exist_ok=True)
    (layout.serving / name).touch()
    with pytest.raises(ArtefactError, match="is none of the files that export wrote there"):
        load_predictor(layout.serving)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("name", FILES)
def test_a_symbolic_link_is_refused(name: str, layout: Layout, tmp_path: Path) -> None:
    (layout.serving / name).rename(tmp_path / name)
    (layout.serving / name).symlink_to(tmp_path / name)
    with pytest.raises(ArtefactError, match=f"{name} is none of the files"):
        load_predictor(layout.serving)


@pytest.mark.usefixtures("another", "unread")
@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_a_file_of_another_model_is_refused(name: str, layout: Layout, another: Path) -> None:
    shutil.copy(another / name, layout.serving)
    with pytest.raises(ArtefactError, match="model.onnx has SHA-256"):
        load_predictor(layout.serving)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"checksum": 1}', "[" * 100_000, "NaN"])
def test_a_description_that_is_none_is_refused(text: str, layout: Layout) -> None:
    (layout.serving / "model.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArtefactError, match="model.json was altered"):
        load_predictor(layout.serving)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(("old", "new"), [(b" ", b"\t"), (b"{", b"{ "), (b",", b', "name": "",')])
def test_a_description_with_the_same_content_in_other_bytes_is_refused(
    old: bytes, new: bytes, layout: Layout
) -> None:
    path = layout.serving / "model.json"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(ArtefactError, match="model.json was altered"):
        load_predictor(layout.serving)


def test_a_missing_answer_and_a_difference_are_seen() -> None:
    expected = np.array([[0.4, 0.6], [0.9, 0.1], [0.5, 0.5]])
    given = np.array([[0.6, 0.4], [np.nan, np.nan], [0.5, 0.5 + 9e-6]])
    assert apart(given, expected) == (np.inf, 2)
    values = np.array([1e6, 2e6, 3e6, 1.0])
    assert apart(values + np.array([5, 30, 0, 14]), values)[1] == 1


def test_a_label_that_differs_is_counted_by_the_models_own_decision(
    predictor: Predictor, layout: Layout, contract: Contract
) -> None:
    if len(contract.labels) != 2:
        return
    rows = held_out(layout, contract)
    expected = predictor.answers(rows)
    threshold = float(np.median(expected[:, 1]))
    decision = Decision(threshold=threshold)
    moved = predictor.info.model_copy(update={"decision": decision})
    shifted = np.column_stack([expected[:, 0], expected[:, 1] - 0.01])
    near = np.sum((shifted[:, 1] < threshold) & (expected[:, 1] >= threshold))
    parity = compare(replace(predictor, info=moved), rows, shifted)
    assert parity.flipped == near > 0

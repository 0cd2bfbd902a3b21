"""A table that nobody described becomes a contract, and a model that answers."""

import re
import shutil
import string
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from {{ cookiecutter.package_name }}.adopt import adopt
from {{ cookiecutter.package_name }}.adopt.contract_text import is_edited
from {{ cookiecutter.package_name }}.adopt.evidence import Evidence
from {{ cookiecutter.package_name }}.contract import Column, load_contract
from {{ cookiecutter.package_name }}.data import feedback, fetch, ingest, report, split, validate
from {{ cookiecutter.package_name }}.data.table import FAULTS
from {{ cookiecutter.package_name }}.errors import AdoptError, DataError, ProjectError
from {{ cookiecutter.package_name }}.features import Encoder
from {{ cookiecutter.package_name }}.layout import Layout
from {{ cookiecutter.package_name }}.params import load_params
from {{ cookiecutter.package_name }}.serving.app import create_app
from {{ cookiecutter.package_name }}.serving.prediction_log import PredictionLog
from {{ cookiecutter.package_name }}.serving.predictor import load_predictor
from {{ cookiecutter.package_name }}.serving.settings import Settings
from {{ cookiecutter.package_name }}.training import evaluate, export, gate, train
from {{ cookiecutter.package_name }}.training.rules_baseline import load_rules

pytestmark = pytest.mark.usefixtures("underived")
ROWS = 600


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Customers, with what real tables hold: everything is text."""
    random = np.random.default_rng(0)
    spend = random.normal(100, 20, ROWS)
    churn = np.where(spend + random.normal(0, 15, ROWS) > 105, "yes", "no")
    names = ["".join(random.choice(list(string.ascii_lowercase), 7)) for _ in range(ROWS)]
    spelled = random.choice(["Yes", "yes", "N", "no"], ROWS)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 300, ROWS), unit="D")
    return pd.DataFrame(
        {
            "customer_id": [str(1000 + row) for row in range(ROWS)],
            "full_name": names,
            "contact": [f"{name}@example.org" for name in names],
            "zip": [f"{code:05}" for code in random.integers(1, 40, ROWS)],
            "joined": days.strftime("%Y-%m-%d"),
            "paid": days.strftime("%d.%m.%Y"),
            "newsletter": spelled,
            "plan": random.choice(["basic", "plus", "pro"], ROWS),
            "tier": random.choice(["gold", "Gold", "silver"], ROWS),
            "visits": np.where(random.random(ROWS) < 0.1, "NA", random.integers(0, 30, ROWS)),
            "spend": [f"{value:.2f}" for value in spend],
            "age": [str(value) for value in random.integers(18, 80, ROWS)],
            "country": "CH",
            "notes": [f"{name} wrote {number}" for number, name in enumerate(names)],
            "cancelled_at": np.where(churn == "yes", "1", "0"),
            "churn": churn,
        }
    )


FIRST = ["Anna", "Ben", "Carla", "Deb", "Eli", "Fay"]
PRIVATE = {
    **{"courier_email": "{}@x.io", "contact": "{}@x.io", "IBAN": "DE00{}", "phone_no": "0151 {}"},
    **{"Driver": "{} Smith", "sales_rep_name": "{} Li", "customerName": "{}", "Telefon": "0711 {}"},
    **{
        "Stra\u00dfe": "Ring {}",
        "Strasse": "Ring {}",
        "Adresse": "Ring {}",
        "Geburtsdatum": "1 {}",
    },
    **{"Vorname": "{}", "Nachname": "{}", "nom": "{}", "prenom": "{}", "Pr\u00e9nom": "{}"},
    **{"correo": "{}", "tel\u00e9fono": "{}", "direccion": "{}", "nombre_cliente": "{}"},
}
HARMLESS = {
    "product_name": ["chair", "desk", "lamp"],
    "email_opt_in": ["yes", "no", "no"],
    "login_count": ["0", "7", "12"],
    "nombre_enfants": ["0", "1", "2"],
    "city": ["New York", "San Francisco", "Los Angeles"],
    "\u0433\u043e\u0440\u043e\u0434": ["a", "b", "c"],
    "eta": ["1", "2", "3"],
    "genre": ["jazz", "rock", "folk", "soul", "punk"],
    "average": ["1", "2", "3"],
    "driver": ["own", "hired", "guest"],
}
PROTECTED = [
    *("Geschlecht", "Alter", "Nationalit\u00e4t", "Nationalit\u0061\u0308t", "Religion", "sexe"),
    *("\u00e2ge", "genre", "edad", "sexo", "nacionalidad", "sesso", "et\u00e0", "nazionalit\u00e0"),
    *("Familienstand", "Staatsangeh\u00f6rigkeit", "STAATSANGEHOERIGKEIT", "Behinderung", "Sex"),
    *("age_group", "etat civil", "customerAge", "\u00e2ge du client"),
]


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Layout:
    """A project with the contract as it was generated: nobody has edited it."""
    layout = Layout(tmp_path / "project")
    layout.root.mkdir()
    for path in (layout.contract, layout.params, layout.rules):
        path.write_bytes((root / path.name).read_bytes())
    return layout


def given(folder: Path, frame: pd.DataFrame, **options: Any) -> Path:
    path = folder / "customers.csv"
    frame.to_csv(path, index=False, **options)
    return path


def adopted(project: Layout, data: object, **options: str) -> dict[str, Column]:
    shutil.rmtree(project.external, ignore_errors=True)
    adopt.run(project, data=str(data), target="churn", **{"replace": "1", **options})
    return {column.name: column for column in load_contract(project.contract).fields}


def test_each_column_gets_its_type_and_role(
    project: Layout, tmp_path: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = adopted(project, given(tmp_path, table))
    found = {name: (column.role, column.type) for name, column in columns.items()}
    assert found == {
        "customer_id": ("id", "integer"),
        "full_name": ("excluded", "string"),
        "contact": ("excluded", "string"),
        "zip": ("feature", "string"),
        "joined": ("time", "date"),
        "paid": ("excluded", "date"),
        "newsletter": ("feature", "boolean"),
        "plan": ("feature", "string"),
        "tier": ("feature", "string"),
        "visits": ("feature", "integer"),
        "spend": ("feature", "number"),
        "age": ("group", "integer"),
        "country": ("excluded", "string"),
        "notes": ("excluded", "string"),
        "cancelled_at": ("excluded", "integer"),
        "churn": ("target", "string"),
    }
    assert [name for name, column in columns.items() if column.pii] == ["full_name", "contact"]
    assert columns["plan"].constraints.enum == ["basic", "plus", "pro"]
    assert columns["customer_id"].constraints.unique
    assert columns["paid"].format == "%d.%m.%Y"
    assert columns["newsletter"].true_values == ["Yes", "yes"]
    assert not columns["visits"].constraints.required
    assert columns["spend"].constraints.required
    contract = load_contract(project.contract)
    assert contract.missing_values == ["", "NA"]
    assert (contract.task, contract.source.path) == (
        "classification",
        "data/external/customers.csv",
    )
    said = capsys.readouterr().out
    for doubt in (
        "cancelled_at: alone predicts churn",
        "zip: looks like a number",
        "newsletter: spelled Yes, yes, N, no",
        "tier: ['Gold', 'gold'] may be one value",
        "joined: the one time by which rows can be split, kept from the model",
        "paid: a second time beside joined",
        "full_name, contact: personal data",
        "age: protected in many countries",
    ):
        assert doubt in said
    text = project.contract.read_text(encoding="utf-8")
    assert "# Unsure: alone predicts churn" in text
    assert not [name for name in table["full_name"] if name in said + text]


def test_the_adopted_table_is_trained_gated_and_served(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    adopted(project, given(tmp_path, table))
    for stage in (ingest, validate, split, train, evaluate, export, gate):
        stage.run(project)
    predictor = load_predictor(project.serving)
    contract = predictor.contract
    answers = predictor.answers(Encoder(contract).rows([contract.example]))
    assert answers.shape == (1, 2)
    assert not {"full_name", "contact", "country"} & set(pd.read_parquet(project.raw).columns)


def test_a_numeric_target_makes_it_a_regression(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    path = given(tmp_path, table)
    adopt.run(project, data=str(path), target="spend", replace="1")
    contract = load_contract(project.contract)
    assert contract.task == "regression"
    params = load_params(project.params)
    kinds = [each.estimator.rpartition(".")[2] for each in params.model.profiles.values()]
    assert kinds == ["HistGradientBoostingRegressor", "Ridge"]
    assert (params.value.cost_per_unit, params.value.hurdle) == (1, 0)
    rules = load_rules(project.rules, contract)
    spend = table["spend"].astype(float)
    assert (rules.rules, rules.otherwise) == ([], spend.median())
    for stage in (ingest, validate, split, train, evaluate):
        stage.run(project)
    adopted(project, path)
    params = load_params(project.params)
    kinds = [each.estimator.rpartition(".")[2] for each in params.model.profiles.values()]
    assert kinds == ["HistGradientBoostingClassifier", "LogisticRegression"]
    shares = table["churn"].value_counts(normalize=True)
    assert params.value.costs == pytest.approx(
        {"no": 0.5 / shares["no"], "yes": 0.5 / shares["yes"]}, rel=0.01
    )


def test_value_and_rules_stay_while_the_target_does(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    adopted(project, given(tmp_path, table))
    edited = project.params.read_text(encoding="utf-8").replace("hurdle: 0", "hurdle: 7")
    project.params.write_text(edited, encoding="utf-8")
    project.rules.write_text("rules: []\notherwise: 'yes'\n", encoding="utf-8")
    adopted(project, given(tmp_path, table.drop(columns=["visits"])))
    assert project.params.read_text(encoding="utf-8") == edited
    assert load_rules(project.rules, load_contract(project.contract)).otherwise == "yes"


@pytest.mark.parametrize(
    ("encoding", "options"),
    [
        ("utf-8-sig", {}),
        ("utf-8", {"lineterminator": "\r\n"}),
        ("utf-8", {"sep": ";"}),
        ("utf-8", {"sep": "\t"}),
        ("utf-8", {"sep": "|", "quoting": 1}),
        ("utf-16", {}),
        ("utf-32", {}),
    ],
)
def test_a_dialect_is_found(
    encoding: str, options: dict[str, Any], project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    expected = adopted(project, given(tmp_path, table))
    path = given(tmp_path, table, encoding=encoding, **options)
    assert adopted(project, path) == expected
    ingest.run(project)
    assert len(pd.read_parquet(project.raw)) == ROWS


def test_decimal_commas_are_numbers(project: Layout, tmp_path: Path, table: pd.DataFrame) -> None:
    comma = table.assign(spend=table["spend"].str.replace(".", ","), plan="caf\u00e9")
    comma.loc[::2, "plan"] = "th\u00e9"
    path = given(tmp_path, comma, sep=";", encoding="cp1252")
    with pytest.raises(DataError, match=r"customers.csv line 2, byte \d+: 0xE9 .*ENCODING=cp1252"):
        adopted(project, path)
    columns = adopted(project, path, encoding="cp1252")
    assert columns["spend"].type == "number"
    assert columns["plan"].constraints.enum == ["caf\u00e9", "th\u00e9"]
    ingest.run(project)
    snapshot = pd.read_parquet(project.raw)
    assert snapshot["spend"].tolist() == table["spend"].astype(float).tolist()


def test_a_number_with_some_garbage_stays_a_number_and_says_so(
    project: Layout, tmp_path: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    table = table.copy()
    table.loc[7, "spend"] = "about 90"
    assert adopted(project, given(tmp_path, table))["spend"].type == "number"
    assert (
        "spend: 1 values are none, first one of the form 'aaaaa 99' (letters and"
        in capsys.readouterr().out
    )


def test_personal_data_that_repeat_are_kept_out(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    values = {
        name: [form.format(FIRST[row % len(FIRST)]) for row in range(ROWS)]
        for name, form in PRIVATE.items()
    }
    project.smoke_cases.parent.mkdir(parents=True)
    project.smoke_cases.touch()
    columns = adopted(project, given(tmp_path, table.assign(**values)))
    kept = [
        name for name in PRIVATE if (columns[name].role, columns[name].pii) != ("excluded", True)
    ]
    assert kept == []
    for path in (project.contract, project.smoke_cases):
        text = path.read_text(encoding="utf-8")
        assert [name for name, private in values.items() if private[0] in text] == []


def test_what_only_sounds_personal_or_protected_stays_a_feature(
    project: Layout, tmp_path: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {
        name: [some[row % len(some)] for row in range(ROWS)] for name, some in HARMLESS.items()
    }
    columns = adopted(project, given(tmp_path, table.assign(**values)))
    assert [name for name in HARMLESS if columns[name].role != "feature"] == []
    assert "may name" not in capsys.readouterr().out


def test_protected_columns_are_known_in_several_languages(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    values = np.where(np.arange(ROWS) % 3, "m", "w")
    columns = adopted(project, given(tmp_path, table.assign(**dict.fromkeys(PROTECTED, values))))
    assert [name for name in PROTECTED if columns[name].role != "group"] == []


def test_what_names_somebody_is_no_quantity_without_a_doubt(
    project: Layout, tmp_path: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    number = (np.arange(ROWS) % 39 + 1).astype(str)
    text = [f"a {each}" for each in number]
    ids: dict[str, Any] = {"driver_id": number, "driver id": number}
    others: dict[str, Any] = {
        "week_no": number,
        "Fahrer": number,
        "customer": text,
        "driverUUID": text,
    }
    columns = adopted(project, given(tmp_path, table.assign(**ids, **others)))
    assert {columns[name].role for name in ids} == {"excluded"}
    assert {columns[name].role for name in others} == {"feature"}
    said = capsys.readouterr().out
    assert "driver_id, driver id: 39 numbers that repeat; give it role id" in said
    assert "week_no, Fahrer, customer, driverUUID: may name who or what a row is about" in said


@pytest.mark.parametrize(
    ("text", "rows", "said"),
    [
        ("k.A.", 30, "30 values are none, 30 of them 'k.A.': rows are rejected; if it means"),
        ("k.A.", 9, "9 values are none, first one of the form 'a.A.' (letters and digits"),
        ("M\u00fcller", 9, "9 values are none, first one of the form 'Aaaaaa' (letters and"),
        ("Anna Li", 30, "30 values are none, first one of the form 'Aaaa Aa' (letters and"),
    ],
)
def test_a_mark_among_numbers_is_named_and_a_rare_text_is_not(
    text: str,
    rows: int,
    said: str,
    project: Layout,
    tmp_path: Path,
    table: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    marked = table.copy()
    marked.loc[: rows - 1, "spend"] = text
    column = adopted(project, given(tmp_path, marked))["spend"]
    out = capsys.readouterr().out
    assert f"spend: {said}" in out
    assert "missingValues" in out
    assert not column.constraints.required


def test_advice_on_numbers_uses_the_decimal_character_of_the_file(
    project: Layout, tmp_path: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    comma = table.assign(
        spend=table["spend"].str.replace(".", ","),
        plan=[f"1.32{row % 9},68" for row in range(ROWS)],
    )
    adopted(project, given(tmp_path, comma, sep=";"))
    assert "plan: numbers written with signs or separators" in (said := capsys.readouterr().out)
    assert "write them plain, such as 1234,5" in said


def test_half_numbers_are_text_and_say_so(
    project: Layout, tmp_path: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = table.assign(plan=np.where(np.arange(ROWS) % 3, "12", "twelve"))
    assert adopted(project, given(tmp_path, mixed))["plan"].type == "string"
    assert "plan: 67% of the first values are numbers" in capsys.readouterr().out


def test_line_breaks_in_quotes_lose_no_row(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    broken = table.assign(notes="a\nb")
    broken.loc[0, "notes"] = "c"
    assert adopted(project, given(tmp_path, broken))["notes"].constraints.enum == ["a\nb", "c"]
    ingest.run(project)
    assert len(pd.read_parquet(project.raw)) == ROWS


def test_typed_parquet_and_nested_columns(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    typed = table.assign(
        spend=table["spend"].astype(float).where(np.arange(ROWS) % 9 > 0),
        visits=pd.to_numeric(table["visits"], errors="coerce").astype("Int64"),
        newsletter=np.arange(ROWS) % 2 == 0,
        joined=pd.to_datetime(table["joined"]),
        plan=table["plan"].astype("category"),
        nested=pd.Series([[1, 2]] * ROWS, dtype=object),
    )
    path = tmp_path / "customers.parquet"
    typed.to_parquet(path, index=False)
    columns = adopted(project, path)
    found = {name: column.type for name, column in columns.items()}
    assert (found["spend"], found["visits"], found["newsletter"]) == (
        "number",
        "integer",
        "boolean",
    )
    assert (found["joined"], found["plan"], found["zip"]) == ("date", "string", "string")
    assert columns["nested"].role == "excluded"
    ingest.run(project)
    snapshot = pd.read_parquet(project.raw)
    assert snapshot["newsletter"].tolist() == [1.0, 0.0] * (ROWS // 2)
    assert (snapshot[FAULTS] == "").all()


def test_numbers_at_the_ends_of_their_types_keep_a_contract(
    project: Layout, tmp_path: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.arange(ROWS)
    ends = table.assign(
        huge=np.where(rows == 3, "1e39", (rows / 7).astype(str)),
        tiny=[str(1e-320 * (row + 1)) for row in rows],
        steady=[str(1e20 + 1e9 * row) for row in rows],
        beyond=[str(1e39 * (row + 1)) for row in rows],
    )
    columns = adopted(project, given(tmp_path, ends))
    assert {columns[name].type for name in ("huge", "tiny", "steady", "beyond")} == {"number"}
    assert columns["steady"].minimum <= 1e20
    assert columns["steady"].maximum >= float(ends["steady"].iloc[-1])
    assert "huge, beyond: values beyond 3.40282e+38" in capsys.readouterr().out


def test_digits_that_float64_cannot_tell_apart_stay_texts(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    long = table.assign(
        post=[str(2**62 + row) for row in range(ROWS)],
        post_id=[str(2**62 + row) for row in range(ROWS)],
    )
    columns = adopted(project, given(tmp_path, long))
    assert (columns["post"].role, columns["post"].type) == ("excluded", "string")
    assert (columns["post_id"].role, columns["post_id"].type) == ("id", "string")
    assert columns["post_id"].constraints.unique


@pytest.mark.parametrize("written", ["${}.50", "{}.25%", "{},000", "{}'000", "{} 000", "{},5"])
def test_numbers_written_with_signs_are_no_identifiers(
    written: str,
    project: Layout,
    tmp_path: Path,
    table: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    signs = table.assign(
        paid=[written.format(row + 1) for row in range(ROWS)],
        plan=[written.format(row % 5 + 1) for row in range(ROWS)],
    )
    columns = adopted(project, given(tmp_path, signs))
    assert (columns["paid"].role, columns["plan"].role) == ("excluded", "feature")
    assert "paid, plan: numbers written with signs" in capsys.readouterr().out


def test_types_of_parquet_that_few_functions_know(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    days = pd.date_range("2020", periods=ROWS, freq="h")
    plan = pa.array(table["plan"].tolist())
    added = {
        "view": plan.cast(pa.string_view()),
        "bytes": pa.array([b"x"] * ROWS).cast(pa.binary_view()),
        "length": pa.array((np.arange(ROWS) % 90).tolist(), pa.duration("s")),
        "large": plan.cast(pa.large_string()).dictionary_encode(),
        "": pa.array((np.arange(ROWS) % 4).tolist()),
        "at": pa.array(days).cast(pa.timestamp("ns")),
    }
    taken = pa.Table.from_pandas(table.drop(columns=["joined", "paid"]), preserve_index=False)
    for name, values in added.items():
        taken = taken.append_column(name, values)
    pq.write_table(taken, path := tmp_path / "customers.parquet")
    columns = adopted(project, path)
    place = f"column_{taken.column_names.index('') + 1}"
    assert [columns[name].role for name in ("view", "bytes", "length", "large", place, "at")] == [
        *("feature", "excluded", "feature", "feature", "feature", "time")
    ]
    ingest.run(project)
    snapshot = pd.read_parquet(project.raw)
    assert (snapshot[FAULTS] == "").all()
    assert snapshot["at"].tolist() == days.tz_localize("UTC").tolist()
    assert snapshot["length"].tolist() == [row % 90 for row in range(ROWS)]


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ("%d.%m.%y", "%d.%m.%y"),
        ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S"),
        ("%Y-%m-%d %H:%M:%S.123456789", None),
        ("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p"),
        ("%d/%m/%Y %I:%M %p", "%d/%m/%Y %I:%M %p"),
    ],
)
def test_a_date_keeps_its_year(
    form: str, found: str | None, project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    days = pd.to_datetime(table["joined"])
    path = given(tmp_path, table.assign(joined=days.dt.strftime(form)))
    columns = adopted(project, path)
    assert (columns["joined"].role, columns["joined"].format) == ("time", found)
    ingest.run(project)
    snapshot = pd.read_parquet(project.raw)
    assert snapshot["joined"].dt.tz_localize(None).dt.floor("D").tolist() == days.tolist()


def test_dates_in_several_formats_are_texts_and_say_so(
    project: Layout, tmp_path: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = table["joined"].where(np.arange(ROWS) % 2 == 0, "13/01/2024")
    assert adopted(project, given(tmp_path, table.assign(joined=mixed)))["joined"].role != "time"
    said = capsys.readouterr().out
    assert "joined: dates in no one known format" in said
    assert "and format as strptime reads it" in said


@pytest.mark.parametrize("kind", ["csv", "int64", "float64"])
def test_times_written_as_numbers_say_so_and_the_remedy_works(
    kind: str,
    project: Layout,
    tmp_path: Path,
    table: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paid = pd.to_datetime(table["paid"], format="%d.%m.%Y")
    seconds = (paid - pd.Timestamp(0)) // pd.Timedelta("1s") + np.arange(ROWS)
    written = table.assign(paid=paid.dt.strftime("%Y%m%d"), created_at=seconds)
    written = written.drop(columns=["joined"])
    if kind == "csv":
        path = given(tmp_path, written)
    else:
        path = tmp_path / "customers.parquet"
        written.astype({"paid": kind}).to_parquet(path)
    found = adopted(project, path)
    said = capsys.readouterr().out
    assert found["paid"].type == "integer"
    assert "paid: days such as 20240131, taken as numbers; if so, give it type date" in said
    assert "created_at: may be seconds or milliseconds since 1970" in said

    text = project.contract.read_text(encoding="utf-8")
    field = re.search(r"(?s)  - name: paid\n.*?(?=\n  [-#])", text)
    assert field
    remedy = '  - name: paid\n    type: date\n    role: time\n    format: "%Y%m%d"'
    project.contract.write_text(text.replace(field[0], remedy), encoding="utf-8")
    ingest.run(project)
    taken = pq.read_table(project.raw)["paid"].to_pandas()
    assert (taken == paid.dt.tz_localize("UTC")).all()


def test_a_file_may_have_the_name_of_a_glob(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    path = given(tmp_path, table).rename(tmp_path / "customers[1].csv")
    adopted(project, path)
    assert load_contract(project.contract).source.path == "data/external/customers[1].csv"
    ingest.run(project)


def test_files_of_one_folder_may_hold_a_column_in_other_types(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    table.assign(visits=None).to_parquet(folder / "a.parquet")
    table.assign(visits=np.arange(ROWS) % 30).to_parquet(folder / "b.parquet")
    assert adopted(project, folder)["visits"].type == "integer"
    ingest.run(project)
    assert pd.read_parquet(project.raw)["visits"].notna().sum() == ROWS


def test_files_of_one_name_are_refused(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    for year in ("2023", "2024"):
        (tmp_path / year).mkdir()
        given(tmp_path / year, table)
    with pytest.raises(DataError, match="2023/customers.csv and .*2024/customers.csv, .* one name"):
        adopted(project, tmp_path / "*" / "customers.csv")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text + "1,2\n", f"line {ROWS + 2}: 2 values where the first line names 16"),
        (lambda text: text.replace("\n", ",\n").replace(",\n", "\n", 1), "line 2: 17 values"),
        (lambda text: text.replace("\n", '\n"', 1), "line 2: a quoted value is not closed"),
        (lambda text: text.replace("\n", '\n"', 1) * 9, "a quoted value is not closed"),
        (lambda text: text.replace("basic", "x" * 9_000_000, 1), "a value longer than 8388608"),
        (lambda text: text.replace("plan", FAULTS, 1), r"the pipeline writes columns \(faults\)"),
        (lambda text: text.replace("plan", "pl\0an", 1), "'pl.x00an' has a NUL in its name"),
    ],
)
def test_what_no_csv_reader_could_read_whole_is_refused_by_its_place(
    damage: Any, message: str, project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    path = given(tmp_path, table)
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        adopted(project, path)


@pytest.mark.parametrize("name", ["\x85tier", "a\u2028b", "- a: b #c", "null", "'\"", "\ufefft"])
def test_a_name_is_the_same_in_the_contract(
    name: str, project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    assert name in adopted(project, given(tmp_path, table.rename(columns={"tier": name})))
    ingest.run(project)


def test_a_glob_is_one_table(project: Layout, tmp_path: Path, table: pd.DataFrame) -> None:
    table[:200].to_csv(tmp_path / "part-1.csv", index=False)
    table[200:].to_csv(tmp_path / "part-2.csv", index=False)
    adopted(project, tmp_path / "part-*.csv")
    assert load_contract(project.contract).source.path == "data/external/part"
    ingest.run(project)
    assert len(pd.read_parquet(project.raw)) == ROWS
    table[200:].drop(columns="plan").to_csv(tmp_path / "part-2.csv", index=False)
    with pytest.raises(DataError, match="part-2.csv and .*part-1.csv differ in plan"):
        adopted(project, tmp_path / "part-*.csv")


def test_an_edited_contract_stays_until_told_otherwise(
    project: Layout, tmp_path: Path, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    path = given(tmp_path, table)
    adopted(project, path)
    adopted(project, path, replace="")
    text = project.contract.read_text(encoding="utf-8")
    assert not is_edited(text)
    assert not is_edited(text.replace("\n", "\r\n"))
    edited = text.replace("role: group", "role: feature", 1)
    project.contract.write_text(edited, encoding="utf-8")
    with pytest.raises(AdoptError, match="was edited since it was generated, .*REPLACE=1"):
        adopted(project, path, replace="")
    assert project.contract.read_text(encoding="utf-8") == edited
    assert "-    role: feature\n+    role: group" in capsys.readouterr().out
    adopted(project, path, replace="1")
    assert project.contract.read_text(encoding="utf-8") == text


@pytest.fixture
def edited(project: Layout, tmp_path: Path, table: pd.DataFrame) -> str:
    """The text of a contract that somebody edited, whose table has a version."""
    adopted(project, given(tmp_path, table, sep=";"))
    (project.external / "customers.csv.dvc").touch()
    text = project.contract.read_text(encoding="utf-8").replace("role: group", "role: feature", 1)
    project.contract.write_text(text, encoding="utf-8")
    return text


def test_a_newer_export_comes_under_an_edited_contract(
    edited: str, project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    taken = project.external / "customers.csv"
    old = taken.read_bytes()
    newer = tmp_path / "newer export.csv"
    table[::-1].head(500).to_csv(newer, index=False, sep=";")
    with pytest.raises(AdoptError, match="so does the table: `make fetch DATA='.*newer export"):
        adopt.run(project, data=str(newer), target="churn")
    assert taken.read_bytes() == old
    fetch.run(project, data=str(newer))
    assert taken.read_bytes() == newer.read_bytes()
    assert project.contract.read_text(encoding="utf-8") == edited
    with pytest.raises(AdoptError, match="so does the table: `make train` reads this"):
        adopt.run(project, data=str(taken), target="churn")
    ingest.run(project)
    assert len(pd.read_parquet(project.raw)) == 500


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("plan", "tariff", 1), "newer.csv has tariff, which contract"),
        (lambda text: re.sub("(?m);[^;]+$", "", text), "newer.csv lacks churn of contract.yaml"),
        (lambda text: text + "1;2\n", f"newer.csv line {ROWS + 2}: 2 values where the first"),
        (lambda text: text.replace(";", ","), "newer.csv: the delimiter ';' finds one column"),
    ],
)
def test_another_table_is_not_fetched(
    damage: Any, message: str, edited: str, project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    taken = project.external / "customers.csv"
    old = taken.read_bytes()
    newer = tmp_path / "newer.csv"
    newer.write_text(damage(table.to_csv(index=False, sep=";")), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        fetch.run(project, data=str(newer))
    with pytest.raises(DataError, match="customers.csv is one file; let DATA be one, too"):
        fetch.run(project, data=str(tmp_path / "*.csv"))
    assert taken.read_bytes() == old
    assert project.contract.read_text(encoding="utf-8") == edited
    assert [each.name for each in project.external.glob(".*")] == []
    with pytest.raises(DataError, match="source.from names no origin, .*make fetch DATA=newer"):
        fetch.run(project)


def test_an_edited_contract_of_other_columns_names_them(
    edited: str, project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    path = given(tmp_path, table.drop(columns="plan"))
    with pytest.raises(AdoptError, match="and the contract differ in plan, so edit it"):
        adopt.run(project, data=str(path), target="churn")
    assert project.contract.read_text(encoding="utf-8") == edited


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"SQLite format 3\0", "is a SQLite database; say DATA=sqlite:///.* QUERY='SELECT"),
        (b"\x89HDF\r\n", "is an HDF5 file, no table"),
        (b"ARROW1\0\0", "is an Arrow or Feather file, no table"),
        (b"PK\x03\x04", "is an Excel workbook or a zip archive, no table"),
    ],
)
def test_a_binary_format_is_named(
    start: bytes, message: str, project: Layout, tmp_path: Path
) -> None:
    path = tmp_path / "customers.db"
    path.write_bytes(start + bytes(range(256)))
    with pytest.raises(DataError, match=message) as refusal:
        adopted(project, path)
    assert str(path) in str(refusal.value)
    assert "encoding" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "Churn"}, "no column 'Churn'; .*TARGET=churn"),
        ({"target": "country"}, "country holds 1 values, and a classification needs 2 to 20"),
        ({"target": "notes"}, "notes holds 600 values, and a classification needs 2 to 20"),
        (
            {"target": "plan", "task": "regression"},
            "plan holds texts, so the task is no regression",
        ),
        ({"encoding": "nosuch"}, "encoding 'nosuch' is none that Python knows"),
        ({"encoding": "base64"}, "encoding 'base64' is none that Python knows"),
        ({"delimiter": "; "}, "delimiter: String should match"),
        ({"delimiter": "\u00a7"}, "delimiter: String should match"),
        ({"data": "nowhere.csv"}, "nowhere.csv is no file, and matches none"),
        ({"data": ""}, "make adopt DATA=customers.csv TARGET=churn"),
        ({"data": "postgresql://ann:secret@db/crm", "query": "select 1"}, "holds a password"),
        (
            {"data": "postgresql://ann:{NO_SUCH}@db/crm", "query": "select 1"},
            "'NO_SUCH' is not set",
        ),
        (
            {"data": "postgresql://ann@db:port/crm", "query": "select 1"},
            "cannot be queried|needs sqlalchemy, which is not installed; add sql to GROUPS",
        ),
        ({"data": "postgresql://ann@db/crm"}, "is a database's URL; say what to take: QUERY="),
        ({"query": "select 1"}, "is no database's URL, so QUERY asks nothing"),
        ({"data": "file:///nowhere/{TOKEN}.csv"}, r"/nowhere/\{TOKEN\}.csv; correct the URL"),
        ({"data": "nosuch://bucket/file.csv"}, "nosuch://bucket/file.csv cannot be read"),
    ],
)
def test_what_cannot_be_adopted_changes_nothing(
    options: dict[str, str],
    message: str,
    project: Layout,
    tmp_path: Path,
    table: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    path = given(tmp_path, table)
    before = {each: each.read_bytes() for each in project.root.iterdir() if each.is_file()}
    with pytest.raises(ProjectError, match=message) as refusal:
        adopt.run(project, **{"data": str(path), "target": "churn", "replace": "1", **options})
    assert "secret" not in str(refusal.value)
    assert {each: each.read_bytes() for each in project.root.iterdir() if each.is_file()} == before
    assert list(project.external.glob("*")) == []


def test_a_file_that_no_version_keeps_is_not_overwritten(
    project: Layout, tmp_path: Path, table: pd.DataFrame
) -> None:
    project.external.mkdir(parents=True)
    mine = project.external / "customers.csv"
    mine.write_text("mine", encoding="utf-8")
    path = given(tmp_path, table)
    with pytest.raises(DataError, match="is there already, and in no version"):
        adopt.run(project, data=str(path), target="churn")
    assert mine.read_text(encoding="utf-8") == "mine"


def test_a_file_in_the_project_is_taken_where_it_is(project: Layout, table: pd.DataFrame) -> None:
    folder = project.root / "data" / "mine"
    folder.mkdir(parents=True)
    adopted(project, given(folder, table))
    assert load_contract(project.contract).source.path == "data/mine/customers.csv"
    assert not project.external.exists()


def contents(folder: Path) -> str:
    """All that files hold, also those in archives and in Parquet, and their names."""
    found = []
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        found.append(str(path))
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found += [
                    archive.read(name).decode("utf-8", "ignore") for name in archive.namelist()
                ]
        elif path.suffix == ".parquet":
            found.append(pd.read_parquet(path).to_csv())
        else:
            found.append(path.read_bytes().decode("utf-8", "ignore"))
    return "\n".join(found)


def test_no_private_value_reaches_a_log_a_report_or_an_artefact(
    project: Layout, tmp_path: Path, table: pd.DataFrame, capfd: pytest.CaptureFixture[str]
) -> None:
    planted = [f"Planted{letter}" for letter in string.ascii_uppercase[:20]]
    names = [planted[row % 20] for row in range(ROWS)]
    # Its spend is no number in some rows, so faults and reasons are written, too.
    private = table.assign(full_name=[f"{name} {row}" for row, name in enumerate(names)])
    private["contact"] = [f"{name}{row}@example.org" for row, name in enumerate(names)]
    private.loc[:3, "spend"] = private.loc[:3, "contact"]
    adopted(project, given(tmp_path, private))
    text = project.contract.read_text(encoding="utf-8")
    spend = text[text.index("- name: spend") :]
    text = text.replace(spend, spend.replace("role: feature", "role: feature\n    pii: true", 1))
    project.contract.write_text(text, encoding="utf-8")
    for stage in (ingest, validate, split, train, evaluate, export, gate, report):
        stage.run(project)
    log = project.root / "logs" / "predictions.jsonl"
    predictor = load_predictor(project.serving)
    with TestClient(create_app(predictor, PredictionLog(str(log)), Settings())) as client:
        row = predictor.contract.example
        answers = [client.post("/v1/predictions", json=row).json()]
        shown = [
            client.post("/v1/predictions", json={**row, "spend": name}).text for name in planted
        ]
        shown.append(client.get("/openapi.json").text)
    later = "2100-01-01"
    truth = tmp_path / "truth.csv"
    pd.DataFrame(
        [{"prediction_id": answers[0]["prediction_id"], "time": later, "churn": "yes"}]
    ).to_csv(truth, index=False)
    feedback.run(project, truth=str(truth), log=str(log))
    printed = capfd.readouterr()
    shutil.rmtree(project.external)
    said = "\n".join([*shown, printed.out, printed.err, contents(project.root)])
    assert "churn" in said
    assert [name for name in planted if name in said] == []


@pytest.mark.parametrize(
    ("batches", "unique"),
    [
        ([["7", "3"], ["5", "1"]], True),
        ([["7", "3"], ["5", "7"]], False),
        ([["7", "3", "7"]], False),
        ([["b", "a"], ["c", "b"]], False),
    ],
)
def test_a_value_that_comes_twice_is_seen_wherever_it_stands(
    batches: list[list[str]], unique: bool
) -> None:
    evidence = Evidence("id", ".")
    for batch in batches:
        evidence.add(pa.array(batch))
    assert evidence.unique is unique

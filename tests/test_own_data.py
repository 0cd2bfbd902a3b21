"""A table of one's own becomes a service: real tables, a database, an object store, large files."""

import json
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project, make_once, outside, run_in
from machine import REPRO, free_port, installed, started
from stores import KEYS, NO_KEYS, object_store, postgresql, put

pytestmark = pytest.mark.slow

# Under licences that allow it: BSD-3 (scikit-learn, vega_datasets), CC0 (palmerpenguins), MIT.
PACKAGES = ("palmerpenguins==0.1.6", "vega_datasets==0.9.0", "lifelines==0.30.3")
TABLES = {  # file: target
    "breast_cancer.parquet": "target",
    "wine.csv": "target",
    "diabetes.csv": "target",
    "digits.parquet": "target",
    "penguins.csv": "species",
    "penguins-raw.csv": "Species",
    "seattle-weather.csv": "weather",
    "cars.parquet": "Miles_per_Gallon",
    "ACTG175.csv": "cens",
    "dd.csv": "regime",
}
WRITE = """
import json, sys
from pathlib import Path
import pandas, sklearn.datasets as bundled
out = Path(sys.argv[1])
for name in ("wine", "diabetes"):
    getattr(bundled, f"load_{name}")(as_frame=True).frame.to_csv(out / f"{name}.csv", index=False)
for name in ("breast_cancer", "digits"):
    getattr(bundled, f"load_{name}")(as_frame=True).frame.to_parquet(out / f"{name}.parquet")
pandas.read_json(out / "cars.json").to_parquet(out / "cars.parquet")
"""
HALF = 0.5
# Forks a job again and again, kills it at a random moment, and looks at what it left.
KILL = """
import hashlib, json, os, random, shutil, signal, sys, time
from datetime import UTC, datetime
from pathlib import Path
from {package}.adopt import adopt
from {package}.contract import load_contract
from {package}.data import feedback, ingest
from {package}.layout import Layout

base, times = Path(sys.argv[1]), 30
sample = base / "data/sample/credit.csv"
lines = sample.read_text(encoding="utf-8").splitlines()
sample.write_text("\\n".join(lines[:1] + lines[1:] * 20), encoding="utf-8")
contract = load_contract(base / "contract.yaml")
asked = [
    {{"time": "2025-01-01T00:00:00Z", "prediction_id": str(n), "inputs": contract.example}}
    for n in range(20_000)
]
log, truth = base.with_name("log.jsonl"), base.with_name("truth.csv")
log.write_text("\\n".join(map(json.dumps, asked)), encoding="utf-8")
target = contract.target.name
truth.write_text(
    "\\n".join([f"prediction_id,time,{{target}}"]
    + [f"{{n}},2025-02-01,{{contract.labels[0]}}" for n in range(20_000)]), encoding="utf-8")
other = base.with_name("other.csv")
shutil.copy(sample, other)
JOBS = {{
    "ingest": ingest.run,
    "adopt": lambda layout: adopt.run(layout, data=str(other), target=target),
    "feedback": lambda layout: feedback.run(layout, truth=str(truth), log=str(log)),
}}

def state(root):
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {{
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
    }}

def fork(job, root):
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        job(Layout(root))
        os._exit(0)
    return pid

for name, job in JOBS.items():
    work = base.with_name("work")
    shutil.copytree(base, work)
    start = time.monotonic()
    assert os.waitpid(fork(job, work), 0)[1] == 0
    duration = time.monotonic() - start
    before, after = state(base), state(work)
    assert before != after
    midway = 0
    for turn in range(times):
        shutil.rmtree(work)
        shutil.copytree(base, work)
        pid = fork(job, work)
        time.sleep((turn + 0.5) / times * duration)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        found = state(work)
        for key in before.keys() | found.keys():
            assert found.get(key) in (before.get(key), after.get(key)), (name, turn, key)
        midway += found != after
    shutil.rmtree(work)
    print(name, times, "kills", midway, "before the end")
"""
BIG = """
import resource, shutil, sys, time
from pathlib import Path
import numpy, pyarrow, pyarrow.csv
from {package}.adopt import adopt
from {package}.data import ingest
from {package}.layout import Layout

table, layout = Path(sys.argv[1]), Layout(Path(sys.argv[2]))
random, rows = numpy.random.default_rng(0), 2_000_000
columns = {{f"x{{place}}": numpy.round(random.normal(size=rows) * 100, 3) for place in range(8)}}
columns |= {{f"k{{place}}": random.integers(0, 1000, rows) for place in range(3)}}
columns |= {{f"c{{place}}": random.choice(["alpha", "beta", "gamma"], rows) for place in range(3)}}
columns |= {{"id": numpy.arange(rows), "y": random.choice(["yes", "no"], rows)}}
if sys.argv[3] == "write":
    pyarrow.csv.write_csv(pyarrow.table(columns), table)
    sys.exit()
del columns
jobs = {{
    "adopt": lambda: adopt.run(layout, data=str(table), target="y"),
    "ingest": lambda: ingest.run(layout),
    "pyarrow": lambda: pyarrow.csv.read_csv(table).num_rows,
}}
best, memory = dict.fromkeys(jobs, 0.0), 0
for _ in range(8):
    shutil.rmtree(layout.external, ignore_errors=True)
    took = {{}}
    for name, job in jobs.items():
        if name == "pyarrow":  # which holds the whole table
            memory = memory or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        start = time.monotonic()
        job()
        took[name] = time.monotonic() - start
    # Neighbours in time, so what else the machine does slows both.
    best = {{name: max(best[name], took["pyarrow"] / took[name]) for name in jobs}}
    if min(best.values()) >= float(sys.argv[4]):
        break
print("figures", memory, best["adopt"], best["ingest"])
"""


@pytest.fixture(scope="module")
def own(shared: Path, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose contract each test replaces."""
    folder = tmp_path_factory.mktemp("own") / project.path.name
    shutil.copytree(project.path, folder, symlinks=True)
    made = installed(Project(folder, project.answers), shared, project)
    made.run("make", "setup")
    return made


@pytest.fixture(scope="module")
def tables(shared: Path, own: Project) -> Path:
    """The real tables, as files."""

    def make(folder: Path) -> None:
        packages = folder / "packages"
        run_in(own.path, "uv", "pip", "install", "--no-deps", "--target", packages, *PACKAGES)
        for path in packages.rglob("*"):
            if path.name in TABLES or path.name == "cars.json":
                shutil.copy(path, folder / path.name)
        own.run(own.path / ".venv/bin/python", "-c", WRITE, folder)
        shutil.rmtree(packages)

    return make_once(shared / "tables", make)


def ask(address: str) -> dict[str, object]:
    """Send the service the example of its own documentation."""
    with urllib.request.urlopen(f"{address}/openapi.json", timeout=10) as response:
        body = json.load(response)["paths"]["/v1/predictions"]["post"]["requestBody"]
    example = json.dumps(body["content"]["application/json"]["example"]).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/predictions", example, headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, object] = json.load(response)
    return answer


@pytest.mark.parametrize("name", TABLES)
def test_a_real_table_becomes_an_answered_prediction(name: str, own: Project, tables: Path) -> None:
    env = {"DATA": str(tables / name), "TARGET": TABLES[name]}
    own.run("make", "adopt", *(f"{key}={value}" for key, value in env.items()))
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = ("make", "--directory", own.path, "serve", f"PORT={port}")
    with started(*command, ready=f"{address}/health/ready", env=outside(), patience=300):
        answer = ask(address)
    assert {"label", "value"} & set(answer)
    assert str(answer["model_version"]) in own.read("logs/predictions.jsonl")


def test_a_query_is_adopted_and_fetched_again(own: Project) -> None:
    with postgresql(password="tell-nobody") as (sql, url):
        make = """create table customers as select n as customer_id, 'p' || n % 3 as plan,
            n % 7 + 0.25 as spend, n % 2 = 0 as active, null::text as note,
            timestamp '2024-01-01' + n * interval '1 hour' as joined,
            case when n * 7919 % 100 < 14 * (n % 7) then 'yes' else 'no' end as churn
            from generate_series(1, 500) as n"""
        run_in(own.path, *sql, make)
        adopt = ("make", "adopt", f"DATA={url}", "QUERY=select * from customers", "TARGET=churn")
        lacking = own.run(*adopt, check=False)
        assert lacking.returncode
        assert "needs sqlalchemy, which is not installed; add sql to GROUPS" in lacking.stderr
        groups = "GROUPS=aws sql"
        wrong = own.run(*adopt, groups, env={"PGPASSWORD": "guess"}, check=False)
        assert "cannot be queried" in wrong.stderr
        assert "password authentication failed" in wrong.stderr
        assert "Traceback" not in wrong.stderr
        key = {"PGPASSWORD": "tell-nobody"}
        own.run(*adopt, groups, env=key)
        contract = own.read("contract.yaml")
        assert f"from: '{url}'" in contract or f"from: {url}" in contract
        assert "tell-nobody" not in contract
        first = own.read("data/external/query.csv").splitlines()
        assert first[:2] == [
            "customer_id,plan,spend,active,note,joined,churn",
            "1,p1,1.25,false,,2024-01-01T01:00:00,no",
        ]
        own.run(*REPRO, "ingest")
        run_in(
            own.path, *sql, "insert into customers select 501, 'p1', 2.25, true, null, now(), 'no'"
        )
        own.run("make", "fetch", groups, env=key)
        assert len(own.read("data/external/query.csv").splitlines()) == len(first) + 1
        assert "501 rows" in own.run("make", "train").stdout


def test_objects_are_adopted_as_one_table(own: Project) -> None:
    rows = [f"{place % 9},{'yes' if place % 9 > 4 else 'no'}" for place in range(300)]
    adopt = ("make", "adopt", "DATA=s3://team/orders/2025-*.csv", "TARGET=late")
    with object_store() as address:
        for month in range(3):
            part = "\n".join(["weight,late", *rows[month * 100 : month * 100 + 100]])
            put(address, f"orders/2025-0{month}.csv", part.encode())
        store = {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1"}
        none = own.run(*adopt, env={**store, **NO_KEYS}, check=False)
        assert "s3://team/orders/2025-*.csv cannot be read" in none.stderr
        assert "set the credentials where s3's own tools look for them" in none.stderr
        assert "Traceback" not in none.stderr
        own.run(*adopt, env={**store, **KEYS})
    assert "path: data/external/2025" in own.read("contract.yaml")
    assert sorted(path.name for path in (own.path / "data/external/2025").iterdir()) == [
        f"2025-0{month}.csv" for month in range(3)
    ]


def test_an_ascii_locale_and_names_of_any_language_change_nothing(
    own: Project, tmp_path: Path
) -> None:
    limits = [20 + place * 7919 % 61 for place in range(400)]
    rows = [f"{place / 4},{'là' if limits[place] > place / 4 else 'où'}" for place in range(400)]
    table = tmp_path / "données" / "été.csv"
    table.parent.mkdir()
    table.write_text("\n".join(["âge du cœur,état", *rows]), encoding="utf-8")
    found = []
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    # Of the one to compare with, the stages that make what is compared.
    for train, env in (((*REPRO, "train"), {}), (("make", "train"), ascii_only)):
        shutil.rmtree(own.path / "data" / "external", ignore_errors=True)
        own.run("make", "adopt", f"DATA={table}", "TARGET=état", env=env)
        own.run(*train, env=env)
        made = (
            "contract.yaml",
            "data/external/été.csv",
            "data/train.parquet",
            "models/model.skops",
        )
        found.append([(own.path / name).read_bytes() for name in made])
    assert found[0] == found[1]


def script(own: Project, code: str, *args: object, **names: str) -> str:
    """Run code in the project's environment, with its package's name filled in."""
    text = code.format(package=own.package.name, **names)
    return own.run(own.path / ".venv/bin/python", "-c", text, *args).stdout


def figures(printed: str) -> list[float]:
    return [float(each) for each in printed.rpartition("figures")[2].split()]


def small(own: Project, folder: Path) -> Path:
    """A project folder without git and DVC, as it was generated."""
    for name in ("baseline.yaml", "contract.yaml", "params.yaml", "data/sample/credit.csv"):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(own.run("git", "show", f"HEAD:{name}").stdout, encoding="utf-8")
    return folder


def test_no_kill_tears_a_file(
    own: Project, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    base = small(own, tmp_path / "base")
    printed = script(own, KILL, base)
    for line in printed.splitlines():
        record_property("kill -9", line)
    assert len(printed.splitlines()) == 3
    assert all(int(line.split()[3]) > 5 for line in printed.splitlines())


def test_a_large_file_is_read_fast_in_bounded_memory(
    own: Project, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    table = tmp_path / "large.csv"
    base = small(own, tmp_path / "base")
    script(own, BIG, table, base, "write")
    memory, adopt, ingest = figures(script(own, BIG, table, base, "read", HALF))
    record_property("2 million rows, MB of memory", f"{memory:.0f} of 1500")
    record_property("speed of pyarrow's reading", f"adopt {adopt:.2f}, ingest {ingest:.2f}")
    assert memory < 1500
    assert min(adopt, ingest) >= HALF, "of pyarrow's speed, in the best of eight rounds"

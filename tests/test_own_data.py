"""A table of one's own becomes a service: real tables, a database, an object store, large files."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Project, make_once, outside, run_in
from machine import activated, dvc_cache, free_port, started
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
# Forks a job again and again, kills it at a random moment, and looks at what it left.
KILL = """
import hashlib, os, random, shutil, signal, sys, time
from pathlib import Path
from {package}.adopt import adopt
from {package}.data import {jobs}
from {package}.layout import Layout

def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()

def state(root):
    return {{str(p.relative_to(root)): digest(p) for p in sorted(root.rglob("[!.]*")) if p.is_file()
            and not any(part.startswith(".") for part in p.relative_to(root).parts)}}

def fork(job, root):
    pid = os.fork()
    if not pid:
        os.close(1)
        os.open(os.devnull, os.O_WRONLY)
        job(Layout(root))
        os._exit(0)
    return pid

def torment(name, job, base, times):
    work = base.with_name("work")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(base, work)
    start = time.monotonic()
    assert os.waitpid(fork(job, work), 0)[1] == 0
    duration = time.monotonic() - start
    before, after = state(base), state(work)
    midway = 0
    for _ in range(times):
        shutil.rmtree(work)
        shutil.copytree(base, work)
        pid = fork(job, work)
        time.sleep(random.uniform(0.1, 1.05) * duration)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        found = state(work)
        torn = {{key for key, value in found.items() if value not in (before.get(key), after.get(key))}}
        lost = {{key for key in before if key in after and key not in found}}
        assert not torn and not lost, (name, torn, lost)
        midway += found != after
    print(name, times, "kills,", midway, "before the end")
"""
BIG = """
import resource, sys, time
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
    "pyarrow": lambda: pyarrow.csv.read_csv(table).num_rows,
    "adopt": lambda: adopt.run(layout, data=str(table), target="y", replace="1"),
    "ingest": lambda: ingest.run(layout),
}}
if sys.argv[3] == "memory":
    jobs["adopt"](), jobs["ingest"]()
    print("figures", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    sys.exit()
best = dict.fromkeys(jobs, float("inf"))
for _ in range(3):
    for name, job in jobs.items():
        start = time.monotonic()
        job()
        best[name] = min(best[name], time.monotonic() - start)
print("figures", best["pyarrow"] / best["adopt"], best["pyarrow"] / best["ingest"])
"""


@pytest.fixture(scope="module")
def own(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose contract each test replaces."""
    folder = tmp_path_factory.mktemp("own") / project.path.name
    shutil.copytree(project.path, folder, symlinks=True)
    run_in(folder, "make", "setup")
    return Project(folder, project.answers)


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
    assert answer["model_version"] in own.read("logs/predictions.jsonl")


def test_a_query_is_adopted_and_fetched_again(own: Project) -> None:
    with postgresql(password="tell-nobody") as (sql, url):
        make = """create table customers as select n as customer_id, 'p' || n % 3 as plan,
            n % 7 + 0.25 as spend, n % 2 = 0 as active, null::text as note,
            timestamp '2024-01-01' + n * interval '1 hour' as joined,
            case when n % 7 > 2 then 'yes' else 'no' end as churn
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
        own.run("make", "train")
        run_in(own.path, *sql, "insert into customers select 501, 'p1', 2.25, true, null, now(), 'no'")
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


def script(own: Project, code: str, *args: object, **names: str) -> str:
    """Run code in the project's environment, with its package's name filled in."""
    text = code.format(package=own.package.name, **names)
    return own.run(own.path / ".venv/bin/python", "-c", text, *args).stdout


def test_no_kill_tears_a_file(own: Project, tmp_path: Path) -> None:
    base = tmp_path / "base"
    for name in ("contract.yaml", "params.yaml", "data/sample/credit.csv"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT_FILES(own, name), base / name)
    printed = script(own, KILL + KILLED, base, tmp_path, jobs="ingest")
    assert printed.count("kills") == 2

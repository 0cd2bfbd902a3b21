"""Drives a running service by ops/usage-profile.yaml: what `make burst` and `make soak` run.

SERVICE_URL says which service, API_KEY what it wants to see. Requests leave when they are due,
whatever the answers do, and an answer's time counts from then on: a service that falls behind
shows. They are dry runs, so none counts as served.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np

from {{ cookiecutter.package_name }}.contract import Column, load_contract
from {{ cookiecutter.package_name }}.errors import ProjectError
from {{ cookiecutter.package_name }}.serving.usage_profile import PROFILE, UsageProfile, load_profile

URL = os.environ.get("SERVICE_URL", "http://127.0.0.1:8000")
KEY = os.environ.get("API_KEY")
PATIENCE = 10
"""Seconds after which a request has failed."""
SOAK_SHARE = 0.7
MAX_GROWTH_MB = 1.0
"""In ten minutes, or in a run that is shorter."""
WARM_SHARE = 0.1
"""Of a soak, in which memory may still settle."""
SAMPLES = 600


@dataclass
class Outcome:
    """What came of a run: milliseconds of the answers, and how often what went wrong.

    late: the most milliseconds by which a request left late, which is this machine's doing.
    """

    seconds: float = 0.0
    late: float = 0.0
    took: list[float] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def p99(self) -> float:
        """Milliseconds within which 99 of 100 answers came."""
        return float(np.percentile(self.took, 99)) if self.took else float("inf")

    def __str__(self) -> str:
        times = ", ".join(
            f"p{share} {np.percentile(self.took, share):.1f}" for share in (50, 95, 99) if self.took
        )
        faults = "".join(f"\n  {count} x {fault}" for fault, count in self.faults.most_common())
        return (
            f"{len(self.took) / self.seconds:.1f} answered a second, {times or 'no answer'} ms,"
            f" {self.faults.total()} errors, sent up to {self.late:.1f} ms late{faults}"
        )


def value(column: Column, chance: np.random.Generator) -> Any:
    """A value that the contract allows, near its example where it names no range."""
    if column.type == "boolean":
        return bool(chance.integers(2))
    if not column.is_number:
        known = column.constraints.enum
        return known[chance.integers(len(known))] if known else column.example
    near = min(max(float(column.example or 0), column.minimum), column.maximum)
    low, high = max(column.minimum, near - abs(near) - 1), min(column.maximum, 2 * abs(near) + 1)
    if column.type == "integer":
        return int(chance.integers(int(np.ceil(low)), int(high), endpoint=True))
    return float(chance.uniform(low, high))


def rows() -> Iterator[dict[str, Any]]:
    """Rows under contract.yaml, all different as long as it has so many."""
    features = load_contract(Path("contract.yaml")).features
    chance, seen = np.random.default_rng(0), set()
    while True:
        for _ in range(100):
            row = {column.name: value(column, chance) for column in features}
            if (key := hash(tuple(row.values()))) not in seen:
                break
        seen.add(key)
        yield row


def bodies(count: int) -> Iterator[bytes]:
    """Bodies of so many rows."""
    source = rows()
    while True:
        several = list(islice(source, count))
        yield json.dumps(several[0] if count == 1 else several).encode()


async def drive(rate: float, seconds: float, source: Iterator[bytes]) -> Outcome:
    """Ask so often a second for so long."""
    loop, found = asyncio.get_running_loop(), Outcome()
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {KEY}"} if KEY else {}

    async def ask(due: float, body: bytes) -> None:
        try:
            response = await client.post("/v1/predictions?dry_run=true", content=body)
        except httpx2.HTTPError as fault:
            found.faults[repr(fault)] += 1
            return
        if response.status_code == httpx2.codes.OK:
            found.took.append(1000 * (loop.time() - due))
        else:
            found.faults[f"{response.status_code} {response.text[:200]}"] += 1

    async with httpx2.AsyncClient(base_url=URL, timeout=PATIENCE, headers=headers) as client:
        (await client.get("/health/ready")).raise_for_status()
        start = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(max(1, round(rate * seconds))):
                body, due = next(source), start + number / rate
                await asyncio.sleep(due - loop.time())
                found.late = max(found.late, 1000 * (loop.time() - due))
                group.create_task(ask(due, body))
        found.seconds = max(seconds, loop.time() - start)
    return found


def burst(profile: UsageProfile, seconds: float) -> str | None:
    """Ask at the expected rate, then at the burst; say what is not as the profile wants it."""
    source, wrong = bodies(profile.rows_per_request), None
    for key in ("requests_per_second", "burst_per_second"):
        found = asyncio.run(drive(getattr(profile, key), seconds, source))
        print(f"{key} {getattr(profile, key)} for {seconds:g} s: {found}", flush=True)
        if found.faults:
            wrong = wrong or f"{key}: {found.faults.total()} requests failed; see above"
        elif found.p99 > profile.latency_ms:
            remedy = "give the service more workers or instances, or correct the profile"
            if found.late > profile.latency_ms:
                remedy = "but requests left late: run this where more processors are free"
            wrong = wrong or (
                f"{key}: p99 is {found.p99:.1f} ms, and latency_ms of {PROFILE} is"
                f" {profile.latency_ms}; {remedy}"
            )
    return wrong


def processes(port: int) -> list[Path]:
    """The processes of this machine that listen on a port, by their folders in /proc."""
    lines = [
        line.split()
        for table in Path("/proc/net").glob("tcp*")  # none outside of Linux
        for line in table.read_text("ascii").splitlines()[1:]
    ]
    listening = "0A"
    sockets = {
        f"socket:[{inode}]"
        for _, address, _, state, *rest in lines
        if state == listening and address.endswith(f":{port:04X}")
        for inode in rest[5:6]
    }
    found = set()
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if str(handle.readlink()) in sockets:
                found.add(handle.parents[1])
    return sorted(found)


def megabytes(folders: list[Path]) -> float:
    """What the processes hold together."""
    texts = [(folder / "statm").read_text("ascii") for folder in folders]
    return sum(int(text.split()[1]) for text in texts) * os.sysconf("SC_PAGESIZE") / 1e6


async def watched(rate: float, seconds: float, source: Iterator[bytes]) -> tuple[Outcome, float]:
    """Drive the service, and tell by how many MB it grows in ten minutes."""
    folders = processes(urlsplit(URL).port or 80)
    if not folders:
        raise ProjectError(f"no process of yours here listens for {URL}; run this beside it")
    loop, seen = asyncio.get_running_loop(), []
    driving, start = asyncio.create_task(drive(rate, seconds, source)), loop.time()
    while not driving.done():
        try:
            seen.append((loop.time() - start, megabytes(folders)))
        except OSError:
            raise ProjectError(f"a process of {URL} has ended; see its log") from None
        await asyncio.wait([driving], timeout=seconds / SAMPLES)
    times, sizes = np.array(seen)[int(len(seen) * WARM_SHARE) :].T
    return driving.result(), float(np.polyfit(times, sizes, 1)[0] * 600)


def soak(profile: UsageProfile, seconds: float) -> str | None:
    """Ask at a share of the expected rate for long; say what fails or grows."""
    rate = SOAK_SHARE * profile.requests_per_second
    found, slope = asyncio.run(watched(rate, seconds, bodies(profile.rows_per_request)))
    print(f"{rate:g} requests/s for {seconds / 60:g} min: {found}\n{slope:+.2f} MB in 10 min")
    if found.faults:
        return f"{found.faults.total()} requests failed; see above"
    if slope * min(1, seconds / 600) >= MAX_GROWTH_MB:
        return (
            f"the service grows by {slope:.2f} MB in 10 min, at most {MAX_GROWTH_MB}; find out why"
        )
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=("burst", "soak"))
    parser.add_argument("--minutes", type=float, help="of a soak, or of either half of a burst")
    given = parser.parse_args()
    job, minutes = {"burst": (burst, 0.2), "soak": (soak, 60.0)}[given.job]
    minutes = minutes if given.minutes is None else given.minutes
    if not 0 < minutes < 1e5:
        parser.error(f"--minutes is {minutes}; give a number above 0")
    try:
        wrong = job(load_profile(), 60 * minutes)
    except ProjectError as refusal:
        wrong = str(refusal)
    except httpx2.HTTPError as fault:
        wrong = f"{URL} is not ready ({fault}); run `make serve`, or name the service by URL="
    sys.exit(wrong and f"{given.job}: {wrong}")


if __name__ == "__main__":
    main()

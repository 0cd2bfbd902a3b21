"""Makes a project from the default answers and does there what its first user would.

DIR names the project's folder; a project that is there already is used again. Without DIR a new
folder outside this clone is made.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).resolve().parent
START = time.monotonic()
PATIENCE = 300


def say(text: str) -> None:
    """Print a step of the demo with the seconds since its start."""
    print(f"\n[{time.monotonic() - START:5.1f} s] {text}", flush=True)


def project_folder() -> Path:
    """The project that DIR names, or a new one."""
    wanted = os.environ.get("DIR")
    if wanted and Path(wanted, "contract.yaml").is_file():
        say(f"Using the project in {wanted}")
        return Path(wanted).resolve()
    target = (
        Path(wanted).resolve()
        if wanted
        else Path(tempfile.mkdtemp(prefix="ml-cd-demo-"), "credit-risk")
    )
    if target.is_relative_to(TEMPLATE):
        sys.exit(f"demo: DIR {wanted} is inside the template; name a folder outside of it")
    say(f"cookiecutter: a project from the default answers, in {target}")
    made = cookiecutter(
        str(TEMPLATE),
        no_input=True,
        default_config=True,
        output_dir=str(target.parent),
        extra_context={"project_slug": target.name} if wanted else None,
    )
    return Path(made)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def fetch(url: str, row: dict[str, Any] | None = None) -> Any:
    """GET a URL, or POST a row to it, and read the JSON that it answers."""
    body = None if row is None else json.dumps(row).encode("utf-8")
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Return once the service is ready; stop the demo when it ends or takes too long."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"demo: the service ended with {process.returncode}; the reason stands above")
        try:
            fetch(f"{url}/health/ready")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    sys.exit(f"demo: {url} is not ready after {PATIENCE} s")


def main() -> None:
    folder = project_folder()
    # The project brings an environment and a Makefile of its own; the template's stay out.
    ours = {"VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    say("make setup: the environment from the project's lock")
    subprocess.run(["make", "setup"], cwd=folder, env=environment, check=True)
    say("make train: data, model, gate and artefact; only what has changed is run")
    subprocess.run(["make", "train"], cwd=folder, env=environment, check=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    package = next((folder / "src").iterdir()).name
    say(f"python -m {package} serve, which is what `make serve` ends in")
    service = subprocess.Popen(
        [folder / ".venv/bin/python", "-m", package, "serve"],
        cwd=folder,
        env={**environment, "PORT": str(port)},
    )
    try:
        wait_until_ready(url, service)
        document = fetch(f"{url}/openapi.json")
        operation = document["paths"]["/v1/predictions"]["post"]
        row = operation["requestBody"]["content"]["application/json"]["example"]
        say("POST /v1/predictions: a real row of the sample")
        print(json.dumps(row))
        answer = fetch(f"{url}/v1/predictions", row)
        for name in ("label", "probability", "value", "model_version", "prediction_id"):
            if name in answer:
                print(f"  {name:14} {answer[name]}")
        say("Done.")
        print(f"  go on:  cd {folder} && make help\n  again:  make demo DIR={folder}", flush=True)
        if sys.stdin.isatty():
            print(f"  the service goes on, on {url}; Ctrl-C stops it", flush=True)
            service.wait()
        else:
            print("  the service is stopped now; make serve starts it", flush=True)
    except KeyboardInterrupt:
        pass
    finally:
        if service.poll() is None:
            service.terminate()
            service.wait()


if __name__ == "__main__":
    main()

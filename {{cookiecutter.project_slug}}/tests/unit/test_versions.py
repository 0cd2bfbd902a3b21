import ast
import shutil
import threading
import time
from pathlib import Path

import pytest
from dvc.scm import Git

from {{ cookiecutter.package_name }} import remote, versions
from {{ cookiecutter.package_name }}.errors import VersionError

# DVC asks pygtrie for what pygtrie will drop.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

PIPELINE = """stages:
  copy:
    cmd: mkdir -p out && cp params.yaml out/copy
    deps: [params.yaml]
    outs: [out]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one stage, run once, whose default remote is a folder."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text(
        f"[core]\n    no_scm = true\n    analytics = false\n    remote = local\n"
        f"    site_cache_dir = {tmp_path / 'cache'}\n"
        f"['remote \"local\"']\n    url = {tmp_path / 'local'}\n",
        encoding="utf-8",
    )
    (folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (folder / "params.yaml").write_text("seed: 1\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "nothing"))
    versions.repro()
    return folder


def forget(project: Path) -> None:
    """As in a fresh clone."""
    for name in ("out", ".dvc/cache"):
        shutil.rmtree(project / name)


def test_pushed_data_comes_back_and_runs_nothing(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    versions.push()
    forget(project)
    versions.pull()
    assert (project / "out" / "copy").read_text(encoding="utf-8") == "seed: 1\n"
    capfd.readouterr()
    versions.repro()
    assert "nothing has changed" in capfd.readouterr().out


def test_what_to_commit_is_said_and_nothing_else(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = project / ".dvc" / "config"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("no_scm = true", "no_scm = false"), encoding="utf-8")
    Git.init(str(project)).close()
    (project / "table.csv").touch()
    versions.track(project, project / "table.csv")
    assert "git add" in caplog.text
    assert "auto staging" not in caplog.text


def test_a_remote_without_the_data_is_named(project: Path) -> None:
    forget(project)
    with pytest.raises(VersionError, match=r"remote local \(.*local\) lacks out.* make push"):
        versions.pull()


def test_a_failing_stage_is_named(project: Path) -> None:
    stage = PIPELINE.replace("cp params.yaml", "cp nothing")
    (project / "dvc.yaml").write_text(stage, encoding="utf-8")
    with pytest.raises(VersionError, match="'copy'; failed to run: .*cp nothing out/copy, exited"):
        versions.repro()


@pytest.mark.parametrize("name", versions.MERGED)
def test_conflict_marks_are_refused(project: Path, name: str) -> None:
    before = (project / "out" / "copy").stat().st_mtime_ns
    path = project / name
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    marks = "<<<<<<< HEAD\nours: 1\n=======\nours: 2\n>>>>>>> theirs\n"
    path.write_text(text + marks, encoding="utf-8")
    step = "make settle" if name == "dvc.lock" else "by hand"
    line = text.count("\n") + 1
    for command in (versions.repro, versions.push, versions.pull):
        with pytest.raises(VersionError, match=f"{name} line {line} has the conflict.*{step}"):
            command()
    assert (project / "out" / "copy").stat().st_mtime_ns == before


@pytest.mark.parametrize("pattern", ["out", "out/", "out/*", "*.yaml", "dvc.lock", "copy"])
@pytest.mark.parametrize("there", [True, False])
def test_a_pattern_that_hides_a_file_is_refused(project: Path, pattern: str, there: bool) -> None:
    (project / ".dvcignore").write_text(f"# ours\n{pattern}\n", encoding="utf-8")
    (project / "params.yaml").write_text("seed: 2\n", encoding="utf-8")
    if not there:
        shutil.rmtree(project / "out")
    with pytest.raises(VersionError) as refusal:
        versions.repro()
    assert f" is ignored by .dvcignore:2:{pattern}; take that pattern out" in str(refusal.value)
    if there:
        assert (project / "out" / "copy").read_text(encoding="utf-8") == "seed: 1\n"


def test_what_nobody_tracks_may_be_ignored(project: Path) -> None:
    (project / "out" / "__pycache__").mkdir()
    (project / "out" / "__pycache__" / "a.pyc").touch()
    (project / ".dvcignore").write_text("__pycache__\n*.log\n", encoding="utf-8")
    versions.repro()


def test_a_second_run_waits_for_the_first(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with versions.repository("repro"):
        second = threading.Thread(target=versions.push)
        second.start()
        waited = ""
        while not waited and second.is_alive():
            waited = capsys.readouterr().out
            time.sleep(0.01)
        assert waited == f"push: waits for another run on {project} to end\n"
    second.join(20)
    assert "push: " in capsys.readouterr().out


def test_without_a_version_there_is_nothing_to_share(project: Path) -> None:
    (project / "dvc.lock").unlink()
    for command in (versions.push, versions.pull):
        with pytest.raises(VersionError, match="dvc.lock is missing.*make train"):
            command()


def test_outside_of_a_project_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (versions.repro, lambda: remote.run(str(tmp_path))):
        with pytest.raises(VersionError, match="run the command from the project's folder"):
            command()


def test_the_remote_is_set_and_used(project: Path, tmp_path: Path) -> None:
    remote.run(str(tmp_path / "team"))
    config = (project / ".dvc" / "config").read_text(encoding="utf-8")
    assert "remote = shared" in config
    assert 'remote "local"' in config
    versions.push()
    assert list((tmp_path / "team").rglob("*"))


def test_a_default_remote_that_is_not_there_is_named(project: Path) -> None:
    config = project / ".dvc" / "config"
    text = config.read_text(encoding="utf-8").replace("remote = local", "remote = gone")
    config.write_text(text, encoding="utf-8")
    with pytest.raises(VersionError, match="no remote 'gone'; make remote URL="):
        versions.push()


@pytest.mark.parametrize(
    ("url", "endpoint", "words"),
    [
        ("s3://someone:secret@bucket/path", "", "URL holds a user.*AWS_ACCESS_KEY_ID"),
        ("s3://bucket/path?X-Amz-Signature=secret", "", "URL holds a user, a key or a query"),
        ("s3://bucket/path", "https://someone:secret@host", "ENDPOINT holds a user"),
        ("ftp://host/path", "", "'ftp://host/path' names no remote; give s3://NAME/path"),
        ("s3:///path", "", "names no remote"),
        ("models", "", "names no remote"),
        ("", "", "names no remote"),
        ("/models", "https://host", "ENDPOINT 'https://host' is no"),
        ("s3://bucket/path", "host:9000", "ENDPOINT 'host:9000' is no"),
    ],
)
def test_an_address_that_cannot_serve_is_refused(
    project: Path, url: str, endpoint: str, words: str
) -> None:
    before = (project / ".dvc" / "config").read_bytes()
    with pytest.raises(VersionError, match=words) as refusal:
        remote.run(url, endpoint)
    assert "secret" not in str(refusal.value)
    assert (project / ".dvc" / "config").read_bytes() == before


@pytest.mark.parametrize("scheme", remote.CLOUDS)
def test_a_missing_dependency_group_is_named(
    project: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, module, _ = remote.CLOUDS[scheme]
    monkeypatch.setattr(remote, "find_spec", lambda name: None if name == module else name)
    with pytest.raises(VersionError, match=f"{scheme}:// needs .* {group}, .* GROUPS in the Make"):
        remote.run(f"{scheme}://bucket/path")
    assert "shared" not in (project / ".dvc" / "config").read_text(encoding="utf-8")


def test_each_writer_of_text_names_its_line_end(root: Path) -> None:
    """Written as bytes or with `newline`, so that no system puts its own line ends in."""
    for path in (root / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                text = [each.value for each in node.args if isinstance(each, ast.Constant)]
                writes = name == "write_text" or (name == "open" and {"w", "a", "x"} & {*text})
                named = any(each.arg == "newline" for each in node.keywords)
                assert named or not writes, f"{path}:{node.lineno}"

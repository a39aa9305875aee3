"""Where device files are found: in a checkout, and beside an installed package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from zmqkit.device.files import find
from zmqkit.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(path.stem for path in (ROOT / "devices").glob("*.toml"))
LIMIT_S = 240.0


@pytest.mark.parametrize("device", SHIPPED)
def test_a_shipped_device_is_a_program(device: str) -> None:
    path = find(device)
    assert path.read_text() == (ROOT / "devices" / f"{device}.toml").read_text()
    assert path.read_text().startswith("#!/usr/bin/env -S zmqkit run\n")
    assert os.access(path, os.X_OK)


def test_a_path_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "streamer.toml").write_text("")
    (tmp_path / "mine").write_text("")
    monkeypatch.chdir(tmp_path)
    assert find("streamer.toml") == Path("streamer.toml")
    assert find("./mine") == Path("mine")
    assert find(str(tmp_path / "mine")) == tmp_path / "mine"
    assert find("streamer").is_absolute()


@pytest.mark.parametrize("missing", ["mine.toml", "./streamer", "/nowhere/at-all", "."])
def test_a_file_that_is_not_there_is_named(missing: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*; give the path of a device"):
        find(missing)


def test_a_file_of_the_name_in_the_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        find("mine")
    assert str(raised.value) == "no device 'mine'; did you mean ./mine.toml?"


def test_an_unknown_device_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError) as raised:
        find("brocker")
    there = (
        "there are bridge, forwarder, forwarder-history, majordomo, majordomo-durable, router, "
        "streamer, streamer-durable"
    )
    else_ = "or give the path of a device file"
    assert str(raised.value) == f"no device 'brocker'; {there}; {else_}"


class Environment:
    """A new virtual environment with zmqkit in it, whose dependencies are those of this one."""

    def __init__(self, folder: Path, *what: str) -> None:
        venv.create(folder, symlinks=True)
        self.folder = folder
        self._run(
            [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install",
             "--quiet", "--disable-pip-version-check", "--no-deps", *what],
        )  # fmt: skip
        [own] = folder.glob("lib/python*/site-packages")
        others = folder / "others"
        others.mkdir()
        for path in sys.path:
            if path.endswith("site-packages"):
                for each in Path(path).iterdir():
                    if "zmqkit" not in each.name and not (others / each.name).exists():
                        (others / each.name).symlink_to(each)
        (own / "others.pth").write_text(f"{others}\n")

    def ask(self, *arguments: str | Path) -> str:
        """What a program of the environment prints; it is run away from any checkout."""
        return self._run([str(each) for each in arguments])

    def _run(self, arguments: list[str]) -> str:
        environment = {name: each for name, each in os.environ.items() if name != "PYTHONPATH"}
        environment["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            arguments, capture_output=True, text=True, cwd=self.folder, env=environment,
            timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is built from, for building leaves traces."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("zmqkit", "devices"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is built from it, once for all who install that."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--wheel-dir", str(folder), str(checkout)],
        timeout=LIMIT_S, check=True,
    )  # fmt: skip
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wheel", "editable", "target"])
def test_devices_come_with_every_way_to_install(
    checkout: Path, wheel: Path, tmp_path: Path, how: str
) -> None:
    if how == "editable":
        made = Environment(tmp_path / "env", "--editable", str(checkout))
        devices = checkout / "devices"
    elif how == "wheel":
        made = Environment(tmp_path / "env", str(wheel))
        devices = made.folder / "share" / "zmqkit" / "devices"
    else:
        target = tmp_path / "target"
        made = Environment(tmp_path / "env", "--target", str(target), str(wheel))
        devices = target / "share" / "zmqkit" / "devices"
        [own] = made.folder.glob("lib/python*/site-packages")
        (own / "a.pth").write_text(f"{target}\n")
        (made.folder / "bin" / "zmqkit").write_text(
            f'#!/bin/sh\nexec "{made.folder}/bin/python" -m zmqkit "$@"\n'
        )
        (made.folder / "bin" / "zmqkit").chmod(0o755)
    where = f"from zmqkit.device.files import find; print(*map(find, {SHIPPED!r}), sep='\\n')"
    found = made.ask("python", "-c", where).split()
    assert found == [f"{devices / device}.toml" for device in SHIPPED]
    said = made.ask("zmqkit", "device", "check", SHIPPED[0], "--name", "thumbnails")
    assert said == f"{SHIPPED[0].partition('-')[0]} 'thumbnails' is in order\n"
    # As a program, by its first line.
    assert "Run a device until SIGINT" in made.ask(found[0], "--help")
    for beside in ("zmqkit@.service", "Containerfile", "zmqkit.json"):
        [own] = (ROOT / "devices").rglob(beside)
        assert made.ask("zmqkit", "device", "show", beside) == own.read_text()

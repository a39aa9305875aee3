"""Where a journal can be, and what is said of places where none can."""

from __future__ import annotations

from pathlib import Path

import pytest

from zmqkit.disk.places import check_folder, check_place
from zmqkit.errors import ConfigError


def test_a_folder_of_ones_own_is_in_order_and_stays_empty(tmp_path: Path) -> None:
    check_folder(tmp_path)
    check_folder(tmp_path / "new")
    check_place(tmp_path / "x.journal")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    for mode in (0o777, 0o1777):
        tmp_path.chmod(mode)
        with pytest.raises(ConfigError, match=f"has mode {mode:04o}, so anybody may write"):
            check_folder(tmp_path)
    tmp_path.chmod(0o770)
    check_folder(tmp_path)


@pytest.mark.parametrize("path", [Path("/proc"), Path("/proc/self")])
def test_a_folder_that_takes_no_files_is_refused_to_root_too(path: Path) -> None:
    if not path.is_dir():
        pytest.skip("this system has no /proc")
    with pytest.raises(ConfigError, match=r"takes no files|cannot be written"):
        check_folder(path)
    with pytest.raises(ConfigError, match=r"takes no files|cannot be written"):
        check_place(path / "x.journal")

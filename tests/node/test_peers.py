"""Static peers: of the environment, and of a file that may change."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from zmqkit.environment import Environment, read_environment, read_peers
from zmqkit.errors import ConfigError
from zmqkit.limits import PEERS_BYTES_MAX, PEERS_MAX
from zmqkit.node.peers import Peers


def endpoints(peers: Peers) -> list[str]:
    """Where to ask."""
    return [url.endpoint.removeprefix("tcp://") for url in peers.urls]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "peers"
    file.write_text("10.0.0.1:5555\n")
    return file


def test_a_file_has_one_a_line_and_comments() -> None:
    text = (
        "# ours\n\n 10.0.0.1:5555  # the first\n[fe80::1%eth0]:1\nshop.example:2\n10.0.0.1:5555"
    )
    assert read_peers(text, "p") == ("10.0.0.1:5555", "[fe80::1%eth0]:1", "shop.example:2")


@pytest.mark.parametrize(
    "line", ["nowhere", "h:p", "h:70000", "h:0", "*:5", ":5", "h:5/orders", "h:1 h:2 x"]
)
def test_a_line_that_makes_no_sense_is_named_with_the_remedy(line: str) -> None:
    with pytest.raises(ConfigError, match=r"^p:2: .* is not host:port"):
        read_peers(f"10.0.0.1:1\n{line}\n", "p")


@pytest.mark.parametrize("url", ["tcp://10.0.0.1:5555", "tcp://10.0.0.1:5555/orders"])
def test_a_url_is_told_to_leave_out_all_but_host_and_port(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_environment({"ZMQKIT_PEERS": url})
    assert str(raised.value) == (f"ZMQKIT_PEERS: {url!r} is not host:port; write 10.0.0.1:5555")


def test_so_many_may_be_named() -> None:
    lines = [f"10.0.0.1:{n}" for n in range(1, PEERS_MAX + 2)]
    assert len(read_peers("\n".join(lines[:-1]), "p")) == PEERS_MAX
    with pytest.raises(ConfigError, match=f"{PEERS_MAX} at most"):
        read_peers("\n".join(lines), "p")


def test_the_environment_names_the_file_and_some_peers(file: Path) -> None:
    environ = {"ZMQKIT_PEERS": "10.0.0.9:1, 10.0.0.1:5555", "ZMQKIT_PEERS_FILE": str(file)}
    peers = Peers(read_environment(environ))
    assert peers.are_any and endpoints(peers) == ["10.0.0.9:1", "10.0.0.1:5555"]


def test_without_either_there_are_none() -> None:
    peers = Peers(Environment())
    assert not peers.are_any and peers.urls == [] and not peers.refresh()


def test_a_file_that_changes_is_read_again(file: Path) -> None:
    peers = Peers(Environment(peers_file=str(file)))
    assert not peers.refresh()
    file.write_text("10.0.0.1:5555\n10.0.0.2:5555\n")
    assert peers.refresh() and endpoints(peers) == ["10.0.0.1:5555", "10.0.0.2:5555"]
    file.write_text("10.0.0.1:5555\n10.0.0.2:5555 # the same\n")
    assert not peers.refresh()


def test_a_file_that_breaks_is_logged_once_and_what_was_good_stays(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    peers = Peers(Environment(peers_file=str(file)))
    file.write_text("10.0.0.2:5555\nnonsense\n")
    assert not peers.refresh() and not peers.refresh()
    assert endpoints(peers) == ["10.0.0.1:5555"]
    file.unlink()
    assert not peers.refresh() and not peers.refresh()
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert f"{file}:2: 'nonsense'" in warnings[0] and "cannot read" in warnings[1]
    file.write_text("10.0.0.3:5555\n")
    assert peers.refresh() and endpoints(peers) == ["10.0.0.3:5555"]


def test_a_file_that_is_wrong_at_first_is_an_error(file: Path) -> None:
    file.write_text("x\n")
    with pytest.raises(ConfigError, match=rf"{file}:1: 'x' is not host:port"):
        Peers(Environment(peers_file=str(file)))


def test_a_file_that_is_not_there_or_not_text_is_an_error_that_names_the_variable(
    tmp_path: Path, file: Path
) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match=r"ZMQKIT_PEERS_FILE: cannot read .*unset"):
            Peers(Environment(peers_file=str(path)))
    file.write_bytes(b"\xff\n")
    with pytest.raises(ConfigError, match=r"ZMQKIT_PEERS_FILE: cannot read .*utf-8"):
        Peers(Environment(peers_file=str(file)))


def test_a_file_that_is_far_too_long_is_an_error(file: Path) -> None:
    file.write_text("#" * (PEERS_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match=f"longer than {PEERS_BYTES_MAX} bytes"):
        Peers(Environment(peers_file=str(file)))

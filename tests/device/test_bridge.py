"""The file of a bridge: where its ends meet, and what it carries."""

from __future__ import annotations

from pathlib import Path

import pytest

from zmqkit.device.bridge import Bridge, Rule, topics_of
from zmqkit.device.spec import read_spec
from zmqkit.errors import ConfigError

HEAD = '[device]\nkind = "bridge"\nname = "weather"\n'
LINK = '[link]\nlisten = "tcp://127.0.0.1:5580"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


def said(file: Path, *sets: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read_spec(file, None, sets)
    return str(raised.value).replace(str(file), "FILE")


def test_a_file_says_where_the_ends_meet_and_what_is_carried(file: Path) -> None:
    rules = (
        '[[rules]]\ntopics = ["k.", "l."]\ndirection = "out"\n[[rules]]\ndirection = "both"\n'
    )
    file.write_text(HEAD + LINK + rules)
    spec = read_spec(file)
    assert (spec.link.listen, spec.link.connect) == ("tcp://127.0.0.1:5580", None)
    assert spec.rules == (Rule(("k.", "l."), "out"), Rule())


def test_a_rule_that_is_set_stands_in_place_of_those_of_the_file(file: Path) -> None:
    file.write_text(HEAD + LINK + '[[rules]]\ntopics = ["k."]\n')
    spec = read_spec(file, None, ['rules.topics=["m."]', "rules.direction=in"])
    assert spec.rules == (Rule(("m.",), "in"),)


def test_one_rule_may_be_a_table(file: Path) -> None:
    file.write_text(HEAD + LINK + '[rules]\ndirection = "in"\n')
    assert read_spec(file).rules == (Rule(("",), "in"),)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (LINK + 'connect = "tcp://127.0.0.1:1"\n', "FILE:6: a bridge has link.listen at one"),
        ('[link]\nlisten = "weather"\n', "FILE:5: 'weather'"),
        ('[link]\nlisten = "memory://w"\n', "FILE:5: link.listen is 'memory://w'; use tcp://"),
        ('[link]\nlisten = "tcp://127.0.0.1:1/w"\n', "FILE:5: link.listen is"),
        ('[link]\nconnect = "tcp://127.0.0.1:0"\n', "FILE:5: link.connect is"),
        ('[link]\nconnect = "tcp://10.0.0.1:1"\n', "FILE:5: link.connect='tcp://10.0.0.1:1'"),
        ('[link]\nconect = "x"\n', "FILE:5: link.conect is unknown; did you mean connect?"),
        (
            LINK + "[[rules]]\n[[rules]]\ntopics = 5\n",
            "FILE:8: rules.2.topics is 5; use a list",
        ),
        (LINK + "[[rules]]\ntopics = [5]\n", "FILE:7: rules.1.topics is [5]; use a list"),
        (LINK + '[[rules]]\ndirection = "up"\n', "FILE:7: rules.direction: direction is 'up'"),
        (LINK + '[[rules]]\ntopics = ["a\\u0000"]\n', "FILE:7: rules.topics: topic"),
        (LINK + "[[rules]]\ntopic = []\n", "FILE:7: rules.1.topic is unknown; did you mean"),
        ("rules = [1]\n" + LINK, "FILE:4: device.rules is unknown"),
        (LINK + "[backend]\nconnect = []\n", "FILE:7: [backend] is unknown"),
    ],
)
def test_each_mistake_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, text: str, answer: str
) -> None:
    monkeypatch.setenv("ZMQKIT_INSECURE", "0")
    file.write_text(HEAD + text)
    assert said(file).startswith(answer)


def test_rules_that_are_no_tables_are_named(file: Path) -> None:
    file.write_text(f"rules = [1]\n{HEAD}{LINK}")
    assert said(file) == "FILE:1: rules is [1]; use a table, [rules]"


def test_rules_are_topics_by_direction() -> None:
    rules = [Rule(("a", "b"), "out"), Rule(("c",), "in"), Rule(("b", "d"))]
    assert topics_of(rules, "out") == ["a", "b", "d"]
    assert topics_of(rules, "in") == ["c", "b", "d"]


def test_a_rule_has_so_many_topics_at_most() -> None:
    with pytest.raises(ConfigError, match="1000 at most"):
        Rule(("t",) * 1001)


def test_an_end_that_was_not_started_is_closed_without_ado() -> None:
    bridge = Bridge("weather", listen="tcp://127.0.0.1:0")
    assert bridge.close() == 0
    with pytest.raises(ConfigError, match="leave one of them out"):
        Bridge("weather", listen="tcp://127.0.0.1:0", connect="tcp://127.0.0.1:1")


def test_rules_together_have_no_more_topics_than_the_other_end_reads(file: Path) -> None:
    many = [[f"{letter}{number}" for number in range(600)] for letter in "ab"]
    with pytest.raises(ConfigError, match="1200 topics; 1000 at most"):
        Bridge("weather", rules=[Rule(tuple(topics), "in") for topics in many])
    file.write_text(HEAD + "".join(f"[[rules]]\ntopics = {topics}\n" for topics in many))
    assert said(file) == "FILE:7: the rules have 1200 topics; 1000 at most"

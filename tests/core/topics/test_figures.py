"""What publishers and subscribers tell of their topics."""

from __future__ import annotations

from tests.core.topics.publications import PUBLISHER, SUBSCRIBER, enters, hello
from zmqkit.core.topics.figures import topic_rows
from zmqkit.core.topics.publisher import PublisherCore
from zmqkit.limits import PublisherLimits
from zmqkit.model import EVERY_PEER
from zmqkit.statistics_limits import PARTS_MAX


def counts(core: PublisherCore) -> dict[str, int]:
    """How many messages each topic had."""
    return {row.of: row.delivered for row in core.statistics(0.0) if row.part}


def test_each_topic_counts_its_messages() -> None:
    core = PublisherCore(PUBLISHER)
    for topic in ("a", "b", "a"):
        core.publish(topic, 1, 0.0)
    assert counts(core) == {"a": 2, "b": 1}


def test_a_topic_that_was_forgotten_counts_anew() -> None:
    core = PublisherCore(PUBLISHER, PublisherLimits(topics_max=2))
    for topic in ("a", "a", "b", "c", "a"):
        core.publish(topic, 1, 0.0)
    assert counts(core) == {"c": 1, "a": 1}


def test_subscribers_are_peers_by_state() -> None:
    core = PublisherCore(PUBLISHER)
    core.receive(EVERY_PEER, enters(SUBSCRIBER), 0.0)
    assert core.statistics(0.0)[0].peers == {"opening": 1}
    core.receive(EVERY_PEER, hello(source=SUBSCRIBER), 0.0)
    [whole] = core.statistics(0.0)
    assert (whole.peers, whole.talks_to) == ({"up": 1}, [SUBSCRIBER])


def test_topics_beyond_the_limit_share_a_row() -> None:
    _, *topics = topic_rows({}, {}, (), {f"t{n}": 2 for n in range(PARTS_MAX + 5)})
    assert len(topics) == PARTS_MAX + 1
    assert (topics[-1].of, topics[-1].delivered) == ("", 10)

"""The rows of the statistics of whoever publishes, subscribes, or passes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from zmqkit.core.figures import of_stats, peers_of
from zmqkit.core.meter import OTHERS
from zmqkit.core.topics.counting import Counting
from zmqkit.core.topics.origins import Origins
from zmqkit.core.topics.source import Source
from zmqkit.statistics_limits import PARTS_MAX
from zmqkit.wire.statistics import Figures


def topic_rows(
    stats: Mapping[str, object],
    peers: Mapping[str, int],
    talks_to: Iterable[int],
    topics: Mapping[str, int] | None = None,
) -> list[Figures]:
    """Return a row of the role that has these counters, and one of each topic.

    peers: how many there are in each state. talks_to: the numbers of peers. topics: how many
    messages each had; those beyond the limit share a row.
    """
    whole = of_stats(stats, peers=peers, talks_to=talks_to)
    counts = topics or {}
    shown = list(counts.items())[:PARTS_MAX]
    rows = [Figures(part="topic", of=name, delivered=count) for name, count in shown]
    if len(counts) > len(shown):
        others = sum(counts.values()) - sum(count for _, count in shown)
        rows.append(Figures(part="topic", of=OTHERS, delivered=others))
    return [whole, *rows]


def source_rows(
    stats: Mapping[str, object],
    sources: Iterable[Source],
    *,
    origins: Origins | None = None,
    counting: Counting | None = None,
) -> list[Figures]:
    """Return a row of a role that receives from these sources, and one of each topic.

    origins: of a subscriber, how far publishers are in each topic. counting: of a device, what
    it counts by topic while somebody looks.
    """
    known = list(sources)
    topics = counting.topics if counting is not None else {}
    for positions in list(origins.by_publisher.values()) if origins is not None else ():
        for each in list(positions.values()):
            topics[each.name] = topics.get(each.name, 0) + each.count
    talks_to = [each.publisher or each.incarnation for each in known]
    return topic_rows(stats, peers_of(known), talks_to, topics)

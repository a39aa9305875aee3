"""What lz4 takes and saves for one packet's msgpack part, by content and size.

The table behind COMPRESS_BYTES_MIN, and behind the choice of blocks over frames. `warm` is one
call after the other, the best of some runs; `cold` is the median after each time other memory
went through the caches, as between two waits. `saved` is how long the bytes that are spared
would have taken at `--mbit`, less what packing and unpacking took, cold: above 0 it pays.

`--loopback` sends 64 KiB of records to another process and back, packed and unpacked each way,
against the same as it is: why nothing is compressed between processes of one machine.
"""

from __future__ import annotations

import pydoc_data.topics
import statistics
import time
from collections.abc import Callable
from random import Random

import figures
import lz4.block
import lz4.frame
import msgpack
import paired
from figures import Message, Reference
from paired import Parent

SIZES = [256, 512, 1 << 10, 2 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20]
COLD_RUNS = 30
OTHER = bytes(16 << 20)
"""Goes through the caches to have them cold."""

Step = Callable[[bytes], bytes]


def records(random: Random, size: int) -> bytes:
    """Orders as a shop might send them."""
    rows = [
        {
            "id": random.getrandbits(40),
            "item": random.choice(["tea", "coffee", "mate"]),
            "price": round(random.uniform(1, 100), 2),
            "quantity": random.randint(1, 9),
            "at": f"2026-11-{random.randint(10, 28)}T{random.randint(10, 23)}:15:00Z",
            "paid": random.random() < 0.5,
        }
        for _ in range(size // 60 + 1)
    ]
    packed: bytes = msgpack.packb(rows)
    return packed[:size]


def text(random: Random, size: int) -> bytes:
    """A page of documentation."""
    pages = "\n".join(pydoc_data.topics.topics.values()).encode()
    return (pages * (1 + size // len(pages)))[-size:]


def noise(random: Random, size: int) -> bytes:
    """Bytes at random, as of a picture."""
    return random.randbytes(size)


def measurements(random: Random, size: int) -> bytes:
    """Floats whose digits are all in use."""
    packed: bytes = msgpack.packb([random.random() for _ in range(size // 9 + 1)])
    return packed[:size]


def counts(random: Random, size: int) -> bytes:
    """Integers of no particular size."""
    packed: bytes = msgpack.packb([random.randrange(100_000) for _ in range(size)])
    return packed[:size]


CONTENTS = [records, text, noise, measurements, counts]


def warm_us(step: Step, data: bytes) -> float:
    """Microseconds of one call among many, the best of five runs."""
    count = max(3, min(1000, (8 << 20) // len(data)))
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(count):
            step(data)
        best = min(best, time.perf_counter() - begun)
    return best / count * 1e6


def cold_us(step: Step, data: bytes) -> float:
    """Microseconds of one call behind other work, the median of some."""
    taken = []
    for _ in range(COLD_RUNS):
        OTHER.count(b"\1")
        begun = time.perf_counter()
        step(data)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1e6


def block(data: bytes) -> bytes:
    packed: bytes = lz4.block.compress(data, store_size=False)
    return packed


def table(mbit: int) -> None:
    """Print a line for each content and size."""
    print(
        f"times in us, saved at {mbit} Mbit/s\n{'':22} |   block, warm{'':8} cold    saved |"
        f"   frame, warm\n{'content':12} {'bytes':>9} | size    pack unpack{'':18} |"
        " size    pack unpack"
    )
    for content in CONTENTS:
        for size in SIZES:
            data = content(Random(size), size)
            packed, framed = block(data), lz4.frame.compress(data)

            def unblock(packed: bytes, size: int = size) -> bytes:
                found: bytes = lz4.block.decompress(packed, uncompressed_size=size)
                return found

            cold = cold_us(block, data)
            if len(packed) < size:
                cold += cold_us(unblock, packed)
            saved = max(0, size - len(packed)) * 8 / mbit - cold
            print(
                f"{content.__name__:12} {size:9,} | {len(packed) / size:4.0%}"
                f" {warm_us(block, data):7.1f} {warm_us(unblock, packed):6.1f}"
                f" {cold:7.1f} {saved:8.1f} | {len(framed) / size:4.0%}"
                f" {warm_us(lz4.frame.compress, data):7.1f}"
                f" {warm_us(lz4.frame.decompress, framed):6.1f}",
                flush=True,
            )


# Over loopback


PART = records(Random(1), 64 << 10)


def server(parent: Parent, config: Message) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        parent.send(address=f"tcp://127.0.0.1:{port}")
        while True:  # until the parent ends this process
            body = socket.recv()
            if config["packed"]:
                found = lz4.block.decompress(body, uncompressed_size=len(PART))
                body = block(found)
            socket.send(body)


def client(parent: Parent, config: Message) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.connect(config["address"])
        is_packed = config["packed"]

        def call() -> None:
            socket.send(block(PART) if is_packed else PART)
            body = socket.recv()
            if is_packed:
                lz4.block.decompress(body, uncompressed_size=len(PART))

        for _ in range(200):
            call()
        begun = time.perf_counter()
        for _ in range(config["calls"]):
            call()
        parent.result(value=(time.perf_counter() - begun) / config["calls"] * 1e6)


def main() -> None:
    parser = figures.arguments(__doc__)
    parser.add_argument("--mbit", type=figures.positive, default=1000, help="of the network")
    parser.add_argument("--loopback", action="store_true", help="two processes, paired")
    parser.add_argument("--calls", type=figures.positive, default=2000, help="per round")
    figures.add_pin(parser)
    options = parser.parse_args()
    if not options.loopback:
        table(options.mbit)
        return

    def sample(*, packed: bool) -> Message:
        with paired.Family(options.pin) as family:
            config = {"packed": packed, "calls": options.calls}
            address = family.start("server", **config).receive()["address"]
            return family.start("client", address=address, **config).receive()

    figures.compare(
        figures.Figure("compression", "64 KiB of records and back, loopback", "us", "<="),
        lambda: sample(packed=True),
        [Reference("as it is", lambda: sample(packed=False))],
        options,
    )


if __name__ == "__main__":
    paired.run(main, {"server": server, "client": client})

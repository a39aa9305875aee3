"""The Majordomo of the ZeroMQ guide, in Python: its broker, client and worker as parts.

Its code is not ours, so it is not here. `--zguide`, or ZMQKIT_ZGUIDE, names the folder with its
Python examples: `examples/Python` of https://github.com/booksbyus/zguide. They run as they are.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from call_blocking import latency
from calls_window import WARM_UP_S, raw_rate
from figures import Message
from paired import BODY, Parent

FILES = ("mdbroker.py", "mdcliapi.py", "mdcliapi2.py", "mdwrkapi.py", "zhelpers.py", "MDP.py")
VARIABLE = "ZMQKIT_ZGUIDE"


def folder() -> str:
    """The folder that the environment names; nothing if it names none."""
    return os.environ.get(VARIABLE, "")


def missing(place: str) -> str:
    """Say what is not in the folder; nothing when all of it is there."""
    if not place:
        return f"no folder with the guide's Python examples; use --zguide or {VARIABLE}"
    for file in FILES:
        if not Path(place, file).is_file():
            return f"{place} has no {file}"
    return ""


def guided(place: str, module: str) -> Any:
    """Import one of the guide's modules."""
    sys.path.insert(0, place)
    return import_module(module)


def zguide_broker(parent: Parent, config: Message) -> None:
    import zmq

    logging.disable()  # it tells of its start
    broker = guided(config["zguide"], "mdbroker").MajorDomoBroker()
    broker.bind("tcp://127.0.0.1:*")
    parent.send(endpoint=broker.socket.getsockopt_string(zmq.LAST_ENDPOINT))
    broker.mediate()


def zguide_worker(parent: Parent, config: Message) -> None:
    api = guided(config["zguide"], "mdwrkapi")
    worker = api.MajorDomoWorker(config["endpoint"], config["name"].encode())
    parent.send(ready=True)
    reply = None
    while True:  # until the parent ends this process
        reply = worker.recv(reply)


def zguide_client(parent: Parent, config: Message) -> None:
    """Measure calls per second with a window of them, or the median time of one at a time."""
    name = config["name"].encode()
    if not config["window"]:
        api = guided(config["zguide"], "mdcliapi")
        alone = api.MajorDomoClient(config["endpoint"])
        parent.result(**latency(lambda: alone.send(name, BODY)[0], config["calls"]))
        return
    api = guided(config["zguide"], "mdcliapi2")
    client = api.MajorDomoClient(config["endpoint"])
    send = client.send
    for seconds in (WARM_UP_S, config["seconds"]):
        value = raw_rate(lambda: send(name, BODY), client.recv, config["window"], seconds)
    parent.result(value=value)

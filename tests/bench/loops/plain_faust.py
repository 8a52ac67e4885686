"""Faust as its documentation shows it: a `Record`, two tumbling tables, one event at a time.

`python -m tests.bench.loops.plain_faust SERVERS TOPIC EVENTS FOLDER`
"""

import json
import os
import sys
import time
from datetime import timedelta
from typing import Any

import faust


class Event(faust.Record, serializer="json"):
    type: str
    campaign: str


def main(servers: str, topic: str, events: int, folder: str) -> None:
    app: Any = faust.App(
        f"plain-{topic}",
        broker=f"kafka://{servers}",
        store="memory://",
        datadir=folder,
        topic_partitions=4,
        topic_replication_factor=1,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(topic, value_type=Event, partitions=4)
    tables = [
        app.Table(name, default=int, partitions=4).tumbling(60.0, expires=timedelta(hours=1))
        for name in ("impressions", "clicks")
    ]
    seen, began_s, began_cpu_s = 0, 0.0, 0.0

    @app.agent(source)
    async def count(stream: Any) -> None:
        nonlocal seen, began_s, began_cpu_s
        async for event in stream:
            if not seen:
                began_s, began_cpu_s = time.perf_counter(), time.process_time()
            seen += 1
            tables[event.type == "click"][event.campaign] += 1
            if seen == events:
                seconds = time.perf_counter() - began_s
                cpu = time.process_time() - began_cpu_s
                found = {"events_per_s": events / seconds, "cpu_per_million": cpu / events * 1e6}
                print(json.dumps(found), file=sys.__stdout__, flush=True)  # Faust takes stdout
                os._exit(0)  # its way out takes longer than the run

    app.finalize()
    faust.Worker(app, loglevel="ERROR").execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])

"""What the alerts do over weeks without a change, and how soon they find a drop.

`python -m tests.simulation.alerts` plays made-up traffic through the real view and exporter, and
promtool evaluates the real rules over what was exported, once a minute. Its report stands in
docs/reliability.md; a short part of it is run by tests/deploy/test_alert_simulation.py.
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from stream.settings import load_settings
from tests.simulation.playback import Playback
from tests.simulation.recording import Recording
from tests.simulation.traffic import (
    DAY_MINUTES,
    Campaign,
    Drop,
    Noise,
    Traffic,
    fifty,
    generate,
    rhythm,
)
from tests.support.promtool import RULES, Answer, Played, ask

WEEK = 7 * DAY_MINUTES
ENGAGEMENT = [path for path in RULES if path.stem == "engagement"]
NEWCOMERS = {3: 3, 9: 7, 15: 10, 25: 16, 35: 20}
"""Of the fifty campaigns those that begin later, and on which day."""
FIRING = 'ALERTS{alertstate="firing"}'
PATIENCE_S = 3_600.0

Begun = Counter[tuple[str, str]]
"""How often an alert (name, severity) began to fire."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Fifty campaigns to which nothing happens but noise."""

    seed: int
    noise: Noise = field(default_factory=Noise)
    first: int = 0
    minutes: int = WEEK


@dataclass(frozen=True, slots=True)
class Drops:
    """Campaigns of equal size whose click-through rate falls by 30 % at one minute.

    `impressions` are those of a minute at that time.
    """

    seed: int
    ctr: float
    noise: Noise = field(default_factory=Noise)
    campaigns: int = 100
    impressions: float = 1_000.0


def false_alerts(quiet: Quiet) -> Begun:
    """How often each alert began to fire, though nothing had changed."""
    rng = np.random.default_rng(quiet.seed)
    campaigns = fifty(rng)
    for number, day in NEWCOMERS.items():
        campaigns[number] = replace(campaigns[number], from_minute=day * DAY_MINUTES + 600)
    last = quiet.first + quiet.minutes
    traffic = generate(rng, campaigns, last, quiet.noise)
    recording = asyncio.run(record(campaigns, traffic, quiet.first, last))
    begun = f"count_over_time(({FIRING} unless {FIRING} offset 1m)[{quiet.minutes}m:1m])"
    [found] = answers(recording, [begun], quiet.minutes)
    counts: Begun = Counter()
    for labels, times in found.items():
        told = dict(labels)
        counts[told["alertname"], told["severity"]] += int(times)
    return counts


def minutes_to_find(drops: Drops) -> list[float]:
    """After how many minutes each campaign's alert fired; infinite: not in 20, or before it."""
    rng = np.random.default_rng(drops.seed)
    at, around = 3 * WEEK + 2 * DAY_MINUTES + 14 * 60, 20
    mean = drops.impressions / float(rhythm(np.array([at]))[0])
    campaigns = [
        Campaign(f"campaign-{i:02}", mean, drops.ctr, conversion=0.1, bounce=0.45)
        for i in range(drops.campaigns)
    ]
    traffic = generate(rng, campaigns, at + around, drops.noise, Drop(at, ctr=0.7))
    recording = asyncio.run(record(campaigns, traffic, at - around, at + around))
    fires = 'ALERTS{alertstate="firing", alertname="CampaignCtrDropped"}'
    queries = [
        f"min_over_time(min by (campaign) (timestamp({fires}))[{around - 1}m:1m])",
        f"min by (campaign) ({fires} offset {around}m)",
    ]
    found, early = answers(recording, queries, 2 * around)
    when = {dict(labels)["campaign"]: at_s for labels, at_s in found.items() if labels not in early}
    # What the first minute of the drop exports is seen when it is over: at the end of minute 1.
    return [when.get(campaign.name, np.inf) / 60 - around + 1 for campaign in campaigns]


async def record(
    campaigns: Sequence[Campaign], traffic: Traffic, first: int, last: int
) -> Recording:
    """What the exporter shows in each minute of a part of the traffic."""
    playback = Playback(campaigns, traffic, load_settings({}))
    recording = Recording(ENGAGEMENT, last - first)
    await playback.start(first)
    for minute in range(first, last):
        playback.step(minute)
        recording.take(minute - first, await playback.samples())
    return recording


def answers(recording: Recording, queries: Sequence[str], minutes: int) -> list[Answer]:
    """What promtool answers at the last minute of a recording."""
    with tempfile.TemporaryDirectory() as folder:
        test = Played(recording.series(), [(query, minutes - 1) for query in queries])
        return ask(Path(folder), [test], ENGAGEMENT, timeout_s=PATIENCE_S)[0]


# --- the report ---


def main() -> None:
    """Run everything that the report needs, on several processors, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weeks", type=int, default=4)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 1.0, 2.0])
    parser.add_argument("--ctr", type=float, nargs="+", default=[0.02, 0.05, 0.1])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=4)
    given = parser.parse_args()
    noises = {factor: Noise().times(factor) for factor in given.noise}
    began_s = time.monotonic()
    with ProcessPoolExecutor(given.processes) as pool:
        quiet = {
            factor: list(pool.map(false_alerts, weeks(given.seed, noise, given.weeks)))
            for factor, noise in noises.items()
        }
        asked = [(f, ctr) for f in noises for ctr in given.ctr]
        drops = [Drops(given.seed + 1, ctr, noises[factor]) for factor, ctr in asked]
        found = dict(zip(asked, pool.map(minutes_to_find, drops), strict=True))
    print("\n".join(report(quiet, found)))
    print(f"\nSeed {given.seed}; {time.monotonic() - began_s:.0f} s.")


def weeks(seed: int, noise: Noise, number: int) -> Iterator[Quiet]:
    """The weeks of one story; each is played by itself, from all that happened before it."""
    for week in range(number):
        yield Quiet(seed, noise, week * WEEK)


def report(
    quiet: Mapping[float, Sequence[Begun]], found: Mapping[tuple[float, float], Sequence[float]]
) -> Iterator[str]:
    """Two tables: alerts a week where nothing happened, and drops found within ten minutes."""
    yield "| noise | pages a week | warnings a week | tickets a week | which |"
    yield "| --- | --- | --- | --- | --- |"
    for factor, counts in quiet.items():
        total: Begun = sum(counts, Counter())
        by_severity = [
            sum(n for (_, found), n in total.items() if found == severity) / len(counts)
            for severity in ("page", "warning", "ticket")
        ]
        which = ", ".join(f"{name} {n}" for (name, _), n in total.most_common()) or "none"
        yield f"| × {factor:g} | " + " | ".join(f"{n:.2g}" for n in by_severity) + f" | {which} |"
    yield ""
    yield "| noise | click-through rate | found within 10 minutes | median |"
    yield "| --- | --- | --- | --- |"
    for (factor, ctr), minutes in found.items():
        share = np.mean(np.array(minutes) <= 10)
        yield f"| × {factor:g} | {ctr:.0%} | {share:.0%} | {np.median(minutes):.0f} min |"


if __name__ == "__main__":
    main()

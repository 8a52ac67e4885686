"""Records that mean harm, each made together with what must become of it.

The verdict follows from how a record is made, never from reading it: `None` is "counted", anything
else the reason of its dead letter. Every record of a kind differs from the others.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

Made = tuple[bytes | None, str | None]
"""A value, and the reason why it is refused."""


class Record(NamedTuple):
    """What is sent, and what must come of it."""

    key: bytes | None
    value: bytes | None
    reason: str | None
    kind: str


class Maker:
    """Makes click records; `at_ms` is the event time of the sound ones."""

    def __init__(self, seed: int, at_ms: int) -> None:
        self._chance = random.Random(seed)
        self._at_ms = at_ms
        self._number = 0

    def records(self, hostile: int, sound_share: float = 0.6) -> Iterator[Record]:
        """So many hostile records among sound ones, for a partition of nothing else is paused."""
        kinds = list(KINDS.items())
        left = hostile
        while left:
            if self._chance.random() < sound_share:
                yield Record(b"k", self.sound(), None, "sound")
                continue
            name, make = kinds[self._chance.randrange(len(kinds))]
            if name in LARGE and self._chance.random() < 0.9:
                continue
            for value, reason in make(self):
                key = self._chance.choice([b"k", b"", b"\xff\x00", None, b"x" * 300])
                yield Record(key, value, reason, name)
                left -= 1
                if not left:
                    break

    def fields(self, **changed: object) -> dict[str, object]:
        """A sound event, with some fields changed."""
        self._number += 1
        return {
            "event_id": f"e{self._number}",
            "type": "impression",
            "timestamp": self._at_ms,
            "campaign": "hostile",
            **changed,
        }

    def sound(self, **changed: object) -> bytes:
        """Its JSON."""
        return json.dumps(self.fields(**changed)).encode()

    def pick(self, *choices: object) -> object:
        """One of several."""
        return self._chance.choice(choices)

    def bytes(self, most: int) -> bytes:
        """Anything."""
        return self._chance.randbytes(self._chance.randrange(1, most))

    def number(self, least: int, most: int) -> int:
        """A number, both ends included."""
        return self._chance.randint(least, most)


LARGE = {"nested_deeply", "too_large"}
"""Kinds that are rarer, or the broker's disk would be what is tested."""
Kind = Callable[[Maker], list[Made]]
KINDS: dict[str, Kind] = {}


def kind(make: Kind) -> Kind:
    """Take a kind in under its name."""
    KINDS[make.__name__] = make
    return make


@kind
def tombstone(make: Maker) -> list[Made]:
    return [(None, "malformed")]


@kind
def empty(make: Maker) -> list[Made]:
    return [(bytes(make.number(0, 3) * b" "), "malformed")]


@kind
def noise(make: Maker) -> list[Made]:
    return [(b"\x00" + make.bytes(200), "malformed")]


@kind
def cut_short(make: Maker) -> list[Made]:
    whole = make.sound()
    return [(whole[: make.number(1, len(whole) - 1)], "malformed")]


@kind
def more_behind_it(make: Maker) -> list[Made]:
    tail = make.pick(b"}", b",", b"{}", b"x", b"\x00", b"]")
    assert isinstance(tail, bytes)
    return [(make.sound() + tail, "malformed")]


@kind
def neighbours_that_fit_together(make: Maker) -> list[Made]:
    """Each is malformed alone; with a comma between them they would be two events."""
    first, second = make.sound(), make.sound()
    return [(first + b',{"a":"', "malformed"), (b'"},' + second, "malformed")]


@kind
def no_object(make: Maker) -> list[Made]:
    text = make.pick("null", "true", "17", '"text"', "[]", f"[{make.sound().decode()}]", "-0.0")
    return [(str(text).encode(), "malformed")]


@kind
def no_utf_8(make: Maker) -> list[Made]:
    wrong = make.pick(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf")
    assert isinstance(wrong, bytes)
    field = make.pick(b"hostile", b"impression")
    assert isinstance(field, bytes)
    return [(make.sound().replace(field, b"a" + wrong), "malformed")]


@kind
def no_utf_8_where_nobody_looks(make: Maker) -> list[Made]:
    return [(make.sound(more="here").replace(b"here", b"\xfe\xff"), "malformed")]


@kind
def half_a_surrogate(make: Maker) -> list[Made]:
    half = make.pick(b"\\ud800", b"\\udc00", b"\\ud83dx")
    assert isinstance(half, bytes)
    return [(make.sound().replace(b"hostile", half), "malformed")]


@kind
def raw_control_character(make: Maker) -> list[Made]:
    raw = bytes([make.number(0, 31)])
    return [(make.sound().replace(b"hostile", b"a" + raw), "malformed")]


@kind
def nested_deeply(make: Maker) -> list[Made]:
    depth = make.number(5_000, 20_000)
    opened = make.pick(b"[", b'{"a":')
    assert isinstance(opened, bytes)
    closed = b"]" if opened == b"[" else b"}"
    inner = opened * depth + b"1" + closed * depth
    if len(inner) > 60_000:
        inner = b"[" * 20_000 + b"]" * 20_000
    return [(make.sound(more=0).replace(b'"more": 0', b'"more": ' + inner), "malformed")]


@kind
def not_a_number(make: Maker) -> list[Made]:
    word = make.pick(b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b".5", b"+1", b"0x10")
    assert isinstance(word, bytes)
    return [(make.sound(cost=7).replace(b'"cost": 7', b'"cost": ' + word), "malformed")]


@kind
def huge_number(make: Maker) -> list[Made]:
    huge = "9" * make.number(20, 5_000)
    name = str(make.pick("timestamp", "cost"))
    return [(make.sound(**{name: "?"}).replace(b'"?"', huge.encode()), "invalid")]


@kind
def wrong_type(make: Maker) -> list[Made]:
    name = str(make.pick("event_id", "campaign", "channel", "variant", "visitor_id", "creative"))
    wrong = make.pick(7, 1.5, True, [], {}, ["spring"], {"name": "spring"})
    return [(make.sound(**{name: wrong}), "invalid")]


@kind
def field_missing(make: Maker) -> list[Made]:
    fields = make.fields()
    del fields[str(make.pick("event_id", "type", "timestamp"))]
    return [(json.dumps(fields).encode(), "invalid")]


@kind
def name_too_long_or_empty(make: Maker) -> list[Made]:
    name = str(make.pick("campaign", "channel", "visitor_id"))
    wrong = "x" * make.pick(0, 129, 9_000)  # type: ignore[operator]
    return [(make.sound(**{name: wrong}), "invalid")]


@kind
def escaped_control_character(make: Maker) -> list[Made]:
    code = make.pick(0, 1, 10, 13, 27, 31, 127, 128, 159)
    assert isinstance(code, int)
    return [(make.sound(campaign=f"a{chr(code)}b"), "invalid")]


@kind
def another_topics_event(make: Maker) -> list[Made]:
    name = make.pick("page_view", "resolved", "Click", "click ", "", "🙂", "x" * 3_000)
    return [(make.sound(type=name), "unknown_type")]


@kind
def too_large(make: Maker) -> list[Made]:
    size = make.pick(65_536, 70_000, 300_000, 900_000)
    assert isinstance(size, int)
    return [(make.sound(more="x" * size), "oversize")]


@kind
def from_the_future(make: Maker) -> list[Made]:
    ahead_ms = make.pick(3_600_000, 10**11, 253_402_300_799_999 - make._at_ms)
    assert isinstance(ahead_ms, int)
    return [(make.sound(timestamp=make._at_ms + ahead_ms), "future")]


@kind
def no_such_time(make: Maker) -> list[Made]:
    wrong = make.pick(
        "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "now", "",
        "2026-01-01T25:00:00Z", 253_402_300_800_000, -(10**17), 1.5, True, "0000-01-01T00:00:00Z",
    )  # fmt: skip
    return [(make.sound(timestamp=wrong), "invalid")]


@kind
def from_long_ago(make: Maker) -> list[Made]:
    early = make.pick("0001-01-01T00:00:00Z", 0, -62_135_596_800_000)
    return [(make.sound(timestamp=early), "too_late")]


@kind
def odd_but_sound(make: Maker) -> list[Made]:
    """Names that break careless writers, keys twice, escapes, surrogate pairs: all is counted."""
    odd = make.pick(
        b'"hostile"',
        b'"\\ud83d\\ude42"',
        '"\u202e\u2066abc"'.encode(),
        b'"}) or vector(1) #"',
        b'"<script>alert(1)</script>"',
        b'"a:b{c}/d"',
        b'"first", "campaign": "hostile"',
        b"null",
    )
    assert isinstance(odd, bytes)
    return [(make.sound().replace(b'"hostile"', odd), None)]

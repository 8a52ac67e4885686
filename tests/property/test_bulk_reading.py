"""Reading in bulk says of every record what the decoder says of it alone."""

import json
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core import event_reader, event_shapes, memo, shapes
from stream.core.catalogue import SOURCES, TICKET_TYPES
from stream.core.event_reader import EventReader
from stream.core.events import EVENTS, EventDecoder, Fault, TicketEvent, micros
from stream.core.hashing import hash_texts, hash_words
from stream.core.memo import Memo
from stream.core.plans import PLANS
from stream.core.reading import BEFORE_ALL
from stream.core.texts import Texts
from tests.support.mutants import SEEDS, mutant

TOPICS = ["clicks", "sessions", "tickets"]
OWNERS = {"clicks": "visitor_id", "sessions": "visitor_id", "tickets": "ticket_id"}
T0 = 1_760_000_000_000


@pytest.fixture(autouse=True)
def _always_in_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_reader, "FEW", 1)
    monkeypatch.setattr(event_reader, "PAGE", 7)


def said(reading, position):
    """What a reading says of a record: an event's columns, or the fault."""
    faults = dict(reading.faults)
    if position in faults:
        assert reading.times[position] == BEFORE_ALL
        return faults[position]
    events = reading.events
    return (
        int(reading.times[position]),
        int(reading.hashes[position]),
        events.names._names[events.codes[position]],
        int(events.kinds[position]),
        int(events.micros[position]),
        int(events.instants_ms[position]),
        {name: column.text(position) for name, column in events.ids.items()},
    )


def decoded(topic, value):
    """The same out of the decoder."""
    event = EventDecoder(topic).decode(value)
    if isinstance(event, Fault):
        return event
    plan, opened_ms = PLANS[topic], getattr(event, "opened_at", None)
    what = (event.type, event.by) if isinstance(event, TicketEvent) else event.type
    return (
        event.timestamp,
        int(hash_texts([event.event_id])[0]),
        tuple(getattr(event, name) for name in SOURCES[topic].dimensions),
        plan.kinds[what],
        micros(event.money),
        BEFORE_ALL if opened_ms is None else opened_ms,
        {name: (getattr(event, name) or "").encode() for name in plan.ids},
    )


def check(values, reader=None, topic="clicks"):
    """Read values twice: what the first time has taught must not change the second."""
    reader = reader or EventReader(topic)
    topic = reader._plan.source.topic
    for _ in range(2):
        for given_as in (values, Texts.of(values)):
            reading = reader.read(given_as)
            alone = [decoded(topic, value) for value in values]
            assert [said(reading, i) for i in range(len(values))] == alone
            for name, column in reading.events.ids.items():
                held = [one if isinstance(one, Fault) else one[-1][name] for one in alone]
                texts = column.texts()
                assert all(isinstance(a, Fault) or a == b for a, b in zip(held, texts, strict=True))
    return reader


def written(number=0, topic="clicks", *, escaped=False, **fields):
    event = {
        "event_id": f"e-{number:04}",
        "type": {"clicks": "click", "sessions": "action", "tickets": "contact"}[topic],
        "timestamp": T0 + number,
        **({"channel": f"c{number % 3}"} if topic == "tickets" else {"campaign": f"c{number % 3}"}),
        OWNERS[topic]: "v1",
        **fields,
    }
    present = {name: value for name, value in event.items() if value != "-"}
    text = json.dumps(present, ensure_ascii=escaped, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


SAMPLE = [written(n) for n in range(20)]


# --- what has a shape ----------------------------------------------------------------------------


def decoded_singly(reader, values):
    """Those of a page that no shape takes; the last one lies too near the end to be matched."""
    singly, decoder = list[bytes](), reader._decoder

    class Noting:
        def decode_all(self, some):
            singly.extend(some)
            return decoder.decode_all(some)

    reader._decoder = Noting()
    reader.read(values)
    reader._decoder = decoder
    return singly


def all_in_bulk(reader, values):
    """Whether shapes take these (one page), but for the last one."""
    return decoded_singly(reader, values) in ([], values[-1:])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"type": "impression"},
        {"timestamp": "2025-06-01T10:00:00Z"},
        {"timestamp": "2025-06-01T10:00:00.123Z"},
        {"timestamp": "2025-06-01T10:00:00.123456+02:00"},
        {"timestamp": "2025-06-01t10:00:00.1z"},
        {"campaign": "spring sale ~"},
        {"cost": 0.25},
        {"cost": "0.25"},
        {"cost": None, "channel": None},
        {"more": "anything", "flag": True},
        {"creative": "ä", "channel": "日本"},
        {"campaign": "-", "visitor_id": "-"},
    ],
)
def test_records_of_one_form_are_read_in_bulk(fields):
    values = [written(n, **fields) for n in range(100, 107)]
    reader = check([written(n, **{**fields, "creative": "-"}) for n in range(7)])
    assert all_in_bulk(check(values, reader), values)


@pytest.mark.parametrize(
    ("topic", "fields"),
    [
        ("sessions", {}),
        ("sessions", {"page": "/products/7?q=a b#~", "goal": ""}),
        ("sessions", {"page": None, "goal": None, "session_id": None, "value": None}),
        ("sessions", {"session_id": "s-1", "variant": "ä"}),
        ("sessions", {"type": "conversion", "goal": "x" * 300, "value": 12.5}),
        ("sessions", {"type": "ping", "value": "0.1", "more": 7}),
        ("sessions", {"timestamp": "2025-06-01T10:00:00.123Z", "campaign": "-"}),
        ("tickets", {}),
        ("tickets", {"by": "agent", "team": "night shift"}),
        ("tickets", {"by": None, "team": None, "opened_at": None}),
        ("tickets", {"type": "opened", "opened_at": T0 - 5}),
        ("tickets", {"opened_at": "2025-06-01T10:00:00.123Z", "channel": "-"}),
        ("tickets", {"timestamp": "2025-06-01T10:00:00Z", "opened_at": T0}),
        ("tickets", {"timestamp": "2025-06-01T10:00:00.5Z", "opened_at": "2025-06-01T09:00:00Z"}),
    ],
)
def test_sessions_and_tickets_of_one_form_are_read_in_bulk(topic, fields):
    values = [written(n, topic, **fields) for n in range(100, 107)]
    reader = check([written(n, topic, **fields) for n in range(7)], topic=topic)
    assert all_in_bulk(check(values, reader), values)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_plan_says_of_each_field_how_it_is_read(topic):
    plan, known = PLANS[topic], {"event_id", "timestamp"}
    named = {*plan.kind, *plan.source.dimensions, *plan.ids, *plan.checked, *plan.free}
    assert set(EVENTS[topic].__struct_fields__) == {
        *known,
        *named,
        *filter(None, (plan.money, plan.instant)),
    }


@pytest.mark.parametrize("bad", ["\n", "\\x", "\x7f"])
def test_one_that_is_unfit_does_not_hinder_the_others(bad):
    reader, values = check([written(n) for n in range(7)]), [written(n) for n in range(7)]
    values[3] = values[3].replace(b'"v1"', b'"%b"' % bad.encode())
    singly = decoded_singly(check(values, reader), values)
    assert singly == [values[3], values[6]]


@pytest.mark.parametrize(
    "amount", [b"01", b"1_0", b".5", b"+1", b"1.", b"1e", b"-", b"NaN", b"1e3", b"-0", b"null"]
)
def test_an_amount_without_quotes_is_a_number_of_json(amount):
    sound = [written(n, cost=5) for n in range(7)]
    reader = check(sound)
    check([*sound[:3], sound[3].replace(b'"cost":5', b'"cost":' + amount), *sound[4:]], reader)


def test_a_hole_grows_with_what_it_has_to_hold():
    reader = check(SAMPLE)
    long = [written(n, campaign="c" * (20 + n)) for n in range(7)]
    check(long, reader)
    assert all_in_bulk(reader, long)
    assert len(reader._shapes) == 1


def test_several_forms_at_once_are_read_in_bulk():
    forms: list[dict[str, Any]] = [
        {},
        {"channel": "x"},
        {"cost": 1},
        {"timestamp": "2025-06-01T10:00:00Z"},
    ]
    values = [written(n, **forms[n % 4]) for n in range(28)]
    reader = check(values * 2)
    assert all_in_bulk(reader, values[:7])


def test_a_producer_of_ever_new_forms_teaches_only_so_many():
    values = [written(n, **{f"x{n}": 1}) for n in range(100)]
    assert len(check(values)._shapes) <= event_reader.MOST_SHAPES


# --- what has none -------------------------------------------------------------------------------

HOSTILE = [
    None,
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xff\xfe",
    b" " * 65_537,
    SAMPLE[0][:-1],
    SAMPLE[0] + b"}",
    SAMPLE[0] + b" ",
    SAMPLE[0] + b"\0",
    SAMPLE[0] + SAMPLE[1],
    SAMPLE[0] + b"," + SAMPLE[1],
    SAMPLE[0][:40],
    SAMPLE[0][40:],
    b"\n" + SAMPLE[0],
    SAMPLE[0].replace(b"{", b'{"a":"'),
    b'"}' + SAMPLE[0],
    SAMPLE[0].replace(b'"c0"', b'"c\0"'),
    SAMPLE[0].replace(b'"c0"', b'"c\0\0"'),
    SAMPLE[0].replace(b'"c0"', b'"c\x1f"'),
    SAMPLE[0].replace(b'"c0"', b'"c\x7f"'),
    SAMPLE[0].replace(b'"c0"', b'"c\xc2\x85"'),
    SAMPLE[0].replace(b'"c0"', b'"\xc3\xa4"'),
    SAMPLE[0].replace(b'"c0"', b'"\xc3"'),
    SAMPLE[0].replace(b'"c0"', b'"\xed\xa0\x80"'),
    SAMPLE[0].replace(b'"c0"', b'""'),
    SAMPLE[0].replace(b'"c0"', b'"c\\u0030"'),
    SAMPLE[0].replace(b'"c0"', b'"c\\""'),
    SAMPLE[0].replace(b'"c0"', b'"c","campaign":"d"'),
    SAMPLE[0].replace(b'"c0"', b"5"),
    SAMPLE[0].replace(b'"c0"', b"null"),
    SAMPLE[0].replace(b'"c0"', b'"%b"' % (b"c" * 128)),
    SAMPLE[0].replace(b'"c0"', b'"%b"' % (b"c" * 129)),
    SAMPLE[0].replace(b'"c0"', b'"%b"' % ("ä" * 128).encode()),
    SAMPLE[0].replace(b'"v1"', b'"v\\n"'),
    SAMPLE[0].replace(b'"v1"', b'"v\n"'),
    SAMPLE[0].replace(b'"v1"', b'"\xff"'),
    SAMPLE[0].replace(b'"v1"', b'""'),
    SAMPLE[0].replace(b'"click"', b'"clicks"'),
    SAMPLE[0].replace(b'"click"', b'"Click"'),
    SAMPLE[0].replace(b'"click"', b'"click\0"'),
    SAMPLE[0].replace(b'"e-0000"', b'"%b"' % (b"e" * 64)),
    SAMPLE[0].replace(b'"e-0000"', b'"%b"' % (b"e" * 65)),
    SAMPLE[0].replace(b'"e-0000"', b'"e\xc3\xa4"'),
    SAMPLE[0].replace(b'"e-0000"', b'"e\0"'),
    *(
        SAMPLE[0].replace(str(T0).encode(), stamp)
        for stamp in (
            b"0760000000000",
            b"176000000000",
            b"17600000000000",
            b"17600000000.0",
            b"1.76e12000000",
            b"-176000000000",
            b'"760000000000',
            b"17600000 0000",
            b"17600000:0000",
            b"17600000/0000",
            b'"1760000000000"',
            b"true",
        )
    ),
    *(
        written(n, timestamp=stamp)
        for n, stamp in enumerate(
            (
                "2025-06-01T10:00:00.12xZ",
                "2025-06-01T10:00:00.1 3Z",
                "2025-06-01T10:00:00.1:3Z",
                "2025-06-01T10:00:60.123Z",
                "2025-02-29T10:00:00.123Z",
                "2025-06-01T24:00:00.123Z",
                "2025-06-01T10:00:00,123Z",
                "2025-06-01T10:00:00.123z",
                "٢٠٢٥-06-01T10:00:00.123Z",
            )
        )
    ),
    *(
        written(n, cost=cost)
        for n, cost in enumerate(("1e3", "", "x", "NaN", "1_0", " 1", "1000000000001", 10**13, -1))
    ),
    b'{"event_id":"a","type":"click","timestamp":1,"cost":01}',
    b'{"event_id":"a","type":"click","timestamp":1760000000000,"cost":}',
]


@pytest.mark.parametrize("place", range(7))
def test_a_hostile_record_among_sound_ones_changes_nothing(place):
    for bad in HOSTILE:
        reader = check(SAMPLE)
        check([written(n, timestamp="2025-06-01T10:00:00.123Z") for n in range(7)], reader)
        check([written(n, cost="0.5") for n in range(7)], reader)
        values = [*SAMPLE[:7]]
        values[place] = bad
        check(values, reader)


@pytest.mark.parametrize("name", ["event_id", "type", "timestamp", "campaign", "cost", "x"])
@pytest.mark.parametrize("fields", [{}, {"timestamp": "2025-06-01T10:00:00.123Z", "cost": "0.5"}])
def test_of_a_key_that_comes_twice_the_decoder_says_which_one_counts(name, fields):
    twice = {"event_id": "d", "type": "impression", "timestamp": T0 - 7, "x": 1, "cost": 2}
    again = json.dumps({name: twice.get(name, "d")})[1:-1].encode()
    for n in range(2):
        first = [written(n, x="y", **fields).replace(b"{", b"{" + again + b",") for n in range(7)]
        last = [written(n, x="y", **fields)[:-1] + b"," + again + b"}" for n in range(7)]
        check([*first, *last][7 * n :] * 2)


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        (topic, name)
        for topic in ("sessions", "tickets")
        for name in EVENTS[topic].__struct_fields__
    ],
)
def test_of_a_key_that_comes_twice_in_any_topic_the_decoder_says_which_one_counts(topic, name):
    known: dict[str, dict[str, Any]] = {
        "sessions": {"session_id": "s"},
        "tickets": {"by": "agent", "opened_at": T0},
    }
    usual, kind = known[topic], "opened" if topic == "tickets" else "end"
    twice = {"type": kind, "timestamp": T0 - 7, "value": 2}
    again = json.dumps({name: twice.get(name, "d")})[1:-1].encode()
    for n in range(2):
        first = [written(n, topic, **usual).replace(b"{", b"{" + again + b",") for n in range(7)]
        last = [written(n, topic, **usual)[:-1] + b"," + again + b"}" for n in range(7)]
        check([*first, *last][7 * n :] * 2, topic=topic)


@pytest.mark.parametrize("odd", [b"\xff", b"\xc3\xa4", b"\\n", b"\\x", b"\\", b"\0", b"\x7f", b""])
def test_what_nobody_asks_for_may_hold_anything_that_is_json(odd):
    sound = [written(n, more="0123456789") for n in range(7)]
    check([*sound[:3], sound[3].replace(b"5678", odd), *sound[4:]], check(sound))


def test_few_records_teach_nothing(monkeypatch):
    monkeypatch.setattr(event_reader, "FEW", len(SAMPLE) + 1)
    monkeypatch.setattr(event_reader, "PAGE", 40)
    assert not check(SAMPLE)._shapes
    assert check(SAMPLE * 2)._shapes


def test_a_page_of_ever_new_forms_teaches_only_a_few(monkeypatch):
    monkeypatch.setattr(event_reader, "PAGE", 40)
    taught = []

    def note(value, find):
        taught.append(value)
        return shapes.shape_of(value, find)

    monkeypatch.setattr(event_shapes, "shape_of", note)
    EventReader("clicks").read([written(n, **{f"x{n}": 1}) for n in range(80)])
    assert len(taught) == 2 * event_reader._LESSONS


HOSTILE_FIELDS: dict[str, dict[str, list[Any]]] = {
    "sessions": {
        "visitor_id": [
            "",
            "v\0",
            "v\x1f",
            "v\x7f",
            "v\x85",
            "ä",
            "v" * 128,
            "v" * 129,
            None,
            5,
            "-",
        ],
        "session_id": ["", "s\0", "s\n", "ä" * 128, "ä" * 129, "s" * 128, "s" * 129, 5, '"', "\\"],
        "page": ["", "/ä", "/\n", '/"', "/\0", "/" * 500, 5, ["/"], {}, True],
        "goal": ["", "\x7f", "\ud800", "g" * 500, 1.5],
        "value": ["1e3", "", "NaN", "1_0", 10**13, "1000000000001", -1, 1.23456789, True, [], "ä"],
        "type": ["", "PING", "ping", "end", "conversion", "impression", None, "ping\0"],
        "variant": ["", "a\0", "\x85", "ä" * 65, "x" * 129, 7],
    },
    "tickets": {
        "ticket_id": ["", "t\0", "t\x1f", "t\x7f", "ä", "t" * 128, "t" * 129, None, 5, "-"],
        "by": ["", "agent", "customer", "Agent", "agent ", "agent\0", None, 5, "ä"],
        "opened_at": [
            0,
            -1,
            10**12,
            10**13,
            10**20,
            "x",
            "",
            True,
            1.5,
            T0,
            "null",
            [],
            "2025-06-01T10:00:00.123Z",
            "2025-06-01T10:00:60Z",
            "2025-06-01T10:00:00",
        ],
        "team": ["", "a\0", "\x85", "ä" * 65, "x" * 129, 7],
        "type": [*TICKET_TYPES, "", "Opened", "click", None],
    },
}


@pytest.mark.parametrize(
    ("topic", "name"), [(topic, name) for topic in HOSTILE_FIELDS for name in HOSTILE_FIELDS[topic]]
)
def test_a_hostile_value_in_any_field_is_read_as_the_decoder_reads_it(topic, name):
    known: dict[str, dict[str, Any]] = {
        "sessions": {"session_id": "s1", "page": "/p", "goal": "g", "value": 1.5, "variant": "a"},
        "tickets": {"by": "agent", "team": "t", "opened_at": T0},
    }
    usual = known[topic]
    for fields in (usual, {name: usual.get(name, "v1")}, {}):
        for odd in HOSTILE_FIELDS[topic][name]:
            sound = [written(n, topic, **fields) for n in range(7)]
            escaped = written(3, topic, escaped=True, **{**fields, name: odd})
            straight = written(3, topic, **{**fields, name: odd})
            raw = straight.replace(b"\\u0000", b"\0").replace(b"\\", b"")
            for bad in (escaped, straight, raw):
                check([*sound[:3], bad, *sound[4:]], check(sound, topic=topic))


def test_hostile_records_alone_change_nothing():
    check(HOSTILE)
    check([value for value in HOSTILE for _ in range(7)])


# --- any mix -------------------------------------------------------------------------------------

_TEXTS = st.one_of(
    st.sampled_from(["x", "y", "-", "click", "c" * 9, "ä", '"', "\\", "\0", "\x7f", "\x85", " "]),
    st.text(max_size=12),
)
_STAMPS = st.one_of(
    st.integers(T0 - 10, T0 + 10),
    st.sampled_from([0, -1, 10**12, 10**13, True, "x", None]),
    st.sampled_from(
        [f"2025-06-01T10:00:0{n}{f}{z}" for n in (0, 7) for f in ("", ".5", ".123") for z in "Zz"]
    ),
)
_AMOUNTS = st.sampled_from([None, 1, 0.5, "0.5", "x", 10**13])
_OTHERS = st.one_of(_TEXTS, st.integers(), st.lists(st.integers(), max_size=2))
_MAYBE = st.one_of(st.none(), _TEXTS)
_EVENTS = {
    "clicks": st.fixed_dictionaries(
        {"event_id": _TEXTS, "type": st.sampled_from(["click", "impression", "no"])},
        optional={
            "timestamp": _STAMPS,
            **dict.fromkeys(("campaign", "channel", "creative"), _MAYBE),
            "visitor_id": _TEXTS,
            "cost": _AMOUNTS,
            "other": _OTHERS,
        },
    ),
    "sessions": st.fixed_dictionaries(
        {
            "event_id": _TEXTS,
            "type": st.sampled_from(["page_view", "ping", "end", "conversion", "no"]),
            "timestamp": _STAMPS,
            "visitor_id": _TEXTS,
        },
        optional={
            **dict.fromkeys(("session_id", "campaign", "variant", "page", "goal"), _MAYBE),
            "value": _AMOUNTS,
            "other": _OTHERS,
        },
    ),
    "tickets": st.fixed_dictionaries(
        {
            "event_id": _TEXTS,
            "type": st.sampled_from(["opened", "contact", "closed", "no"]),
            "timestamp": _STAMPS,
            "ticket_id": _TEXTS,
        },
        optional={
            "by": st.sampled_from(["agent", "customer", None, "x"]),
            **dict.fromkeys(("channel", "team"), _MAYBE),
            "opened_at": _STAMPS,
            "other": _OTHERS,
        },
    ),
}


@st.composite
def values_of(draw, topic="clicks"):
    """Values as producers write them, some cut, joined or with a byte of something else."""
    event = draw(_EVENTS[topic])
    text = json.dumps(
        event,
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": ")])),
    ).encode("utf-8", "surrogatepass")
    change = draw(st.integers(0, 9))
    place = draw(st.integers(0, len(text)))
    if change == 7:
        return text[:place]
    if change == 8:
        return text[:place] + draw(st.binary(min_size=1, max_size=2)) + text[place:]
    if change == 9:
        return text[:place] + draw(st.binary(min_size=1, max_size=1)) + text[place + 1 :]
    return text


SAMPLES = {
    "clicks": SAMPLE,
    "sessions": [
        written(n, "sessions", **fields)
        for n in range(4)
        for fields in ({}, {"page": "/p"}, {"session_id": "s", "value": 1, "type": "conversion"})
    ],
    "tickets": [
        written(n, "tickets", **fields)
        for n in range(4)
        for fields in ({}, {"by": "agent", "team": "t"}, {"opened_at": T0})
    ],
}


@pytest.mark.parametrize("topic", ["sessions", "tickets"])
@given(data=st.data())
def test_any_mix_of_a_topics_records_is_read_as_the_decoder_reads_each(topic, data):
    usual = st.sampled_from(SAMPLES[topic])
    values = st.lists(st.one_of(values_of(topic), usual, usual, st.none()), max_size=20)
    check(data.draw(values), check(SAMPLES[topic], topic=topic))


@given(st.lists(st.one_of(values_of(), st.sampled_from(SAMPLE), st.none()), max_size=20))
@example([SAMPLE[0], SAMPLE[0] + SAMPLE[1], SAMPLE[1]])
def test_any_mix_of_records_is_read_as_the_decoder_reads_each(values):
    check(values, check(SAMPLE))


# --- mutants -------------------------------------------------------------------------------------

PARENTS = [
    *SAMPLE[:3],
    written(3, timestamp="2025-06-01T10:00:00.123Z", cost="0.25", channel="email"),
    written(4, cost=7, creative="ä", other={"a": [1, "}"]}),
    json.dumps({"type": "impression", "timestamp": T0, "event_id": "e"}).encode(),
]


ALL_PARENTS = {
    "clicks": PARENTS,
    "sessions": [
        *SAMPLES["sessions"][:3],
        written(3, "sessions", session_id="s-1", page="/a", timestamp="2025-06-01T10:00:00.123Z"),
        written(4, "sessions", type="conversion", goal="g", value="0.25", variant="ä"),
        written(5, "sessions", type="end", value=7, other={"a": [1, "}"]}),
    ],
    "tickets": [
        *SAMPLES["tickets"][:3],
        written(3, "tickets", by="customer", timestamp="2025-06-01T10:00:00.123Z"),
        written(4, "tickets", type="opened", opened_at="2025-06-01T10:00:00Z", team="ä"),
        written(5, "tickets", by=None, opened_at=T0 - 1, other={"a": [1, "}"]}),
    ],
}


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("seed", SEEDS)
def test_mutants_are_read_as_the_decoder_reads_each(seed, topic, monkeypatch):
    monkeypatch.setattr(event_reader, "PAGE", 40)
    parents = ALL_PARENTS[topic]
    rng, reader = Random(seed), check(parents * 3, topic=topic)
    for _ in range(10):
        share = rng.choice([0.1, 0.5, 1.0])
        pick = [
            mutant(rng, parents) if rng.random() < share else rng.choice(parents)
            for _ in range(100)
        ]
        check(pick, reader)


@pytest.mark.parametrize("parent", [PARENTS[0], PARENTS[4]])
def test_a_record_torn_in_two_is_not_joined_again(parent, monkeypatch):
    monkeypatch.setattr(event_reader, "PAGE", 40)
    reader = check(PARENTS * 3)
    for place in range(len(parent) + 1):
        torn = parent[:place], parent[place:]
        ends = (b"", b""), (b'","a":"', b'"'), (b"", b'{"a":"'), (b'"}', b"")
        halves = [half for end, begin in ends for half in (torn[0] + end, begin + torn[1])]
        check([*PARENTS, *halves, *PARENTS], reader)


def test_a_field_of_the_contract_is_looked_at_wherever_a_shape_has_a_hole():
    fields = {"creative": "x", "channel": "y", "variant": "z", "cost": "1"}
    for name in ("event_id", "campaign", "visitor_id", *fields):
        for bad in ("", "c" * 129, "a\0", "\x85", "ä" * 65, "ä" * 129):
            sound = [written(n, **fields) for n in range(7)]
            check([*sound[:3], written(3, **{**fields, name: bad}), *sound[4:]], check(sound))


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.data())
def test_a_byte_anywhere_in_a_record_of_a_known_form_is_seen(topic, data):
    sample = SAMPLES[topic]
    reader = check(sample, topic=topic)
    value = bytearray(data.draw(st.sampled_from(sample)))
    place = data.draw(st.integers(0, len(value) - 1))
    value[place] = data.draw(st.integers(0, 255))
    check([sample[0], bytes(value), sample[1]], reader)


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.data())
def test_many_events_are_decoded_as_each_alone(topic, data):
    decoder, values = EventDecoder(topic), data.draw(st.lists(values_of(topic), max_size=12))
    assert decoder.decode_all(values) == [decoder.decode(value) for value in values]


# --- hashes and memos ----------------------------------------------------------------------------


@given(st.lists(st.text(max_size=40), min_size=1, max_size=9), st.integers(0, 3))
def test_a_text_has_one_hash_whatever_is_beside_it(texts, more):
    alone = [int(hash_texts([text])[0]) for text in texts]
    assert hash_texts(texts).tolist() == alone
    encoded = [text.encode() for text in texts]
    width = (max(map(len, encoded)) // 8 + 1 + more) * 8
    rows = b"".join(text.ljust(width, b"\0") for text in encoded)
    words = np.frombuffer(rows, "<u8").reshape(len(texts), -1)
    assert hash_words(words, np.array([len(text) for text in encoded])).tolist() == alone


HASHES = ["0x1", "0xa2c7da8c83382933", "0xf3b67edfa6276209", "0x380b5b6dce468195"]


def test_hashes_are_kept_in_ledgers_so_they_stay_as_they_are():
    assert [hex(h) for h in hash_texts(["", "a", "e-0001", "x" * 64]).tolist()] == HASHES


def test_no_texts_have_no_hashes():
    assert hash_texts([]).tolist() == []


def test_neighbouring_ids_spread_over_all_bits():
    hashes = hash_texts([f"event-{n:07}" for n in range(50_000)])
    assert len(np.unique(hashes)) == 50_000
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.02
    flips = np.bitwise_count(hashes[1:] ^ hashes[:-1])
    assert 31.5 < flips.mean() < 32.5


@given(st.integers(1, 90), st.randoms(use_true_random=False), st.booleans())
def test_a_memo_answers_as_the_function_even_where_keys_are_equal(distinct, chance, clash):
    numbers = [chance.randrange(distinct) for _ in range(chance.choice([5, 150]))]
    most = chance.choice([30, 1_000])
    asked: list[bytes] = []

    def ask(row: bytes) -> int:
        asked.append(row)
        return int.from_bytes(row[:8], "little") * 3

    with pytest.MonkeyPatch.context() as patch:
        if clash:
            patch.setattr(memo, "keys_of", lambda rows: rows[:, 0] % np.uint64(3) + np.uint64(1))
        patch.setattr(memo, "MOST", most)
        held = Memo(2, ask)
        for at in range(0, len(numbers), 7):
            run = numbers[at : at + 7]
            rows = np.array([[n, 9] for n in run], "<u8")
            assert held.of(rows).tolist() == [3 * n for n in run]
    if not clash and len(set(numbers)) < most - 1:
        assert len(asked) == len(set(numbers))


def test_a_memo_of_ever_new_rows_stays_small():
    held = Memo(1, lambda row: int.from_bytes(row, "little") + 1, 50)
    for start in range(0, 2_000, 30):
        numbers = np.arange(start, start + 40, dtype="<u8")
        assert held.of(numbers[:, np.newaxis]).tolist() == (numbers + 1).tolist()
    assert len(held._keys) <= 128

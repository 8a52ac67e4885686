"""The contract of the events: every field, limit and reason."""

import json
from datetime import date as date_type
from decimal import Decimal
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.events import (
    MAX_BYTES,
    Click,
    EventDecoder,
    Fault,
    SessionEvent,
    TicketEvent,
    micros,
    parse_timestamp,
)
from stream.core.records import Reason
from tests.support.mutants import SEEDS, mutant

SOUND = {
    "clicks": {"event_id": "e1", "type": "click", "timestamp": 1_000},
    "sessions": {"event_id": "e1", "type": "page_view", "timestamp": 1_000, "visitor_id": "v"},
    "tickets": {"event_id": "e1", "type": "opened", "timestamp": 1_000, "ticket_id": "t"},
}
TOPICS = list(SOUND)
IDS = {"clicks": "visitor_id", "sessions": "session_id", "tickets": "ticket_id"}
NAMES = {
    "clicks": ("campaign", "channel", "variant", "visitor_id", "creative"),
    "sessions": ("visitor_id", "session_id", "campaign", "channel", "variant"),
    "tickets": ("ticket_id", "channel", "team"),
}
EVERY_NAME = [(topic, name) for topic, names in NAMES.items() for name in names]
MALFORMED, INVALID, UNKNOWN = Reason.MALFORMED, Reason.INVALID, Reason.UNKNOWN_TYPE


def numbered():
    """Plain ids for values that no command line could name."""
    numbers = count()
    return lambda _: f"value{next(numbers)}"


def decode(topic, **fields):
    return EventDecoder(topic).decode(json.dumps({**SOUND[topic], **fields}).encode())


def raw(text, topic="clicks"):
    """A sound event with something put behind its fields, as it is written."""
    head = json.dumps(SOUND[topic])[:-1].encode()
    return EventDecoder(topic).decode(
        head + b"," + (text if isinstance(text, bytes) else text.encode()) + b"}"
    )


def reason(found):
    return found.reason if isinstance(found, Fault) else None


def detail(found):
    return found.detail if isinstance(found, Fault) else ""


def refused(found, field):
    """Whether an event is invalid, and the detail names the field first."""
    return reason(found) is INVALID and found.detail.startswith(f"{field}:")


# --- what is an event ----------------------------------------------------------------------------


@pytest.mark.parametrize("topic", TOPICS)
def test_the_required_fields_are_enough(topic):
    event = decode(topic)
    assert (event.event_id, event.timestamp) == ("e1", 1_000)
    assert all(getattr(event, name) is None for name in ("channel",))


def test_every_field_is_read():
    click = decode("clicks", campaign="c", channel="h", variant="A", visitor_id="v", creative="x")
    assert click == Click("e1", "click", 1_000, "c", "h", "A", "v", "x")
    page = decode("sessions", session_id="s", page="/p", goal="buy", value="1.5")
    assert page == SessionEvent(
        "e1", "page_view", 1_000, "v", "s", page="/p", goal="buy", value=Decimal("1.5")
    )
    contact = decode("tickets", type="contact", team="b", by="agent", opened_at=5)
    assert contact == TicketEvent("e1", "contact", 1_000, "t", team="b", by="agent", opened_at=5)


@pytest.mark.parametrize(
    ("topic", "types"),
    [
        ("clicks", "impression click"),
        ("sessions", "page_view action conversion ping end"),
        ("tickets", "opened contact reassigned awaiting_customer resolved reopened closed"),
    ],
)
def test_the_types_of_a_topic(topic, types):
    for kind in types.split():
        assert decode(topic, type=kind).type == kind


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("other", TOPICS)
def test_an_event_of_another_topic_is_of_unknown_type(topic, other):
    if other != topic:
        found = EventDecoder(topic).decode(json.dumps(SOUND[other]).encode())
        assert reason(found) is UNKNOWN
        assert SOUND[other]["type"] in detail(found)


@pytest.mark.parametrize("topic", TOPICS)
def test_only_a_text_can_be_an_unknown_type(topic):
    assert reason(decode(topic, type="Click")) is UNKNOWN
    assert reason(decode(topic, type="")) is UNKNOWN
    for wrong in (None, 5, ["click"], True):
        assert refused(decode(topic, type=wrong), "type")
    assert reason(EventDecoder(topic).decode(b'{"event_id":5,"type":"nothing"}')) is UNKNOWN


@pytest.mark.parametrize("topic", TOPICS)
def test_a_missing_field_is_named(topic):
    for name in SOUND[topic]:
        fields = {key: value for key, value in SOUND[topic].items() if key != name}
        assert refused(EventDecoder(topic).decode(json.dumps(fields).encode()), name)
        assert refused(decode(topic, **{name: None}), name)  # null is the same as absent


@pytest.mark.parametrize(("topic", "name"), EVERY_NAME)
def test_null_is_absent(topic, name):
    if name not in SOUND[topic]:
        assert decode(topic, **{name: None}) == decode(topic)


def test_null_is_absent_for_money_times_and_choices_too():
    assert decode("clicks", cost=None).cost is None
    assert decode("sessions", value=None, page=None, goal=None) == decode("sessions")
    assert decode("tickets", by=None, opened_at=None) == decode("tickets")


@pytest.mark.parametrize("topic", TOPICS)
def test_unknown_fields_are_ignored(topic):
    assert decode(topic, more={"a": [1, None, {"b": "\x00"}]}, x=1e300) == decode(topic)
    assert raw('"x":1e400', topic) == decode(topic)


def test_of_a_key_that_is_there_twice_the_last_one_holds():
    assert raw('"type":"impression"').type == "impression"
    assert reason(raw('"type":"nothing"')) is UNKNOWN


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("topic", "name"), EVERY_NAME)
def test_names_have_1_to_128_characters(topic, name):
    assert getattr(decode(topic, **{name: "é" * 128}), name) == "é" * 128
    assert getattr(decode(topic, **{name: "x"}), name) == "x"
    for wrong in ("", "x" * 129, 5, True, ["x"], {"x": 1}):
        assert refused(decode(topic, **{name: wrong}), name)


@pytest.mark.parametrize("topic", TOPICS)
def test_an_event_id_has_1_to_64_characters(topic):
    assert decode(topic, event_id="😀" * 64).event_id == "😀" * 64
    for wrong in ("", "x" * 65, 7):
        assert refused(decode(topic, event_id=wrong), "event_id")


@pytest.mark.parametrize(("topic", "name"), [*EVERY_NAME, ("clicks", "event_id")])
@pytest.mark.parametrize("control", ["\x00", "\x1f", "\n", "\x7f", "\x80", "\x85", "\x9f"])
def test_names_have_no_control_characters(topic, name, control):
    assert refused(decode(topic, **{name: f"a{control}b"}), name)  # escaped in JSON
    fields = {**SOUND[topic], name: f"a{control}b"}
    plain = EventDecoder(topic).decode(json.dumps(fields, ensure_ascii=False).encode())
    assert refused(plain, name)


def test_control_characters_that_json_forbids_raw_are_malformed():
    for control in (b"\x00", b"\n", b"\x1f"):
        assert reason(raw(b'"campaign":"a' + control + b'b"')) is MALFORMED
        assert reason(raw(b'"unknown":"a' + control + b'b"')) is MALFORMED


def test_neighbours_of_control_characters_are_allowed():
    assert decode("clicks", campaign=" ~\xa0").campaign == " ~\xa0"


def test_texts_that_are_neither_id_nor_dimension_are_free():
    assert decode("sessions", page="/" + "x" * 5_000, goal="a\nb").goal == "a\nb"
    assert refused(decode("sessions", page=5), "page")


def test_by_is_one_of_two():
    assert decode("tickets", by="customer").by == "customer"
    assert refused(decode("tickets", by="bot"), "by")
    assert refused(decode("tickets", by=1), "by")


# --- timestamps ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (0, 0),
        (-1, -1),
        (1_735_689_600_000, 1_735_689_600_000),
        ("2025-01-01T00:00:00Z", 1_735_689_600_000),
        ("2025-01-01t00:00:00z", 1_735_689_600_000),
        ("2025-01-01 00:00:00Z", 1_735_689_600_000),
        ("2025-01-01T00:00:00.5Z", 1_735_689_600_500),
        ("2025-01-01T00:00:00.050Z", 1_735_689_600_050),
        ("2025-01-01T00:00:00.1239999999999Z", 1_735_689_600_123),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("2025-01-01T05:30:00+05:30", 1_735_689_600_000),
        ("2024-12-31T19:00:00-05:00", 1_735_689_600_000),
        ("2025-01-01T00:00:00-00:00", 1_735_689_600_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2016-12-31T23:59:60.25Z", 1_483_228_800_250),
        ("2017-01-01T01:59:60.999+02:00", 1_483_228_800_999),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        (-62_135_596_800_000, -62_135_596_800_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        (253_402_300_799_999, 253_402_300_799_999),
    ],
)
def test_timestamps_in_every_form(text, expected):
    assert decode("clicks", timestamp=text).timestamp == expected
    assert decode("tickets", opened_at=text).opened_at == expected


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "1", "now", "2025-01-01", "2025-01-01T00:00:00", "2025-01-01T00:00Z"),
        *("2025-01-01T00:00:00+0530", "2025-01-01T00:00:00+5:30", "2025-01-01T00:00:00,5Z"),
        *("2025-01-01T00:00:00.Z", "2025-01-01T00:00:00 Z", " 2025-01-01T00:00:00Z"),
        *("2025-13-01T00:00:00Z", "2025-02-29T00:00:00Z", "2025-01-01T24:00:00Z"),
        *("2025-01-01T00:60:00Z", "2025-01-01T00:00:61Z", "2025-01-01T00:00:00+24:00"),
        *("2025-01-01T00:00:00+05:60", "0000-01-01T00:00:00Z", "2025-W01-1T00:00:00Z"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-00:01", "9999-12-31T23:59:60Z"),
        *("٢٠٢٥-01-01T00:00:00Z", "2025-01-01T00:00:00.١٢٣Z", "2025-01-01T00:00:00Z\n"),
        *(253_402_300_800_000, -62_135_596_800_001, 2**63, 2**64, 10**40, 10**5000),
        *(1.0, 1.5, 1e3, True, False, [], {}, [1]),
    ],
    ids=numbered(),
)
def test_what_is_no_timestamp_is_invalid(wrong):
    text = "9" * 5_001 if wrong == 10**5000 else json.dumps(wrong)
    assert refused(raw(f'"timestamp":{text}'), "timestamp")
    assert refused(raw(f'"opened_at":{text}', "tickets"), "opened_at")


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999), st.integers(-1439, 1439))
def test_the_zone_of_a_timestamp_does_not_matter(at_ms, offset_minutes):
    local_ms = at_ms + offset_minutes * 60_000
    if not -62_135_596_800_000 <= local_ms < 253_402_300_800_000:
        return
    days, rest = divmod(local_ms, 86_400_000)
    date = date_type.fromordinal(719_163 + days)
    clock = f"{rest // 3_600_000:02}:{rest // 60_000 % 60:02}:{rest // 1000 % 60:02}"
    sign, minutes = "-" if offset_minutes < 0 else "+", abs(offset_minutes)
    zone = f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    text = f"{date.isoformat()}T{clock}.{rest % 1000:03}{zone}"
    assert parse_timestamp(text) == at_ms
    assert parse_timestamp(text) == at_ms


def test_a_second_that_is_known_already_reads_the_same():
    for _ in range(2):
        assert parse_timestamp("2025-06-01T10:00:00.007Z") == 1_748_772_000_007
    with pytest.raises(ValueError, match="neither"):
        parse_timestamp("2025-06-01T10:00:00.0x7Z")


# --- money ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        *(
            ("12.50", 12_500_000),
            (3, 3_000_000),
            (0.1, 100_000),
            ("0.1", 100_000),
            ("-2", -2_000_000),
        ),
        *(("0.000001", 1), ("0.0000005", 0), ("0.0000015", 2), ("1e-400", 0), ("1E+3", 10**9)),
        *(("1000000000000", 10**18), (-(10**12), -(10**18)), ("", None), ("abc", None)),
        *(("1000000000000.0000001", None), (10**13, None), ("NaN", None), ("sNaN", None)),
        *(("Infinity", None), ("-inf", None), (True, None), ([], None), ({}, None), ("0x10", None)),
        *(("1e999999999999999999999", None), ("9" * 5_000, None)),
    ],
    ids=lambda value: str(value)[:30],
)
def test_money_is_whole_micro_units_or_none(amount, expected):
    for topic, name in (("clicks", "cost"), ("sessions", "value")):
        found = decode(topic, **{name: amount})
        if expected is None:
            assert refused(found, name)
        else:
            assert micros(found.money) == expected


@pytest.mark.parametrize("text", ["1e400", "1e99999999999999999999", "9" * 400, "9" * 5_000])
def test_numbers_too_large_for_anything_are_invalid_money(text):
    assert refused(raw(f'"cost":{text}'), "cost")


@pytest.mark.parametrize("at", [1_000, "2025-06-01T10:00:00.5Z"])
@pytest.mark.parametrize("topic", TOPICS)
def test_events_in_plain_text_are_decoded_at_once(topic, at):
    more = {"clicks": '"cost":"0.5"', "sessions": '"value":1', "tickets": '"opened_at":"x"'}[topic]
    sound = json.dumps({**SOUND[topic], "timestamp": at}).encode()
    plain = [sound] * 9 + [sound[:-1] + b"," + more.encode() + b"}"]
    decoder = EventDecoder(topic)
    assert decoder._decode_plain(plain) == [decoder.decode(value) for value in plain]
    assert decoder._decode_plain([*plain, b"{"]) is None


def test_a_reason_is_no_longer_than_200_characters():
    found = decode("clicks", type="x" * 300)
    assert reason(found) == UNKNOWN
    assert len(detail(found)) == 200
    assert detail(found).endswith("x…")


SAID = [
    (None, "the record has no value"),
    (b" " * (MAX_BYTES + 1), "65537 bytes, at most 65536 are taken"),
    (b'{"a":' * 10_000, "nested too deeply"),
    (b"{", "no UTF-8 JSON object: Input data was truncated"),
    (b"[]", "JSON, but not an object"),
    (b'{"type":1}', "type: missing or not a string"),
    (b'{"type":"no"}', "type: 'no' is none of this topic's"),
    (b'{"type":"click"}', "event_id: missing"),
    ({"campaign": 7}, "campaign: Expected `str | null`, got `int`"),
    ({"campaign": "\0"}, "campaign: has a control character"),
    ({"cost": "1e13"}, "cost: an amount of money is a finite number of at most 10^12"),
    ({"timestamp": 10**15}, "timestamp: outside the years 1 to 9999"),
    ({"timestamp": "0001-01-01T00:00:00+01:00"}, "timestamp: outside the years 1 to 9999"),
    ({"timestamp": "x"}, "timestamp: neither epoch milliseconds nor RFC 3339 with a zone"),
    ({"timestamp": "2025-02-29T00:00:00Z"}, "timestamp: no such date or time"),
]


@pytest.mark.parametrize(("given_as", "said"), SAID, ids=numbered())
def test_a_producer_is_told_in_a_few_words_what_is_wrong(given_as, said):
    if isinstance(given_as, dict):
        assert detail(decode("clicks", **given_as)) == said
    else:
        assert detail(EventDecoder("clicks").decode(given_as)) == said


@given(st.decimals(-(10**12), 10**12, places=6))
def test_money_of_six_places_is_exact_however_it_is_written(amount):
    assert micros(decode("clicks", cost=str(amount)).cost) == int(amount.scaleb(6))
    assert micros(raw(f'"cost":{amount:f}').cost) == int(amount.scaleb(6))


# --- what is no event ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b" ", b"{", b"}", b"[]", b"[1]", b"null", b"1", b'"x"', b"{'a':1}", b"NaN"),
        *(b"\xff\xfe", b"\xef\xbb\xbf{}", b"[" * 60_000, b'{"a":' * 10_000),
    ],
    ids=numbered(),
)
@pytest.mark.parametrize("topic", TOPICS)
def test_what_is_no_json_object_is_malformed(topic, value):
    found = EventDecoder(topic).decode(value)
    assert reason(found) is MALFORMED
    assert 0 < len(detail(found)) <= 200


@pytest.mark.parametrize("end", [b"x", b"{}", b",", b"\x00", b"]"])
def test_bytes_behind_the_object_are_malformed(end):
    sound = json.dumps(SOUND["clicks"]).encode()
    assert reason(EventDecoder("clicks").decode(sound + end)) is MALFORMED
    assert EventDecoder("clicks").decode(b" " + sound + b" \r\n\t") == decode("clicks")


@pytest.mark.parametrize(
    "text",
    [b'"x":"\xff"', b'"x":"\xc3"', b'"\xff":1', b'"x":"\xed\xa0\x80"', b'"campaign":"\xc0\x80"'],
)
def test_invalid_utf_8_is_malformed_in_fields_that_are_skipped_too(text):
    assert reason(raw(text)) is MALFORMED


@pytest.mark.parametrize("text", ['"x":01', '"x":tru', '"x":"\\q"', '"x":NaN', '"x":[1', ""])
def test_bad_json_is_malformed_in_fields_that_are_skipped_too(text):
    assert reason(raw(text)) is MALFORMED


def test_half_a_surrogate_is_no_text():
    assert reason(raw('"campaign":"\\ud800"')) is MALFORMED
    assert raw('"campaign":"\\ud83d\\ude00"').campaign == "😀"


def test_deep_nesting_is_malformed_and_ends_nothing():
    assert reason(raw(b'"x":' + b"[" * 30_000 + b"]" * 30_000)) is MALFORMED
    assert raw(b'"x":' + b"[" * 50 + b"]" * 50) == decode("clicks")


def test_64_kib_are_taken_and_not_a_byte_more():
    sound = json.dumps(SOUND["clicks"]).encode()
    full = sound + b" " * (MAX_BYTES - len(sound))
    assert EventDecoder("clicks").decode(full) == decode("clicks")
    found = EventDecoder("clicks").decode(full + b" ")
    assert reason(found) is Reason.OVERSIZE
    assert "65537" in detail(found)
    assert reason(EventDecoder("clicks").decode(b"\xff" * (MAX_BYTES + 1))) is Reason.OVERSIZE


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = st.sampled_from(
    [*SOUND["clicks"], *NAMES["sessions"], "cost", "value", "opened_at", "by"]
)


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.data())
def test_whatever_comes_is_an_event_or_a_fault(topic, data):
    wrong = data.draw(st.dictionaries(_FIELDS | st.text(), _JSON, max_size=4))
    value = json.dumps({**SOUND[topic], **wrong}).encode()
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(value)))
        value = value[:place] + data.draw(st.binary(max_size=3)) + value[place:]
    found = EventDecoder(topic).decode(value)
    if isinstance(found, Fault):
        assert found.detail.isprintable() or found.reason is not INVALID
        assert len(found.detail) <= 200
    else:
        assert isinstance(found.timestamp, int)
        for name in ("event_id", *NAMES[topic]):
            text = getattr(found, name)
            assert text is None or (1 <= len(text) <= 128 and text.encode())


def plain(value):
    """What Python's own reader, made strict, says: an object, or None for what is none."""
    try:
        found = json.loads(value.decode(), parse_constant=refuse, object_pairs_hook=whole)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def refuse(name):
    raise ValueError(name)


def whole(pairs):
    """An object, if none of its texts, shadowed ones too, has half a surrogate."""
    json.dumps(pairs, ensure_ascii=False).encode()
    return dict(pairs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("topic", TOPICS)
def test_a_mutant_is_malformed_where_another_reader_says_so_and_read_alike_where_not(topic, seed):
    full = {**SOUND[topic], **dict.fromkeys(NAMES[topic], "ä"), "other": [1.5, {"a": None}]}
    texts = json.dumps(full), json.dumps(full, ensure_ascii=False), json.dumps(SOUND[topic])
    rng, parents = Random(f"{topic}/{seed}"), [text.encode() for text in texts]
    values = [mutant(rng, parents) for _ in range(2_000)]
    decoder = EventDecoder(topic)
    found = [decoder.decode(value) for value in values]
    for start in range(0, len(values), 50):  # joined, if all of them are sound
        assert decoder.decode_all(values[start : start + 50]) == found[start : start + 50]
    for value, event in zip(values, found, strict=True):
        fields = plain(value)
        assert (reason(event) is MALFORMED) == (fields is None), value
        if not isinstance(event, Fault):
            assert fields is not None
            for name in ("event_id", "type", *NAMES[topic]):
                assert getattr(event, name) == fields.get(name)

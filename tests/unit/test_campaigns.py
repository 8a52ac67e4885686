"""What managers say of campaigns: read, written, laid over one another, and refused in one line."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.campaigns import (
    CHANNELS_MAX,
    LONGEST_MS,
    MEASURES,
    NOTES_MAX,
    Campaign,
    Change,
    Note,
    Target,
    apply,
    decode_campaign,
    encode_campaign,
    format_instant,
    parse_channels,
    parse_instant,
    parse_note,
    parse_target,
)

NINE = 1_772_355_600_000  # 2026-03-01T09:00Z
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)
instants = st.builds(
    lambda unit, number: number // unit * unit,
    st.sampled_from([1, 1_000, 60_000]),
    st.integers(0, 4_000_000_000_000),
)
targets = st.builds(
    Target,
    measure=st.sampled_from(MEASURES),
    count=st.integers(1, 10**9).map(Decimal),
    within_ms=st.integers(1, LONGEST_MS // 60_000).map(lambda m: m * 60_000),
)
notes = st.builds(Note, at_ms=instants, text=texts.map(str.strip).filter(bool))
campaigns = st.builds(
    Campaign,
    launch_ms=st.none() | instants.map(lambda ms: ms - ms % 60_000),
    name=st.none() | texts,
    owner=st.none() | texts,
    targets=st.lists(targets, max_size=4).map(tuple),
    notes=st.lists(notes, max_size=4).map(tuple),
    channels=st.lists(texts, max_size=4, unique=True).map(tuple),
)


@given(campaigns)
def test_what_is_written_is_read(campaign: Campaign) -> None:
    assert decode_campaign(encode_campaign(campaign)) == campaign


def test_a_record_says_what_the_contract_says() -> None:
    raw = encode_campaign(
        Campaign(
            launch_ms=NINE,
            name="Spring",
            owner="Ana",
            targets=(parse_target("conversions=5000@24h"), parse_target("value=99.5@7d")),
            notes=(parse_note("mail sent@2026-03-01T09:10Z", 0),),
            channels=("email", "social"),
        )
    )
    assert raw == (
        b'{"launch_at":"2026-03-01T09:00Z","name":"Spring","owner":"Ana",'
        b'"targets":[{"measure":"conversions","count":5000,"within":"24h"},'
        b'{"measure":"value","count":"99.5","within":"7d"}],'
        b'"annotations":[{"at":"2026-03-01T09:10Z","text":"mail sent"}],'
        b'"channels":["email","social"]}'
    )


def test_others_may_write_records_too() -> None:
    raw = b'{"launch_at": 1772355634000, "targets": [], "budget": {"eur": 5}, "owner": null}'
    assert decode_campaign(raw) == Campaign(launch_ms=NINE)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"launch_at": "soon"}', "'soon' is not a time"),
        (b'{"name": "a\\u0007b"}', "a name has at most 200"),
        (
            b'{"targets": [{"measure": "joy", "count": 1, "within": "1h"}]}',
            "'joy' is no measure of a target",
        ),
        (b'{"channels": [""]}', "a channel has 1 to 128"),
        (b'{"channels": [' + b",".join([b'"x"'] * 101) + b"]}", "channels are more than"),
        (
            b'{"annotations": [{"at": "2026-03-01T09:00Z", "text": "' + b"x" * 201 + b'"}]}',
            "a note has at most 200",
        ),
    ],
)
def test_a_bad_record_says_what_is_wrong(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode_campaign(raw)


@given(campaigns, campaigns)
def test_a_change_lays_over_what_is_there(before: Campaign, more: Campaign) -> None:
    change = Change(owner="Ana", targets=more.targets[:1], notes=more.notes)
    after = apply(change, before)
    assert after.owner == "Ana"
    assert (after.launch_ms, after.name, after.channels) == (
        *(before.launch_ms, before.name, before.channels),
    )
    assert set(after.notes) == {*before.notes, *more.notes}
    assert set(more.targets[:1]) <= set(after.targets)
    assert apply(change, after) == after


def test_what_a_change_says_replaces_what_was_said() -> None:
    before = Campaign(launch_ms=NINE, name="Spring", owner="Ana", channels=("email",))
    change = Change(launch_ms=NINE + 60_000, name="May", owner="Mei", channels=("social",))
    assert apply(change, before) == Campaign(
        launch_ms=NINE + 60_000, name="May", owner="Mei", channels=("social",)
    )


def test_a_name_may_have_128_characters() -> None:
    assert parse_channels("x" * 128) == ("x" * 128,)
    with pytest.raises(ValueError, match="1 to 128"):
        parse_channels("x" * 129)


def test_a_target_replaces_that_of_the_same_measure_and_time() -> None:
    before = Campaign(targets=(parse_target("clicks=10@1h"), parse_target("clicks=90@24h")))
    after = apply(Change(targets=(parse_target("clicks=20@60m"),)), before)
    assert [str(t) for t in after.targets] == ["clicks=90@24h", "clicks=20@1h"]


def test_what_is_dropped_is_empty_before_the_rest_is_laid_over() -> None:
    before = Campaign(launch_ms=NINE, notes=(Note(1, "a"),), channels=("email",))
    change = Change(notes=(Note(2, "b"),), drop=frozenset(("notes", "launch_ms")))
    assert apply(change, before) == Campaign(notes=(Note(2, "b"),), channels=("email",))


def test_a_campaign_does_not_grow_without_end() -> None:
    many = Campaign(notes=tuple(Note(i, "x") for i in range(NOTES_MAX)))
    with pytest.raises(ValueError, match=f"{NOTES_MAX + 1} notes are more than"):
        apply(Change(notes=(Note(0, "y"),)), many)
    with pytest.raises(ValueError, match="channels are more than"):
        parse_channels(",".join(map(str, range(CHANNELS_MAX + 1))))


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-03-01T09:00Z", NINE),
        ("2026-03-01T10:00+01:00", NINE),
        ("2026-03-01T09:00:34Z", NINE + 34_000),
        (" 2026-03-01T09:00Z ", NINE),
    ],
)
def test_instants_may_leave_out_the_seconds(text: str, at_ms: int) -> None:
    assert parse_instant(text) == at_ms


@given(instants)
def test_instants_are_written_no_finer_than_they_are(at_ms: int) -> None:
    text = format_instant(at_ms)
    assert parse_instant(text) == at_ms
    finest = 2 if at_ms % 1_000 else 1 if at_ms % 60_000 else 0
    assert text.count(".") + text.count(":") - 1 == finest


def test_a_target_may_be_a_million_millions() -> None:
    assert parse_target("clicks=1000000000000@1h").count == Decimal(10**12)


def test_a_note_may_say_when() -> None:
    assert parse_note("mail sent@2026-03-01T09:00Z", 7) == Note(NINE, "mail sent")
    assert parse_note("mail sent", 7) == Note(7, "mail sent")
    both = parse_note("write to ana@example.com@2026-03-01T09:00Z", 7)
    assert both == Note(NINE, "write to ana@example.com")
    assert parse_note("write to ana@example.com", 7) == Note(7, "write to ana@example.com")


@pytest.mark.parametrize(
    ("parse", "text", "why"),
    [
        (parse_target, "conversions", "write one like conversions=5000@24h"),
        (parse_target, "conversions=5000", "write one like conversions=5000@24h"),
        (parse_target, "fun=1@1h", "choose from impressions, clicks"),
        (parse_target, "clicks=0@1h", "'0' is not a whole number above 0"),
        (parse_target, "clicks=1.5@1h", "'1.5' is not a whole number above 0"),
        (parse_target, "clicks=1000000000001@1h", "is not a whole number above 0"),
        (parse_target, "value=-1@1h", "'-1' is not an amount above 0"),
        (parse_target, "clicks=1@8d", "'8d' is not 1m to 7d"),
        (parse_target, "clicks=1@90s", "'90s' is not 1m to 7d"),
        (parse_target, "clicks=1@0m", "'0m' is not 1m to 7d"),
        (parse_target, "clicks=1@soon", "'soon' is not a duration"),
        (parse_instant, "tomorrow", "write one like 2026-03-01T09:00Z"),
        (parse_instant, "2026-02-30T09:00Z", "is not a time"),
        (parse_channels, " , ", "no channel is named"),
        (lambda text: parse_note(text, 0), "@2026-03-01T09:00Z", "a note needs a text"),
    ],
)
def test_mistakes_are_told_in_one_line(parse, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as told:
        parse(text)
    assert "\n" not in str(told.value)

"""The ledger table: what is drained is enough, and a round makes all before it garbage."""

from hypothesis import given
from hypothesis import strategies as st

from stream.core.table import Table


def apply(ledger, drained):
    for key, value in drained.entries.items():
        if value is None:
            ledger.pop(key, None)
        else:
            ledger[key] = value


def test_a_drain_holds_the_last_value_of_what_changed_and_no_more():
    table = Table()
    table.put(b"a", b"1")
    table.put(b"b", b"1")
    table.put(b"a", b"2")
    assert table.drain(0).entries == {b"a": b"2", b"b": b"1"}
    assert not table.dirty
    assert table.drain(0).entries == {}
    table.delete(b"a")
    assert table.drain(0).entries == {b"a": None}


def test_what_never_was_there_need_not_be_deleted():
    table = Table()
    table.delete(b"a")
    assert not table.dirty
    table.put(b"a", b"1")
    table.delete(b"a")
    assert table.get(b"a") is None
    assert table.drain(0).entries == {b"a": None}


def test_entries_that_were_loaded_are_written_already():
    table = Table()
    table.load({b"a": b"1", b"b": b"2"})
    assert (len(table), table.dirty, table.get(b"a")) == (2, False, b"1")
    assert table.drain(0).entries == {}
    assert table.drain(1) == ({b"b": b"2"}, False)
    assert table.drain(1) == ({b"a": b"1"}, True)


def test_a_round_ends_only_while_it_sweeps():
    table = Table()
    table.put(b"a", b"1")
    assert table.drain(0).round_done is False
    assert table.drain(5).round_done is True
    table.put(b"b", b"1")
    assert table.drain(1) == ({b"b": b"1", b"a": b"1"}, True)


def test_a_changed_entry_is_not_swept_again_in_its_round():
    table = Table()
    table.load(dict.fromkeys((b"a", b"b", b"c"), b"1"))
    table.put(b"c", b"2")
    first = table.drain(1)
    second = table.drain(1)
    assert (first.round_done, second.round_done) == (False, True)
    assert len(first.entries) + len(second.entries) == 3


def test_a_packed_entry_is_there_for_whoever_asks():
    table, keys = Table(), [GROUP + bytes([number]) for number in range(3)]
    table.load(dict.fromkeys(keys, b"1"))
    table.pack(GROUP, keys)
    assert (len(table), table.packed) == (3, 3)
    assert dict(table.items()) == dict.fromkeys(keys, b"1")
    assert table.packed == 3
    assert table.get(keys[0]) == b"1"
    assert (len(table), table.packed) == (3, 0)


def test_many_entries_are_got_as_each_alone():
    table, keys = Table(), [GROUP + bytes([n]) for n in range(4)]
    table.load(dict.fromkeys(keys, b"old"))
    table.pack(GROUP, keys[:2])
    table.put(b"young", b"")
    assert table.get_all([*keys, b"none", b"young"]) == [b"old"] * 4 + [None, b""]
    assert table.get_all([]) == []


def test_what_is_still_to_be_written_is_not_packed():
    table, keys = Table(), [GROUP + b"a", GROUP + b"b"]
    table.load({keys[0]: b"1"})
    table.put(keys[1], b"2")
    table.pack(GROUP, keys)
    assert table.packed == 1
    assert table.drain(0).entries == {keys[1]: b"2"}


def test_a_sweep_takes_packed_entries_by_groups_and_leaves_them_packed():
    table, keys = Table(), [GROUP + bytes([number]) for number in range(5)]
    table.load({**dict.fromkeys(keys, b"1"), b"other": b"2"})
    table.pack(GROUP, keys)
    assert table.drain(1) == ({b"other": b"2"}, False)
    assert table.drain(1) == (dict.fromkeys(keys, b"1"), True)
    assert (len(table), table.packed) == (6, 5)


GROUP = b"c" * 10
_KEYS = st.sampled_from([b"a", b"b", GROUP + b"a", GROUP + b"b", GROUP + b"c"])
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), _KEYS),
        st.tuples(st.just("put_all"), st.lists(_KEYS)),
        st.tuples(st.just("delete"), _KEYS),
        st.tuples(st.just("get"), _KEYS),
        st.tuples(st.just("pack"), st.lists(_KEYS)),
        st.tuples(st.just("drain"), st.integers(0, 4)),
    ),
    max_size=60,
)


@given(_STEPS, st.dictionaries(_KEYS, st.just(b"loaded"), max_size=5))
def test_everything_written_since_a_round_began_is_enough_to_rebuild(steps, loaded):
    table, truth = Table(), dict(loaded)
    table.load(loaded)
    whole = dict(loaded)  # the log from its very beginning
    since: dict[bytes, bytes] = {}  # the log since the round began
    for number, (what, arg) in enumerate(steps):
        if what == "put":
            truth[arg] = str(number).encode()
            table.put(arg, truth[arg])
        elif what == "put_all":
            many = dict.fromkeys(arg, str(number).encode())
            truth |= many
            table.put_all(many)
        elif what == "delete":
            truth.pop(arg, None)
            table.delete(arg)
        elif what == "get":
            assert table.get(arg) == truth.get(arg)
        elif what == "pack":
            table.pack(GROUP, [key for key in arg if key.startswith(GROUP)])
        else:
            drained = table.drain(arg)
            apply(whole, drained)
            apply(since, drained)
            assert whole == truth == dict(table.items())
            assert dict(table.of_kinds(b"cb")) == {k: v for k, v in truth.items() if k != b"a"}
            assert len(table) == len(truth)
            if drained.round_done:
                assert since == truth
                since = {}


@given(st.integers(1, 40), st.integers(1, 5))
def test_a_round_ends_though_everything_changes_all_the_time(count, sweep):
    table = Table()
    table.load({str(n).encode(): b"" for n in range(count)})
    for turn in range(count + 1):
        table.put(str(turn % count).encode(), b"x")
        if table.drain(sweep).round_done:
            return
    raise AssertionError("the round never ended")

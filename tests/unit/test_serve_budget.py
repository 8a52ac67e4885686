"""The cap on series: never exceeded, the smallest fold first, and nothing flutters."""

from hypothesis import given
from hypothesis import strategies as st

from stream.serve.budget import Allotment, Demand, allot

NOTHING: Allotment[str, str] = Allotment()
Demands = dict[str, Demand[str]]


def demand(traffic: dict[str, float], cost: int = 10, fineness: int = 1) -> Demand[str]:
    return Demand(fineness, dict.fromkeys(traffic, cost), traffic, cost)


def spent(demands: Demands, result: Allotment[str, str]) -> int:
    total = 0
    for level, one in demands.items():
        if level in result.left_out:
            continue
        kept = result.kept.get(level)
        if kept is None:
            total += one.cost
        else:
            folded = kept != one.costs.keys()
            total += sum(one.costs[group] for group in kept) + (one.other_cost if folded else 0)
    return total


def test_what_fits_is_whole() -> None:
    assert allot(100, 0, {"campaign": demand({"a": 1, "b": 2})}, NOTHING) == NOTHING


def test_the_finest_level_goes_first_and_whole() -> None:
    demands = {
        "campaign": demand({"a": 1, "b": 2}),
        "campaign_channel": demand({"x": 9, "y": 9, "z": 9, "u": 9, "v": 9}, 20, fineness=2),
        "campaign_variant": demand({"p": 1, "q": 1}, fineness=2),
    }
    result = allot(100, 0, demands, NOTHING)
    assert result.left_out == {"campaign_channel"}
    assert result.kept == {}
    assert result.dropped == 100


def test_then_the_smallest_fold() -> None:
    demands = {"campaign": demand({f"c{i}": float(i) for i in range(20)})}
    result = allot(100, 0, demands, NOTHING)
    assert result.kept["campaign"] == {f"c{i}" for i in range(12, 20)}
    assert result.dropped == 120


def test_a_group_gives_way_only_to_one_with_clearly_more_traffic() -> None:
    traffic = {f"c{i:02}": 100.0 + i for i in range(20)}
    before = allot(100, 0, {"campaign": demand(traffic)}, NOTHING)
    assert "c12" in before.kept["campaign"]
    slightly = {**traffic, "c00": 120.0}
    assert allot(100, 0, {"campaign": demand(slightly)}, before).kept == before.kept
    clearly = {**traffic, "c00": 1_000.0}
    after = allot(100, 0, {"campaign": demand(clearly)}, before)
    assert "c00" in after.kept["campaign"]


def test_all_come_back_only_when_there_is_ample_room() -> None:
    def groups(n: int) -> Demands:
        return {"campaign": demand({f"c{i}": float(i) for i in range(n)})}

    before = allot(100, 0, groups(11), NOTHING)
    assert before.kept
    assert allot(100, 0, groups(10), NOTHING) == NOTHING
    assert allot(100, 0, groups(10), before).kept, "it fits, but only just"
    assert not allot(100, 0, groups(9), before).kept


demands_of_any_kind = st.dictionaries(
    st.sampled_from(["channel", "campaign", "campaign_channel", "campaign_variant"]),
    st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(0, 1e9), max_size=30),
)


@given(st.lists(demands_of_any_kind, min_size=1, max_size=4), st.integers(0, 40))
def test_the_cap_holds_whatever_came_before(
    looks: list[dict[str, dict[str, float]]], fixed: int
) -> None:
    cap, before = 150, NOTHING
    for look in looks:
        demands = {
            level: demand(traffic, 7, 2 if "_" in level else 1) for level, traffic in look.items()
        }
        before = allot(cap, fixed, demands, before)
        assert fixed + spent(demands, before) <= cap
        assert before.dropped >= 0

"""Usages add up; a count that was not reported is not a 0."""

import pickle

import attrs
import pytest

from cortex_trio import Usage


def test_two_usages_add_up_count_by_count() -> None:
    first = Usage(10, 5, cached_input_tokens=4, cache_write_tokens=1, reasoning_tokens=2)
    second = Usage(1, 2, cached_input_tokens=1, cache_write_tokens=2, reasoning_tokens=3)
    assert first + second == Usage(11, 7, 18, 5, 3, 5)


def test_a_count_that_one_did_not_report_is_that_of_the_other() -> None:
    assert Usage(10, 5) + Usage(input_tokens=3) == Usage(13, 5, 18)
    assert Usage(input_tokens=3) + Usage(10, 5) == Usage(13, 5, 18)
    assert Usage(reasoning_tokens=2) + Usage(cached_input_tokens=3) == Usage(
        cached_input_tokens=3, reasoning_tokens=2
    )


def test_a_count_that_neither_reported_stays_unknown() -> None:
    assert Usage() + Usage() == Usage()
    assert (Usage(1) + Usage(2)).output_tokens is None
    assert (Usage(1) + Usage(2)).total_tokens is None
    assert (Usage(0) + Usage()).input_tokens == 0


@pytest.mark.parametrize("usage", [Usage(), Usage(3), Usage(10, 5), Usage(10, 5, 99), Usage(total_tokens=7)])
def test_an_empty_usage_changes_nothing(usage: Usage) -> None:
    assert usage + Usage() == Usage() + usage == usage


def test_a_total_that_a_provider_counts_in_its_own_way_is_kept() -> None:
    assert Usage(total_tokens=7) + Usage(10, 5) == Usage(10, 5, 22)


def test_many_usages_are_summed() -> None:
    usages = [Usage(1, 2), Usage(3, 4), Usage()]
    assert sum(usages, Usage()) == sum(usages) == Usage(4, 6)
    assert sum([], Usage()) == Usage()


def test_only_usages_can_be_added() -> None:
    for other in (1, 0, None, "1", (1, 2)):
        with pytest.raises(TypeError):
            _ = Usage(1, 2) + other  # type: ignore[operator]


def test_adding_changes_neither() -> None:
    first, second = Usage(1, 2), Usage(3, 4)
    _ = first + second
    assert (first, second) == (Usage(1, 2), Usage(3, 4))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        first.input_tokens = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(first)) == first

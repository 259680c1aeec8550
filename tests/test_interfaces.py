"""The values that pass between task, policy and learner: rows are selected and replaced without side effects."""

from __future__ import annotations

import pytest
import torch

from dsrl.interfaces import Encoding, Observation


def observation(first: float, num: int) -> Observation:
    """Return worlds whose state and picture are `first`, `first` + 1, … and whose instruction is that number."""
    numbers = torch.arange(first, first + num)
    picture = numbers.to(torch.uint8)[:, None, None, None].expand(num, 3, 2, 2).clone()
    return Observation(numbers[:, None], {"front": picture}, tuple(f"{number:g}" for number in numbers.tolist()))


def encoding(first: float, num: int) -> Encoding:
    numbers = torch.arange(first, first + num)[:, None]
    return Encoding(numbers, {"keys": numbers.repeat(1, 4), "mask": numbers > 11})


def numbers_of(value: Observation) -> list[list[float]]:
    return [value.state[:, 0].tolist(), value.images["front"][:, 0, 0, 0].tolist(), list(map(float, value.instruction))]


def test_rows_of_an_observation_are_selected_in_the_order_that_is_given():
    assert numbers_of(observation(0.0, 4)[torch.tensor([3, 1])]) == [[3, 1]] * 3


def test_rows_of_an_observation_are_replaced_in_a_copy():
    old, fresh = observation(0.0, 4), observation(10.0, 2)
    assert numbers_of(old.with_rows(fresh, torch.tensor([3, 1]))) == [[0, 11, 2, 10]] * 3
    assert numbers_of(old) == [[0, 1, 2, 3]] * 3
    assert numbers_of(fresh) == [[10, 11]] * 3


def test_rows_of_an_encoding_are_replaced_in_a_copy_with_all_of_its_context():
    old, fresh = encoding(0.0, 4), encoding(10.0, 2)
    replaced = old.with_rows(fresh, torch.tensor([3, 1]))
    expected = torch.tensor([0.0, 11.0, 2.0, 10.0])[:, None]
    assert torch.equal(replaced.features, expected)
    assert torch.equal(replaced.context["keys"], expected.repeat(1, 4))
    assert replaced.context["mask"].dtype == torch.bool
    assert torch.equal(replaced.context["mask"], torch.zeros(4, 1, dtype=torch.bool))
    assert torch.equal(old.features, torch.arange(4.0)[:, None])
    assert torch.equal(replaced[torch.tensor([1, 3])].context["keys"], fresh[torch.tensor([1, 0])].context["keys"])


def test_replacing_no_rows_changes_nothing_and_replacing_all_takes_everything():
    old, fresh = encoding(0.0, 3), encoding(10.0, 3)
    none = torch.zeros(0, dtype=torch.int64)
    assert torch.equal(old.with_rows(fresh[none], none).features, old.features)
    assert torch.equal(old.with_rows(fresh, torch.arange(3)).context["keys"], fresh.context["keys"])


def test_rows_of_another_shape_are_refused_by_name():
    old = encoding(0.0, 3)
    wide = Encoding(torch.zeros(1, 1), {"keys": torch.zeros(1, 5), "mask": torch.zeros(1, 1, dtype=torch.bool)})
    with pytest.raises(
        ValueError, match=r"'keys' has rows of shape \(5,\) now but \(4,\) before; .*pad to a fixed length"
    ):
        old.with_rows(wide, torch.tensor([0]))
    with pytest.raises(ValueError, match=r"'features' has rows of shape \(2,\) now but \(1,\) before"):
        old.with_rows(Encoding(torch.zeros(1, 2), dict(old[torch.tensor([0])].context)), torch.tensor([0]))
    larger = Observation(torch.zeros(1, 1), {"front": torch.zeros(1, 3, 4, 4, dtype=torch.uint8)}, ("",))
    with pytest.raises(ValueError, match=r"'front' has rows of shape \(3, 4, 4\) now but \(3, 2, 2\) before"):
        observation(0.0, 3).with_rows(larger, torch.tensor([0]))

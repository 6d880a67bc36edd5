"""Many stretches divided together come out as each alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import packing
from ingest.boundaries import Rank
from ingest.packing import Sizes, Units, hash_borders, pack_units

SIZES = Sizes(smallest=500, target=1_000, largest=2_500, reach=1_500)


def build_units(sizes: list[tuple[int, int]]) -> Units:
    closes = np.cumsum([size for size, _ in sizes])
    return Units(
        opens=np.concatenate(([0], closes[:-1])),
        closes=closes,
        ranks=np.array([rank for _, rank in sizes], dtype=np.int8),
        hashes=np.arange(len(sizes), dtype=np.uint32) * np.uint32(2654435761),
    )


@given(
    st.lists(st.tuples(st.integers(10, 2_500), st.sampled_from([*Rank])), min_size=1, max_size=120),
    st.sampled_from([2, 64]),
)
def test_stretches_are_divided_alike_together_and_alone(sizes: list[tuple[int, int]], short: int) -> None:
    units = build_units(sizes)
    alone = pack_units(units, SIZES).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "FEW", 0)
        patch.setattr(packing, "SHORT", short)
        assert pack_units(units, SIZES).tolist() == alone


def test_hashes_follow_from_the_characters_before() -> None:
    codes = np.array([ord(char) for char in "0123456789" * 5], dtype=np.uint8)
    ends = np.array([0, 3, 35, 45])
    hashes = hash_borders(codes, ends)
    assert hashes[2] == hashes[3] == hash_borders(codes.astype(np.uint32)[3:], ends - 3)[2]
    assert len(set(hashes.tolist())) == 3

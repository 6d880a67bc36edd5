from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import numpy as np
import pytest

from api.responses import write_disposition, write_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    at: datetime
    score: object


def test_times_are_utc_and_numbers_plain():
    there = datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=8))).astimezone(UTC)
    assert write_json(Sample(at=there, score=np.float64(0.5))) == b'{"at":"2026-01-01T00:00:00Z","score":0.5}'


def test_any_mapping_is_an_object():
    assert write_json(MappingProxyType({"a": (1, 2)})) == b'{"a":[1,2]}'


def test_what_has_no_shape_is_refused():
    with pytest.raises(TypeError):
        write_json({"a": object()})


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a.pdf", "attachment; filename=\"a.pdf\"; filename*=UTF-8''a.pdf"),
        ("报 告.pdf", "attachment; filename=\"_ _.pdf\"; filename*=UTF-8''%E6%8A%A5%20%E5%91%8A.pdf"),
        ('a"b;c\\d%e', "attachment; filename=\"a_b_c_d_e\"; filename*=UTF-8''a%22b%3Bc%5Cd%25e"),
        ("a\r\nSet-Cookie: x", "attachment; filename=\"a__Set-Cookie: x\"; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x"),
        ("\u202eexe.pdf", "attachment; filename=\"_exe.pdf\"; filename*=UTF-8''%E2%80%AEexe.pdf"),
    ],
)
def test_a_name_can_add_no_header(name, written):
    assert write_disposition(name) == written

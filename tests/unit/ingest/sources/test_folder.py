from __future__ import annotations

import os

from ingest.sources.folder import describe_stat


def make_status(*, size: int, inode: int, time_ns: int) -> os.stat_result:
    times = {"st_mtime_ns": time_ns, "st_ctime_ns": time_ns + 1}
    return os.stat_result((0o100644, inode, 0, 1, 0, 0, size, 0, 0, 0), times)


def test_a_stat_holds_size_times_and_inode() -> None:
    assert describe_stat(make_status(size=255, inode=16, time_ns=9)) == "ff:9:a:10"


def test_a_stat_fits_its_column_whatever_the_file_system_says() -> None:
    largest = 2**63 - 1
    assert len(describe_stat(make_status(size=largest, inode=largest, time_ns=-largest))) == 64
    everyday = make_status(size=2**44, inode=2**63 - 1, time_ns=1_772_000_000_000_000_000)
    assert len(describe_stat(everyday)) < 64, "nothing is cut off"

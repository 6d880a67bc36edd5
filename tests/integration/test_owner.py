"""Who is dead: only what ran on this machine and surely does so no longer."""

import subprocess
import sys
from pathlib import Path

import pytest

from ingest.owner import find_dead, name_owner

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc on this machine")

NAME_OWNER = "from ingest.owner import name_owner; print(name_owner(), flush=True); input()"


def start_worker() -> tuple[subprocess.Popen[str], str]:
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", NAME_OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def test_we_are_alive() -> None:
    assert name_owner() == name_owner()
    assert find_dead([name_owner()]) == []


def test_a_process_is_dead_once_it_was_killed() -> None:
    child, owner = start_worker()
    assert find_dead([owner]) == []
    child.kill()
    assert child.stdout is not None
    assert child.stdout.read() == ""  # the kernel has closed its files
    while not find_dead([owner]):  # still a zombie: nobody has waited for it
        assert child.returncode is None
    assert find_dead([owner, name_owner()]) == [owner]
    with child:
        pass
    assert find_dead([owner]) == [owner]


def test_a_process_id_given_again_is_another_owner() -> None:
    boot, pid, start = name_owner().split(":")
    assert find_dead([f"{boot}:{pid}:{start}1"]) == [f"{boot}:{pid}:{start}1"]


def test_an_owner_from_before_the_last_boot_is_dead() -> None:
    boot, pid, start = name_owner().split(":")
    machine = boot.split("/")[0]
    assert find_dead([f"{machine}/another-boot:{pid}:{start}"]) == [f"{machine}/another-boot:{pid}:{start}"]


@pytest.mark.parametrize("owner", ["elsewhere/boot:1:1", "", "x", "a:b:c", "::"])
def test_owners_of_other_machines_are_left_to_their_leases(owner: str) -> None:
    assert find_dead([owner]) == []

"""Makes the repository root and `tests/` importable, so that tests share `fakes` without packages in between, and
watches that no test speaks to the network, nor any program that it starts.

Property tests take the same examples in every run, so that a run says something of the change it follows; `make fuzz`
takes others each time.
"""

import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

TESTS = Path(__file__).resolve().parent
for folder in (TESTS, TESTS.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from fakes.network import WATCH  # noqa: E402 - importable since the lines above

REFUSED: list[str] = []

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("fuzz", deadline=None, print_blob=True)
settings.load_profile("fuzz" if os.environ.get("KB_TEST_FUZZ") else "fixed")


def pytest_configure(config: pytest.Config) -> None:
    """Where several processes share the tests, the one that starts them runs none, and each of them is a session of its
    own for the watch: two hooks in one process would judge by two lists of ports."""
    is_sharing = getattr(config.option, "dist", "no") != "no"
    if not is_sharing or hasattr(config, "workerinput"):
        WATCH.install()


def pytest_collection_finish() -> None:
    REFUSED.extend(WATCH.take_offences())  # of importing the tests: of none of them


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Told after the teardown, which must not be kept from its work."""
    yield
    offences = WATCH.take_offences(item.nodeid)
    REFUSED.extend(offences)
    if offences:
        pytest.fail(f"asked the network for {', '.join(offences)}", pytrace=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    REFUSED.extend(WATCH.take_offences())
    told = getattr(session.config, "workeroutput", None)
    if told is not None:  # one process of several: the one that started them judges the session
        told["refused"] = REFUSED
    elif REFUSED and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    REFUSED.extend(getattr(node, "workeroutput", {}).get("refused", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if REFUSED:
        terminalreporter.section("the network was asked for")
        terminalreporter.write_line("\n".join(REFUSED))


def pytest_unconfigure() -> None:
    WATCH.uninstall()

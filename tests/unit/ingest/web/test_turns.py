"""How often one host is asked."""

from __future__ import annotations

from threading import Barrier, Lock, Thread

from fakes.clock import Time

from ingest.web.turns import MOST_HOSTS, HostTurns


def make_turns(time: Time, delay_s: float, at_once: int = 1) -> HostTurns:
    return HostTurns(delay_s, at_once=at_once, clock=lambda: time.now, sleep=time.sleep)


def test_a_pause_lies_between_the_end_of_one_and_the_beginning_of_the_next() -> None:
    time = Time()
    turns = make_turns(time, 1.0)
    for took_s in (0.0, 3.0, 0.25):
        with turns.take("a"):
            time.now += took_s
    assert time.slept == [1.0, 1.0]
    time.now += 0.6
    with turns.take("a"):
        pass
    assert [round(slept, 6) for slept in time.slept] == [1.0, 1.0, 0.4]


def test_hosts_do_not_wait_for_each_other() -> None:
    time = Time()
    turns = make_turns(time, 5.0)
    for host in ("a", "b", "c"):
        with turns.take(host):
            pass
    assert time.slept == []


def test_a_site_can_only_ask_for_longer() -> None:
    time = Time()
    turns = make_turns(time, 2.0)
    for delay_s in (10.0, 0.1, 0.0):
        with turns.take("a", delay_s):
            pass
    with turns.take("a"):
        pass
    assert time.slept == [10.0, 2.0, 2.0]


def test_a_failure_gives_the_turn_back() -> None:
    time = Time()
    turns = make_turns(time, 1.0)
    for _ in range(2):
        try:
            with turns.take("a"):
                raise ValueError
        except ValueError:
            pass
    assert time.slept == [1.0]


def test_no_more_threads_at_once_than_may_be() -> None:
    for at_once in (1, 2):
        turns = make_turns(Time(), 0.0, at_once)
        lock, inside, most, start = Lock(), [0], [0], Barrier(6)

        def ask(turns=turns, lock=lock, inside=inside, most=most, start=start) -> None:
            start.wait()
            for _ in range(50):
                with turns.take("a"):
                    with lock:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                    with lock:
                        inside[0] -= 1

        threads = [Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 1 <= most[0] <= at_once


def test_two_at_once_still_begin_apart() -> None:
    time = Time()
    turns = make_turns(time, 1.0, at_once=2)
    with turns.take("a"), turns.take("a"):
        assert time.slept == [1.0]


def test_hosts_that_are_free_are_forgotten() -> None:
    time = Time()
    turns = make_turns(time, 1.0)
    for number in range(MOST_HOSTS + 10):
        with turns.take(f"host{number}"):
            pass
        time.now += 2.0
    assert len(turns._hosts) <= MOST_HOSTS

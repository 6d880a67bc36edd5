"""How often one host is asked."""

from __future__ import annotations

from threading import Barrier, Lock, Thread

from fakes.clock import Time

from ingest.web.turns import MOST_HOSTS, HostTurns


def make_turns(time: Time, most_s: float) -> HostTurns:
    return HostTurns(most_s, clock=lambda: time.now, sleep=time.sleep)


def ask(turns: HostTurns, time: Time, took_s: float, least_s: float = 0.0) -> None:
    with turns.take("a", least_s):
        time.now += took_s


def round_all(slept: list[float]) -> list[float]:
    return [round(one, 6) for one in slept]


def test_a_pause_is_ten_times_as_long_as_the_answer_before_it_and_no_longer_than_it_may_be() -> None:
    time = Time()
    turns = make_turns(time, 1.0)
    for took_s in (0.005, 0.05, 0.1, 3.0, 0.02, 0.0, 0.0):
        ask(turns, time, took_s)
    assert round_all(time.slept) == [0.05, 0.5, 1.0, 1.0, 0.2]


def test_a_pause_lies_between_the_end_of_one_and_the_beginning_of_the_next() -> None:
    time = Time()
    turns = make_turns(time, 1.0)
    ask(turns, time, 2.0)
    time.now += 0.6
    ask(turns, time, 0.0)
    assert round_all(time.slept) == [0.4]


def test_what_a_sleep_takes_too_long_is_not_the_hosts() -> None:
    time = Time()
    late = HostTurns(1.0, clock=lambda: time.now, sleep=lambda seconds: time.sleep(seconds + 0.5))
    for _ in range(3):
        ask(late, time, 0.01)
    assert round_all(time.slept) == [0.6, 0.6]


def test_hosts_do_not_wait_for_each_other() -> None:
    time = Time()
    turns = make_turns(time, 5.0)
    for host in ("a", "b", "c"):
        with turns.take(host):
            time.now += 1.0
    assert time.slept == []


def test_a_site_can_only_ask_for_longer() -> None:
    time = Time()
    turns = make_turns(time, 2.0)
    for least_s in (10.0, 0.1, 0.0, 0.0):
        ask(turns, time, 0.05, least_s)
    assert round_all(time.slept) == [10.0, 0.5, 0.5]


def test_a_host_in_trouble_has_its_whole_pause_however_quick_it_was() -> None:
    time = Time()
    turns = make_turns(time, 2.0)
    for least_s in (0.0, 7.0):
        with turns.take("a", least_s) as turn:
            turn.is_in_trouble = True
    ask(turns, time, 0.0)
    ask(turns, time, 0.0)
    assert time.slept == [2.0, 7.0]


def test_without_a_pause_nobody_waits_unless_the_site_asks_for_it() -> None:
    time = Time()
    turns = make_turns(time, 0.0)
    for took_s, least_s in ((3.0, 0.0), (0.0, 0.0), (0.0, 4.0), (0.0, 0.0)):
        ask(turns, time, took_s, least_s)
    assert time.slept == [4.0]


def test_a_failure_gives_the_turn_back() -> None:
    time = Time()
    turns = make_turns(time, 1.0)
    for _ in range(2):
        try:
            with turns.take("a"):
                time.now += 0.02
                raise ValueError
        except ValueError:
            pass
    assert round_all(time.slept) == [0.2]


def test_one_thread_at_a_time_asks_a_host() -> None:
    turns = make_turns(Time(), 0.0)
    lock, inside, most, start = Lock(), [0], [0], Barrier(6)

    def ask_often() -> None:
        start.wait()
        for _ in range(50):
            with turns.take("a"):
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                with lock:
                    inside[0] -= 1

    threads = [Thread(target=ask_often) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1


def test_hosts_that_are_free_are_forgotten() -> None:
    time = Time()
    turns = make_turns(time, 1.0)
    with turns.take("asked"):
        for number in range(MOST_HOSTS + 10):
            with turns.take(f"host{number}"):
                pass
            time.now += 2.0
        assert len(turns._hosts) <= MOST_HOSTS
        assert "asked" in turns._hosts  # whoever asks for it now is to wait

"""Findings are counted, and only the first few are told."""

from kb.findings import EXAMPLES, Finding, FindingLog


def test_nothing_added_is_no_finding() -> None:
    assert FindingLog().list_findings() == []


def test_one_finding_a_code_in_the_order_of_discovery() -> None:
    found = FindingLog()
    for code, example in (("b", "first"), ("a", "second"), ("b", "third")):
        found.add(code, example)
    assert found.list_findings() == [
        Finding(code="b", detail="first; third", count=2),
        Finding(code="a", detail="second", count=1),
    ]


def test_many_are_counted_and_few_are_kept() -> None:
    found = FindingLog()
    for number in range(100_000):
        found.add("code", f"row {number}")
    (finding,) = found.list_findings()
    assert finding.count == 100_000
    assert finding.detail == "; ".join(f"row {n}" for n in range(EXAMPLES)) + f"; and {100_000 - EXAMPLES} more"

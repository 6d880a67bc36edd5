import pytest

from retrieval.polarity import agrees, denies


@pytest.mark.parametrize(
    ("text", "is_denied"),
    [
        ("不得打开镜盖", True),
        ("没有人", True),
        ("未经批准", True),
        ("非常重要", False),
        ("不但便宜而且好", False),
        ("特别说明", False),
        ("是否开放", False),
        ("不得不关闭", False),  # twice is none
        ("無人看守", True),
        ("must not be opened", True),
        ("isn't open", True),
        ("isn’t open", True),
        ("not only cheap", False),
        ("no later than June", False),
        ("No. 7", False),
        ("knot", False),
        ("", False),
    ],
)
def test_what_denies(text, is_denied):
    assert denies(text) == is_denied


@pytest.mark.parametrize(
    ("claim", "source", "is_so"),
    [
        ("The lid must be opened.", ["The lid must not be opened."], False),
        ("The lid must not be opened.", ["The lid must not be opened."], True),
        ("The lid is white.", ["The dome must not be opened."], True),  # of something else
        ("The lid may be opened.", ["The lid may not be opened by guests.", "The lid may be opened by staff."], True),
        ("雨天开放", ["雨天不开放，票款退还。"], False),
        ("雨天不开放", ["雨天不开放，票款退还。"], True),
        ("票款退还", ["雨天不开放，票款退还。"], True),
    ],
)
def test_a_claim_agrees_with_the_clause_that_speaks_of_the_same(claim, source, is_so):
    assert agrees(claim, source) == is_so

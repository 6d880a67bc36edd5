import pytest

from api.paging import cut_page, read_cursor, read_number_cursor, write_cursor
from kb.errors import InvalidInput


@pytest.mark.parametrize("key", ["", "a", "报告/a b.pdf", "x" * 1024, "-1", "123456"])
def test_a_cursor_brings_its_key_back(key):
    assert read_cursor(write_cursor(key)) == key


def test_no_cursor_is_the_beginning():
    assert read_cursor(None) is None
    assert read_number_cursor(None) is None


def test_a_number_cursor():
    assert read_number_cursor(write_cursor("42")) == 42


@pytest.mark.parametrize(
    "cursor", ["", "x", "abc", "????", "é", "AAAA", "YWJjZGVmZ2g", write_cursor("a.pdf")[:-1], "a" * 4096]
)
def test_a_forged_cursor(cursor):
    with pytest.raises(InvalidInput) as caught:
        read_cursor(cursor)
    assert caught.value.code == "bad_cursor"


@pytest.mark.parametrize("key", ["a.pdf", "1.5", "9" * 30, "", "-", "١٢"])
def test_a_cursor_of_another_list(key):
    with pytest.raises(InvalidInput) as caught:
        read_number_cursor(write_cursor(key))
    assert caught.value.code == "bad_cursor"


def test_a_page_ends_with_a_cursor_only_when_more_follows():
    assert cut_page([1, 2], 2, str) == ([1, 2], None)
    page, cursor = cut_page([1, 2, 3], 2, str)
    assert page == [1, 2]
    assert read_cursor(cursor) == "2"

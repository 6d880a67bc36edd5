import pytest

from api.multipart import PartBegin, PartData, PartEnd, PartReader
from kb.errors import InvalidInput

TYPE = "multipart/form-data; boundary=xyz"


def write_body(*parts, end=b"--xyz--\r\n"):
    body = b"".join(b"--xyz\r\n" + headers + b"\r\n\r\n" + data + b"\r\n" for headers, data in parts)
    return body + end


def read(body, size=None):
    reader = PartReader(TYPE)
    size = size or len(body) or 1
    events = [event for start in range(0, len(body), size) for event in reader.feed(body[start : start + size])]
    reader.finish()
    return events


def read_name(disposition):
    return read(write_body((b"Content-Disposition: " + disposition, b"data")))[0]


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_the_cut_of_the_bytes_does_not_matter(size):
    content = bytes(range(256)) * 3 + b"\r\n--xy\r\n--xyzz -- \r\n"
    body = write_body(
        (b'Content-Disposition: form-data; name="files"; filename="a/b.bin"\r\nContent-Type: x/y', content),
        (b"content-disposition: form-data; name=metadata", b"{}"),
    )
    events = read(body, size)
    assert events[0] == PartBegin(name="files", filename="a/b.bin")
    second = events.index(PartBegin(name="metadata", filename=None))
    assert b"".join(event.data for event in events[:second] if isinstance(event, PartData)) == content
    assert b"".join(event.data for event in events[second:] if isinstance(event, PartData)) == b"{}"
    assert events[-1] == PartEnd()


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'form-data; name="files"; filename="a.pdf"', "a.pdf"),
        (b"form-data; name=files; filename=a.pdf", "a.pdf"),
        (b'FORM-DATA; NAME="files"; FILENAME="a.pdf"', "a.pdf"),
        ('form-data; name="files"; filename="报告/二〇二四.pdf"'.encode(), "报告/二〇二四.pdf"),
        (b'form-data; name="files"; filename="say %22hi%22.txt"', 'say "hi".txt'),
        (b'form-data; name="files"; filename="say \\"hi\\".txt"', 'say "hi".txt'),
        (b'form-data; name="files"; filename="back\\\\slash"', "back\\slash"),
        (b'form-data; name="files"; filename="C:\\dir\\a.txt"', "C:\\dir\\a.txt"),
        (b'form-data; name="files"; filename="a;b=c.txt"', "a;b=c.txt"),
        (b'form-data; name="files"; filename="100%25.txt"', "100%25.txt"),
        (b'form-data; name="files"; filename=""', ""),
        (b'form-data; name="files"', None),
        (b'form-data; name="files"; filename="x"; filename*=UTF-8\'\'%E6%8A%A5%20a.pdf', "报 a.pdf"),
        (b"form-data; name=\"files\"; filename*=utf-8'zh'%E6%8A%A5", "报"),
        (b"form-data; name=\"files\"; filename*=iso-8859-1''caf%E9", "café"),
    ],
)
def test_file_names_in_every_shape(disposition, name):
    assert read_name(disposition) == PartBegin(name="files", filename=name)


def test_a_name_that_is_not_utf8_is_marked():
    begin = read_name('form-data; name="files"; filename="报告.pdf"'.encode("gbk"))
    assert begin.broken
    assert "\ufffd" in begin.filename


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"junk before the boundary" * 100,
        write_body((b'Content-Disposition: form-data; name="files"; filename="a"', b"x"), end=b""),
        write_body((b'Content-Disposition: form-data; name="files"; filename="a"', b"x"), end=b"--xyz"),
        write_body((b"Content-Type: text/plain", b"x")),
        write_body((b'Content-Disposition: attachment; name="files"', b"x")),
        write_body((b'Content-Disposition: form-data; filename="a"', b"x")),
        write_body((b'Content-Disposition: form-data; name="files"; filename="a', b"x")),
        write_body((b"Content-Disposition: form-data; name=\"files\"; filename*=x''a", b"x")),
        write_body((b"X: " + b"y" * 9_000 + b'\r\nContent-Disposition: form-data; name="files"', b"x")),
        write_body((b"".join(b"H%d: v\r\n" % n for n in range(20)) + b'Content-Disposition: form-data; name="a"', b"")),
        b"--xyz\r\nContent-Disposition: form-data; name=\x00\r\n\r\n",
    ],
)
def test_a_body_that_is_broken(body):
    with pytest.raises(InvalidInput) as caught:
        read(body)
    assert caught.value.code == "bad_multipart"


@pytest.mark.parametrize(
    ("content_type", "code"),
    [
        ("", "unsupported_media_type"),
        ("application/json", "unsupported_media_type"),
        ("multipart/mixed; boundary=xyz", "unsupported_media_type"),
        ("multipart/form-data", "bad_multipart"),
        ("multipart/form-data; boundary=", "bad_multipart"),
        ("multipart/form-data; boundary=" + "x" * 200, "bad_multipart"),
        ("multipart/form-data; boundary=é", "bad_multipart"),
    ],
)
def test_a_content_type_that_cannot_be_used(content_type, code):
    with pytest.raises(InvalidInput) as caught:
        PartReader(content_type)
    assert caught.value.code == code


def test_a_long_quoted_name_is_read_in_linear_time():
    # a pattern with two ways to read a backslash would not come back from this
    disposition = b'form-data; name="files"; filename="' + b"\\\\" * 3_000
    with pytest.raises(InvalidInput):
        read_name(disposition)

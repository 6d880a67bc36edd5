"""Archives over HTTP on a real store: which files become documents, what is refused, and that nothing is left."""

import asyncio
import gzip
import hashlib
import stat
import tarfile
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes.archives import (
    ZipEntry,
    join_zip,
    make_file,
    make_member,
    write_blocks,
    write_header,
    write_overlapping_zip,
    write_raw_zip,
    write_tar,
    write_zip,
)
from fakes.local_server import KB, LocalServer

from api.archives import ArchiveLimits
from api.uploads import UploadIntake, UploadLimits
from kb.blobs import BlobStore
from kb.errors import Unavailable

TEXT = "望远镜的口径是八米。The telescope is eight metres wide.\n".encode()
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 50


@pytest.fixture
def server(tmp_path):
    server = LocalServer(
        tmp_path / "store", max_file_bytes=50_000, max_archive_entries=100, max_archive_bytes=1_000_000
    )
    server.create("kb")
    yield server
    server.close()


def send(server, archive, *files, **parts):
    named = [("archive", ("folder.zip", archive)), *(("files", one) for one in files)]
    return server.request("POST", f"{KB}/kb/documents", files=named, **parts)


def list_taken(answer):
    assert answer.status_code == 202, answer.text
    return [document["path"] for document in answer.json()["documents"]]


def list_codes(answer):
    assert all(one["detail"] for one in answer.json()["rejected"])
    return [(one["path"], one["code"]) for one in answer.json()["rejected"]]


def check_nothing_is_left(server):
    assert server.list_files() == (0, 0)
    assert server.request("GET", f"{KB}/kb/documents").json()["items"] == []
    assert server.request("GET", "/api/v1/jobs").json()["items"] == []


NAMES = ("天文台/目录.txt", "天文台/二〇二四年报告.md", "readme.txt")


@pytest.mark.parametrize(
    "archive",
    [
        write_zip(dict.fromkeys(NAMES, TEXT)),
        write_raw_zip([ZipEntry(name=name.encode("gbk"), data=TEXT) for name in NAMES]),
        write_raw_zip([ZipEntry(name=name.encode(), data=TEXT) for name in NAMES]),
        write_tar(*(make_file(f"./{name}", TEXT) for name in NAMES)),
        write_tar(*(make_file(name, TEXT) for name in NAMES), format=tarfile.GNU_FORMAT),
    ],
    ids=["zip", "zip in gbk", "zip in utf-8 without the flag", "tar of .", "gnu tar"],
)
def test_each_file_is_a_document_under_its_path(server, archive):
    answer = send(server, archive)
    assert list_taken(answer) == list(NAMES)
    assert list_codes(answer) == []
    assert server.list_files() == (0, 1)
    server.work()
    found = {item["path"]: item for item in server.request("GET", f"{KB}/kb/documents").json()["items"]}
    assert {(item["status"], item["sha256"]) for item in found.values()} == {
        ("ready", hashlib.sha256(TEXT).hexdigest())
    }
    assert found["天文台/二〇二四年报告.md"]["media_type"] == "text/markdown"


def test_it_is_as_if_the_files_were_sent_one_by_one(server):
    files = {"a.txt": TEXT, "报告/b.md": b"# b", "c.html": b"<html>c</html>"}
    first = server.upload("kb", files).json()
    second = send(server, write_zip(files)).json()
    assert [(d["id"], d["status"]) for d in second["documents"]] == [(d["id"], "unchanged") for d in first["documents"]]


def test_folders_and_hidden_files_are_left_out_without_a_word(server):
    paths = ("a/", "a/b.txt", "a/.DS_Store", ".git/config", "__MACOSX/a/._b.txt")
    answer = send(server, write_zip(dict.fromkeys(paths, TEXT)))
    assert (list_taken(answer), list_codes(answer)) == (["a/b.txt"], [])


def test_one_bad_entry_of_a_zip_never_refuses_the_others(server):
    entries = [
        ZipEntry(name=b"1.txt", data=TEXT),
        ZipEntry(name=b"../up.txt", data=TEXT),
        ZipEntry(name=b"a/../../up.txt", data=TEXT),
        ZipEntry(name=b"/etc/cron.d/x", data=TEXT),
        ZipEntry(name=b"C:/x.txt", data=TEXT),
        ZipEntry(name=b"a\\b.txt", data=TEXT),
        ZipEntry(name=b"nul\0.txt", data=TEXT),
        ZipEntry(name=b"link.txt", data=b"/etc/passwd", mode=stat.S_IFLNK | 0o777),
        ZipEntry(name=b"secret.txt", data=TEXT, flags=0x1),
        ZipEntry(name=b"lzma.txt", data=TEXT, method=14),
        ZipEntry(name=b"less.txt", data=TEXT, size=7),
        ZipEntry(name=b"more.txt", data=TEXT, size=7_000),
        ZipEntry(name=b"damaged.txt", data=TEXT, crc=7),
        ZipEntry(name=b"empty.txt"),
        ZipEntry(name=b"large.txt", data=b"x" * 50_001),
        ZipEntry(name=b"picture.png", data=PNG),
        ZipEntry(name=b"false.pdf", data=TEXT),
        ZipEntry(name=b"inner.zip", data=write_zip({"a.txt": TEXT})),
        ZipEntry(name=b"1.txt", data=b"other"),
        ZipEntry(name=b"2.txt", data=TEXT),
    ]
    answer = send(server, write_raw_zip(entries))
    assert list_taken(answer) == ["1.txt", "2.txt"]
    assert list_codes(answer) == [
        ("../up.txt", "bad_path"),
        ("a/../../up.txt", "bad_path"),
        ("/etc/cron.d/x", "bad_path"),
        ("C:/x.txt", "bad_path"),
        ("a\\b.txt", "bad_path"),
        ("nul\0.txt", "bad_path"),
        ("link.txt", "archive_link"),
        ("secret.txt", "archive_encrypted"),
        ("lzma.txt", "archive_method"),
        ("less.txt", "archive_broken"),
        ("more.txt", "archive_broken"),
        ("damaged.txt", "archive_broken"),
        ("empty.txt", "file_empty"),
        ("large.txt", "too_large"),
        ("picture.png", "unsupported_type"),
        ("false.pdf", "type_mismatch"),
        ("inner.zip", "unsupported_type"),
        ("1.txt", "duplicate_path"),
    ]
    assert server.list_files() == (0, 1)


def test_one_bad_member_of_a_tar_never_refuses_the_others(server):
    archive = write_tar(
        make_file("1.txt", TEXT),
        make_file("../up.txt", TEXT),
        make_file("/etc/cron.d/x", TEXT),
        make_member("link.txt", tarfile.SYMTYPE, "/etc/passwd"),
        make_member("hard.txt", tarfile.LNKTYPE, "1.txt"),
        make_member("device", tarfile.CHRTYPE),
        make_member("pipe", tarfile.FIFOTYPE),
        make_file("large.txt", b"x" * 50_001),
        make_file("picture.png", PNG + b"\0" * 20_000),
        make_file("cafe\u0301.txt", TEXT),
        make_file("caf\u00e9.txt", TEXT),
        make_file("2.txt", TEXT),
    )
    answer = send(server, archive)
    assert list_taken(answer) == ["1.txt", "caf\u00e9.txt", "2.txt"]
    assert list_codes(answer) == [
        ("../up.txt", "bad_path"),
        ("/etc/cron.d/x", "bad_path"),
        ("link.txt", "archive_link"),
        ("hard.txt", "archive_link"),
        ("device", "archive_special"),
        ("pipe", "archive_special"),
        ("large.txt", "too_large"),
        ("picture.png", "unsupported_type"),
        ("caf\u00e9.txt", "duplicate_path"),
    ]


def test_files_beside_an_archive_come_first(server):
    answer = send(server, write_zip({"a.txt": TEXT, "b.txt": TEXT}), ("b.txt", b"mine"), ("c.txt", TEXT))
    assert list_taken(answer) == ["b.txt", "c.txt", "a.txt"]
    assert list_codes(answer) == [("b.txt", "duplicate_path")]
    assert answer.json()["documents"][0]["sha256"] == hashlib.sha256(b"mine").hexdigest()


def test_metadata_goes_onto_each_document(server):
    named = [("metadata", (None, b'{"year": 2024}')), ("archive", ("x.zip", write_zip({"a.txt": TEXT, "b.txt": TEXT})))]
    assert server.request("POST", f"{KB}/kb/documents", files=named).status_code == 202
    found = server.request("GET", f"{KB}/kb/documents").json()["items"]
    assert [item["metadata"] for item in found] == [{"year": 2024}] * 2


def test_an_idempotency_key_covers_what_is_in_the_archive(server):
    key = {"headers": {"idempotency-key": "k-1"}}
    first = send(server, write_zip({"a.txt": TEXT}), **key)
    assert send(server, write_zip({"a.txt": TEXT}, 0), **key).json() == first.json()
    other = send(server, write_zip({"a.txt": b"other"}), **key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")
    more = send(server, write_zip({"a.txt": TEXT, "b.txt": b""}), **key)
    assert (more.status_code, more.json()["code"]) == (409, "idempotency_mismatch")


TEN_THOUSAND = [write_header(f"{number}.txt", 0) for number in range(10_000)]
QUARTER = ZipEntry(name=b"a.txt", data=b"\0" * 250_001)


@pytest.mark.parametrize(
    ("archive", "status", "code"),
    [
        (write_zip({}), 422, "nothing_accepted"),
        (write_tar(), 422, "nothing_accepted"),
        (b"", 422, "nothing_accepted"),
        (write_zip({"a/": b"", ".hidden": TEXT}), 422, "nothing_accepted"),
        (write_zip({"../a.txt": TEXT, "b.txt": b""}), 422, "nothing_accepted"),
        (write_zip({"a.txt": TEXT})[:-1], 422, "archive_broken"),
        (write_zip({"a.txt": TEXT})[:40], 422, "archive_broken"),
        (write_tar(make_file("a.txt", TEXT), make_file("b.txt", TEXT))[:-4], 422, "archive_broken"),
        (write_blocks(write_header("a.txt", 10), TEXT, b"no header"), 422, "archive_broken"),
        (write_overlapping_zip(ZipEntry(name=b"a.txt", data=b"x" * 9_000), 90), 422, "archive_broken"),
        (TEXT, 422, "unsupported_archive"),
        (gzip.compress(TEXT), 422, "unsupported_archive"),
        (b"Rar!\x1a\x07\0" + TEXT, 422, "unsupported_archive"),
        (write_zip({f"{number}.txt": TEXT for number in range(101)}), 413, "archive_too_large"),
        (write_zip({f"{number}/": b"" for number in range(101)}), 413, "archive_too_large"),
        (join_zip(b"PK\x03\x04", [b"PK\x01\x02" + b"\0" * 42] * 100_000, count=1), 413, "archive_too_large"),
        (write_blocks(make_member("b.txt", tarfile.REGTYPE)[0].tobuf(), *TEN_THOUSAND * 10), 413, "archive_too_large"),
        (write_raw_zip([QUARTER] * 4), 413, "archive_too_large"),
        (write_overlapping_zip(QUARTER, 90), 413, "archive_too_large"),
        (write_tar(*[make_file(f"{number}.txt", b"\0" * 49_000) for number in range(30)]), 413, "archive_too_large"),
        (write_tar(make_file("1.txt", TEXT), make_file("2.txt", b"\0" * 2_000_000)), 413, "archive_too_large"),
        (write_blocks(write_header("1.txt", 3), b"abc", write_header("a", 10**13)), 413, "archive_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_archive_that_is_refused_leaves_nothing(server, archive, status, code):
    answer = send(server, archive)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    check_nothing_is_left(server)


def test_files_are_refused_with_their_archive(server):
    answer = send(server, write_zip({"a.txt": TEXT})[:-1], ("b.txt", TEXT))
    assert answer.json()["code"] == "archive_broken"
    check_nothing_is_left(server)


def test_nothing_accepted_names_every_entry(server):
    assert list_codes(send(server, write_zip({"../a.txt": TEXT, "b.txt": b""}))) == [
        ("../a.txt", "bad_path"),
        ("b.txt", "file_empty"),
    ]
    assert list_codes(send(server, b"")) == [("folder.zip", "file_empty")]


def test_one_archive_a_request(server):
    archive = ("a.zip", write_zip({"a.txt": TEXT}))
    answer = server.request("POST", f"{KB}/kb/documents", files=[("archive", archive)] * 2)
    assert (answer.status_code, answer.json()["code"]) == (400, "too_many_parts")
    check_nothing_is_left(server)


def test_an_entry_that_lies_is_not_unpacked_beyond_what_it_says(server):
    data = b"x" * 40_000_000
    entry = ZipEntry(name=b"a.txt", data=data, size=10_000, crc=zlib.crc32(data))
    assert list_codes(send(server, write_raw_zip([entry]))) == [("a.txt", "archive_broken")]
    check_nothing_is_left(server)


def test_a_small_archive_that_unpacks_to_hundreds_of_megabytes_is_refused_early(tmp_path):
    server = LocalServer(tmp_path / "store")
    server.create("kb")
    member = write_header("a", 90_000_000) + b"\0" * 90_000_000 + b"\0" * (-90_000_000 % 512)
    assert send(server, gzip.compress(member * 2, 1)).json()["code"] == "archive_too_large"
    bomb = ZipEntry(name=b"a.txt", data=b"\0" * 90_000_000)
    assert send(server, write_raw_zip([bomb, bomb])).json()["code"] == "archive_too_large"
    check_nothing_is_left(server)
    server.close()


def test_a_request_that_is_cancelled_within_its_archive_leaves_nothing(server):
    async def run():
        held = asyncio.Event()
        head = b'--xyz\r\nContent-Disposition: form-data; name="archive"; filename="a.zip"\r\n\r\n'
        messages = [{"type": "http.request", "body": head + write_zip({"a.txt": TEXT}), "more_body": True}]

        async def receive():
            if messages:
                return messages.pop()
            held.set()
            return await asyncio.Event().wait()

        headers = [(b"content-type", b"multipart/form-data; boundary=xyz")]
        scope = {
            "type": "http",
            "http_version": "1.0",
            "method": "POST",
            "path": f"{KB}/kb/documents",
            "query_string": b"",
        }
        exchange = asyncio.create_task(server.app({**scope, "headers": headers}, receive, lambda message: None))
        await held.wait()
        exchange.cancel()
        await asyncio.gather(exchange, return_exceptions=True)

    server.run(run())
    check_nothing_is_left(server)


class FullStore(BlobStore):
    """Its disk takes nothing more."""

    def open_scratch(self):
        return Path("/dev/full").open("w+b")


def take_all(intake, parts):
    for name, data in parts.items():
        head = f'--xyz\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'
        intake.feed(head.encode() + data + b"\r\n")
    intake.feed(b"--xyz--\r\n")
    intake.keep_files("kb", None)


@pytest.mark.parametrize("size", [100, 1_000_000], ids=["when it is read", "when it is written"])
def test_an_archive_on_a_full_disk(tmp_path, size):
    limits = UploadLimits(file_bytes=100, files=9, archive=ArchiveLimits(entries=9, bytes=100))
    with ThreadPoolExecutor(1) as pool:
        intake = UploadIntake(FullStore(tmp_path), limits, "multipart/form-data; boundary=xyz", pool)
        with pytest.raises(Unavailable) as refused:
            take_all(intake, {"files": TEXT, "archive": b"x" * size})
        assert refused.value.code == "disk_full"
        intake.close()
    assert list(tmp_path.glob("*/*")) == []


class HeldPool(ThreadPoolExecutor):
    """Takes its first task only when it is let go."""

    def __init__(self):
        super().__init__(1)
        self.asked, self.free = threading.Event(), threading.Event()

    def submit(self, *task, **parts):
        self.asked.set()
        assert self.free.wait(60), "nobody else was answered"
        return super().submit(*task, **parts)


def test_other_requests_are_answered_while_an_archive_is_unpacked(server):
    server.app.state.sealers = pool = HeldPool()

    async def run():
        archive = ("a.zip", write_zip({"a.txt": TEXT}))
        upload = asyncio.create_task(server.call("POST", f"{KB}/kb/documents", files=[("archive", archive)]))
        await asyncio.to_thread(pool.asked.wait, 20)
        live = await server.call("GET", "/health/live")
        pool.free.set()
        return live, await upload

    live, upload = server.run(run())
    assert (live.status_code, list_taken(upload)) == (200, ["a.txt"])

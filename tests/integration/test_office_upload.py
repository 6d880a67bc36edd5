"""Office files, e-books and mail from upload to a passage that names the page: slide, sheet or chapter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fakes.local_server import KB, LocalServer
from fakes.office_files import write_docx, write_epub, write_pptx, write_xlsx, write_zip

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
CLOSED = OLE + "EncryptedPackage".encode("utf-16-le")
MAIL = "From: li@example.com\nSubject: 圆顶检修\n\n圆顶电机的检修定在周四。".encode()
FILES = {
    "合同.docx": write_docx("总则", "望远镜的租期为七年。"),
    "budget.xlsx": write_xlsx({"收入": [["门票", 120]], "支出": [["项目", "金额"], ["镀膜材料", 88]]}),
    "talk.pptx": write_pptx(
        ("开场", "大家好"), ("Mirror coating", "The mirror is coated every two years."), ("结束", "谢谢")
    ),
    "poems.epub": write_epub(
        "<h1>春</h1><p>春风又绿江南岸。</p>", "<h1>Winter</h1><p>The penguins walk over the frozen river.</p>"
    ),
    "检修.eml": MAIL,
    "员工.csv": "姓名,部门\n".encode("gbk") + "王小山,机械组\n李明,观测组\n".encode("gbk") * 9,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path_factory.mktemp("office") / "store")
    server.create("kb")
    bad = {
        "closed.docx": CLOSED,
        "folder.xlsx": write_zip({"a.txt": "words"}),
        "old.doc": OLE,
        "all.zip": write_zip({}),
    }
    answer = server.upload("kb", {**FILES, **bad})
    assert answer.status_code == 202
    rejected = {one["path"]: (one["code"], one["detail"]) for one in answer.json()["rejected"]}
    assert {path: code for path, (code, _) in rejected.items()} == {
        "old.doc": "unsupported_type",
        "all.zip": "unsupported_type",
    }
    assert ".docx" in rejected["old.doc"][1]
    server.work()
    yield server
    server.close()


def test_each_is_ready_or_says_why_it_is_not(server: LocalServer) -> None:
    documents = {one["path"]: one for one in server.request("GET", f"{KB}/kb/documents").json()["items"]}
    assert {path for path, document in documents.items() if document["status"] == "ready"} == set(FILES)
    codes = {path: document["error"]["code"] for path, document in documents.items() if document["error"]}
    assert codes == {"closed.docx": "file_encrypted", "folder.xlsx": "file_malformed"}
    assert documents["检修.eml"]["title"] == "圆顶检修"
    assert documents["员工.csv"]["encoding"] == "gb18030"


@pytest.mark.parametrize(
    ("query", "path", "page", "words"),
    [
        ("How often is the mirror coated?", "talk.pptx", 2, "every two years"),
        ("镀膜材料的金额", "budget.xlsx", 2, "镀膜材料 | 88"),
        ("penguins on the frozen river", "poems.epub", 2, "penguins"),
        ("望远镜的租期", "合同.docx", 1, "租期为七年"),
        ("圆顶电机何时检修", "检修.eml", 1, "周四"),
        ("王小山在哪个部门", "员工.csv", 1, "王小山 | 机械组"),
    ],
)
def test_a_search_finds_the_page(server: LocalServer, query: str, path: str, page: int, words: str) -> None:
    answer = server.request("POST", f"{KB}/kb/search", json={"query": query, "top_k": 3})
    assert answer.status_code == 200, answer.text
    first = answer.json()["passages"][0]
    assert first["document"]["path"] == path
    assert first["page_start"] <= page <= first["page_end"]
    assert words in first["text"]


def test_a_slide_is_cited_by_its_number(server: LocalServer) -> None:
    """Slides long enough that no chunk spans two."""
    server.create("slides")
    slides = [(f"Part {number}", f"The dome of station {number} turns once a night. " * 30) for number in range(1, 6)]
    server.upload("slides", {"long.pptx": write_pptx(*slides)})
    server.work()
    query = {"query": "the dome of station 4", "top_k": 1, "merge": False}
    first = server.request("POST", f"{KB}/slides/search", json=query).json()["passages"][0]
    assert (first["page_start"], first["page_end"], first["heading"]) == (4, 4, "Part 4")

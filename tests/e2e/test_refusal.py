"""A calibrated knowledge base refuses what it holds nothing about, and its chat model is not called."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from fakes.chat_server import DONE, FINISH, USAGE, send_stream, serve_chat, write_event
from fakes.server import Server

from api.cli.main import kb

FILES = {
    "zh": {
        "手册.md": """# 天文台手册

开放夜的成人票每张一百六十元。主镜的口径是两米四。圆顶重二百吨。职工年假为十五天。图书室周三闭馆。
望远镜由王小明负责。镜面镀膜每五年更换一次。停车场可停八十辆汽车。餐厅供应午饭。报警电话是八零一。
"""
    },
    "en": {
        "handbook.md": """# Observatory

The dome weighs two hundred tons. A boat for a day costs twelve pounds. The library is closed on Wednesdays. The mirror
is coated every five years. Staff have fifteen days of annual leave. The car park holds eighty cars. Ada Brown looks
after the telescope. The canteen serves supper. The alarm number is 801. The main mirror measures two metres.
"""
    },
}
KNOWN = {
    "zh": """开放夜的成人票多少钱？
        主镜的口径是多少？
        圆顶有多重？
        职工年假有几天？
        图书室哪天闭馆？
        望远镜由谁负责？
        镜面镀膜几年更换一次？
        停车场可停多少辆汽车？
        餐厅供应什么饭？
        报警电话是多少？""".splitlines(),
    "en": """How much does the dome weigh?
        What does a boat for a day cost?
        When is the library closed?
        How often is the mirror coated?
        How many days of annual leave have staff?
        How many cars does the car park hold?
        Who looks after the telescope?
        What does the canteen serve?
        What is the alarm number?
        What does the mirror measure?""".splitlines(),
}
UNKNOWN = {
    "zh": """长江的源头在哪里？
        谁写了红楼梦？
        水在多少度沸腾？
        法国的首都是什么？
        唐朝建立于哪一年？
        大象能活多久？
        钢琴有多少个键？
        火星有几颗卫星？
        谁发明了造纸术？
        珠穆朗玛峰有多高？""".splitlines(),
    "en": """Who painted the Sistine ceiling?
        What is the capital of France?
        At what heat does water boil?
        Which river flows through Vienna?
        How long do elephants live?
        Who wrote Moby Dick?
        What is the currency of Japan?
        How tall is Mount Everest?
        Which planet has rings?
        Who invented paper?""".splitlines(),
}
ASKED = {  # not among those above: what is to be answered, what is to be refused, and how the refusal begins
    "zh": ("成人票每张多少元？", "谁画了蒙娜丽莎？", "知识库中没有找到"),
    "en": ("What is the weight of the dome?", "Who was Napoleon's second wife?", "Nothing in the knowledge base"),
}
ANSWER = (write_event("160 [1]"), FINISH, USAGE, DONE)


def write_lines(name: str, folder: Path) -> Path:
    file = folder / f"{name}.jsonl"
    lines = [
        {"question": question.strip(), "answerable": texts is KNOWN}
        for texts in (KNOWN, UNKNOWN)
        for question in texts[name]
    ]
    file.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return file


async def play(folder: Path) -> None:
    async with serve_chat(send_stream(*ANSWER), window=4096) as chat:
        server = Server(folder / "store", llm_base_url=chat.url, llm_model="m")
        await asyncio.to_thread(server.start)
        try:
            url = str(server.open_client("zh").http.base_url)
            for name, files in FILES.items():
                await asyncio.to_thread(fill, server, name, files)
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
                for name in FILES:
                    chat.bodies.clear()
                    await check(client, name, url, write_lines(name, folder))
                    assert len(chat.bodies) == 3  # each answered question, and the last one, once nothing is refused
        finally:
            await asyncio.to_thread(server.stop)


def fill(server: Server, name: str, files: dict[str, str]) -> None:
    client = server.open_client(name)
    client.create()
    client.upload({path: text.encode() for path, text in files.items()})
    client.wait_until_idle()


async def check(client: httpx.AsyncClient, name: str, url: str, lines: Path) -> None:
    path, (known, unknown, sentence) = f"/api/v1/knowledge-bases/{name}", ASKED[name]

    def calibrate(*options: str) -> Result:
        words = ["golden", "calibrate", str(lines), "--kb", name, *options]
        return CliRunner(env={"KB_URL": url}).invoke(kb, words)

    told = json.loads((await asyncio.to_thread(calibrate, "--dry-run", "--json")).stdout)
    assert (told["stored"], told["near_chance"], told["measure"]) == (False, False, "vectors")
    assert (await client.get(path)).json()["refusal"] is None
    done = await asyncio.to_thread(calibrate)
    assert done.exit_code == 0, done.output
    assert "refused, unanswerable" in done.stdout
    assert (await client.get(path)).json()["refusal"] == {"threshold": told["threshold"], "measure": "vectors"}
    assert told["unanswerable"]["low"] <= told["unanswerable"]["share"] <= told["unanswerable"]["high"]

    answered = (await client.post(f"{path}/ask", json={"question": known})).json()
    assert (answered["refused"], answered["answer"]) == (False, "160 [1]")
    refused = (await client.post(f"{path}/ask", json={"question": unknown})).json()
    assert (refused["refused"], refused["citations"], refused["usage"]) == (True, [], None)
    assert refused["answer"].startswith(sentence)
    streamed = (await client.post(f"{path}/ask", json={"question": unknown, "stream": True})).text
    assert '"refused":true' in streamed
    assert '"refused":false' in (await client.post(f"{path}/ask", json={"question": known, "stream": True})).text
    assert (await client.patch(path, json={"refusal": None})).json()["refusal"] is None
    assert not (await client.post(f"{path}/ask", json={"question": unknown})).json()["refused"]


@pytest.mark.timeout(120)
def test_what_is_below_the_calibrated_threshold_never_reaches_the_chat_model(tmp_path: Path) -> None:
    asyncio.run(play(tmp_path))

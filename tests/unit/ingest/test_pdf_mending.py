from __future__ import annotations

import pytest

from ingest.loaders.pdf_mending import is_misread


@pytest.mark.parametrize(
    ("text", "misread"),
    [
        ("The aluminium film of the mirror was renewed in June 2024: 71.4 % → 89.8 %.", False),
        ("天窗走到一半停住，控制箱报 D07。气温降到零下 18 度（−18 °C）。", False),
        ("Le général a été élevé à Besançon, près de l'église où il naquit.", False),
        ("目录\n一、编程规约 ............................... 1\n二、异常日志 ............................... 9", False),
        ("Жизнь прожить — не поле перейти.", False),
        ("", False),
        ("%%% 5", False),  # too little to judge by
        ("ᔶਇᢁ߂δ哺ኧ⡾ε 正例 代码逻辑分清", True),
        ("方程b各反6åì各生zå 用 ÏóÐ号，ô§ Ï和Ð", True),  # accented letters among Han
        ("” 0q× ” ” % & + ‰ & & & ” å å % å ” % å %", True),
    ],
)
def test_what_lost_character_maps_leave_is_told_from_text(text: str, *, misread: bool) -> None:
    assert is_misread(text) is misread

"""The report of `kb eval --html`: one file with figures and plots, Chinese and English, that needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from api.cli.evaluation import BUDGETS, Comparison, Outcome, Run

RANKS = (("1", 1, 1), ("2", 2, 2), ("3", 3, 3), ("4–5", 4, 5), ("6–10", 6, 10), ("> 10", 11, 10**9))
MILLISECONDS = (5, 10, 20, 50, 100, 200, 500, 1000)
MOST_ROWS = 500  # questions of a table
BAR, GAP, TALL, ABOVE, BELOW = 34, 26, 150, 22, 24  # pixels of a plot

STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5d6b7a; --line: #d8dee6; --paper: #fff; --now: #2364aa;
  --before: #b9c4d0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf1; --soft: #9aa7b5; --line: #36414d; --paper: #161c23;
  --now: #6aa5e8; --before: #566372; } }
body { font: 15px/1.6 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; color: var(--ink);
  background: var(--paper); max-width: 60rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2.2rem 0 .6rem; }
p, figcaption { color: var(--soft); margin: .2rem 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.4rem, 1fr)); gap: .6rem;
  margin: 1.5rem 0; }
.figures div { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.figures b { display: block; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
.figures span { color: var(--soft); font-size: .82rem; }
.plots { display: flex; flex-wrap: wrap; gap: 2rem; } figure { margin: 0; }
svg { display: block; } svg text { fill: var(--soft); font-size: 12px; text-anchor: middle; }
i { display: inline-block; width: .8em; height: .8em; border-radius: .15em; }
.now { fill: var(--now); background: var(--now); } .before { fill: var(--before); background: var(--before); }
.axis { stroke: var(--line); }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .35rem .6rem .35rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 500; }
"""


def write_page(run: Run, earlier: Run | None, comparison: Comparison | None) -> str:
    """The whole page; with an earlier run each figure stands beside the one before."""
    runs = [run] if earlier is None else [earlier, run]
    parts = [
        f"<h1>{escape(run.knowledge_base)}: evaluation · 评测</h1>",
        f'<p><i class="now"></i> {describe_run(run)}</p>',
        *([f'<p><i class="before"></i> before · 之前: {describe_run(earlier)}</p>'] if earlier else ()),
        write_figures(runs),
        '<div class="plots">',
        plot("Rank of the first right passage", "首个正确段落的名次", count_ranks(runs)),
        plot("Answered within tokens of context, %", "在多少词元内答出（%）", count_budgets(runs)),
        plot("Searches by milliseconds", "检索耗时（毫秒）", count_latencies(runs)),
        "</div>",
    ]
    if comparison:
        parts += [
            list_questions("Gained", "新答出", comparison.gained),
            list_questions("Lost", "不再答出", comparison.lost),
        ]
    parts.append(write_missed([one for one in run.outcomes if one.rank is None]))
    head = f'<meta charset="utf-8"><title>{escape(run.knowledge_base)}: evaluation</title><style>{STYLE}</style>'
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    return f'<!doctype html>\n<html lang="en">{head}{view}\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def describe_run(run: Run) -> str:
    asked = ", ".join(f"{name} {str(value).lower()}" for name, value in run.asked.items())
    degraded = f" · degraded: {', '.join(run.degraded)}" if run.degraded else ""
    return escape(f"{len(run.outcomes)} questions · 个问题 · revision {run.revision} · {asked}{degraded}")


def write_figures(runs: Sequence[Run]) -> str:
    """Tiles: the figure now, and beside its name the one before."""
    rows = [
        ("hit rate<br>命中率", [f"{one.hit_rate:.3f}" for one in runs]),
        ("MRR<br>平均倒数排名", [f"{one.mrr:.3f}" for one in runs]),
        *(
            (f"within {budget} tokens<br>{budget} 词元内", [f"{one.answered_within(budget):.3f}" for one in runs])
            for budget in BUDGETS
        ),
        ("median, ms<br>中位耗时", [f"{one.find_latency(50):.1f}" for one in runs]),
        ("95 %, ms<br>95% 耗时", [f"{one.find_latency(95):.1f}" for one in runs]),
    ]
    tiles = []
    for name, values in rows:
        before = f"<br>before · 之前 {values[0]}" if len(values) > 1 else ""
        tiles.append(f"<div><b>{values[-1]}</b><span>{name}{before}</span></div>")
    return f'<div class="figures">{"".join(tiles)}</div>'


Bars = Sequence[tuple[str, Sequence[float]]]  # the label below, and a value for each run


def count_ranks(runs: Sequence[Run]) -> Bars:
    found = [
        (name, [float(sum(1 for one in run.outcomes if one.rank and low <= one.rank <= high)) for run in runs])
        for name, low, high in RANKS
    ]
    return [*found, ("–", [float(sum(one.rank is None for one in run.outcomes)) for run in runs])]


def count_budgets(runs: Sequence[Run]) -> Bars:
    return [(str(budget), [100 * run.answered_within(budget) for run in runs]) for budget in BUDGETS]


def count_latencies(runs: Sequence[Run]) -> Bars:
    edges = [0, *MILLISECONDS]
    bars = [
        (f"< {high}", [float(sum(low <= one.milliseconds < high for one in run.outcomes)) for run in runs])
        for low, high in zip(edges, MILLISECONDS, strict=False)
    ]
    return [
        *bars,
        (f"≥ {edges[-1]}", [float(sum(one.milliseconds >= edges[-1] for one in run.outcomes)) for run in runs]),
    ]


def plot(title: str, translated: str, bars: Bars) -> str:
    """A bar chart as SVG; of two runs the earlier one stands left, pale."""
    most = max((value for _, values in bars for value in values), default=0) or 1
    count = len(bars[0][1])
    step = BAR * count + GAP
    width = step * len(bars) + GAP
    drawn = [f'<line class="axis" x1="0" x2="{width}" y1="{ABOVE + TALL}" y2="{ABOVE + TALL}"/>']
    for place, (label, values) in enumerate(bars):
        left = GAP + place * step
        drawn.append(f'<text x="{left + BAR * count / 2}" y="{ABOVE + TALL + 17}">{escape(label)}</text>')
        for number, value in enumerate(values):
            tall = TALL * value / most
            x, y = left + number * BAR, ABOVE + TALL - tall
            kind = "now" if number == count - 1 else "before"
            drawn.append(f'<rect class="{kind}" x="{x}" y="{y:.1f}" width="{BAR - 4}" height="{tall:.1f}" rx="2"/>')
            drawn.append(f'<text x="{x + BAR / 2 - 2}" y="{y - 5:.1f}">{format_value(value)}</text>')
    size = f'width="{width}" height="{ABOVE + TALL + BELOW}"'
    svg = f'<svg {size} role="img" aria-label="{escape(title)}">{"".join(drawn)}</svg>'
    return f"<figure><h2>{escape(title)} · {translated}</h2>{svg}</figure>"


def format_value(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def list_questions(title: str, translated: str, questions: Sequence[str]) -> str:
    rows = write_rows([(question,) for question in questions[:MOST_ROWS]])
    return f"<h2>{title} · {translated}: {len(questions)}</h2>" + (f"<table>{rows}</table>" if rows else "")


def write_missed(missed: Sequence[Outcome]) -> str:
    title = f"<h2>Not answered · 未答出: {len(missed)}</h2>"
    if not missed:
        return title
    rows = write_rows([(one.question, one.first or "–") for one in missed[:MOST_ROWS]])
    return f"{title}<table><tr><th>question · 问题</th><th>first passage from · 首个段落来自</th></tr>{rows}</table>"


def write_rows(rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)

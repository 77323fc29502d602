"""A report as HTML: one file without scripts and without anything to load."""

from base64 import b64encode

from skimb._core.html import STYLE, escaped, short, table

MOST_ROWS = 50
_PAGE = """
html{color-scheme:light dark;background:Canvas;color:CanvasText}
body{margin:0 auto;max-width:58rem;padding:1rem}
"""
_STYLE = """
.skimb-report h1{font-size:1.5em;margin:.2em 0;font-weight:650}
.skimb-report h2{font-size:1.15em;margin:1.6em 0 .3em;padding-top:.5em;font-weight:650;
 border-top:1px solid rgba(128,128,128,.35)}
.skimb-report .lead{font-size:1.05em;max-width:46em}
.skimb-report section>p{max-width:46em}
.skimb-report ul.verdicts{list-style:none;padding:0;margin:.6em 0;max-width:50em}
.skimb-report ul.verdicts li{border-left:5px solid;border-radius:3px;padding:.45em .8em;margin:.45em 0;
 background:rgba(128,128,128,.1)}
.skimb-report .stop{border-color:#D55E00!important}
.skimb-report .warn{border-color:#E69F00!important}
.skimb-report .note{border-color:#56B4E9!important}
.skimb-report .level{font-weight:650;margin-right:.5em}
.skimb-report .code{opacity:.7;font-size:.85em;margin-left:.5em}
.skimb-report img{display:block;max-width:100%;height:auto;background:#fff;border-radius:4px;margin:.6em 0}
.skimb-report pre{white-space:pre-wrap;background:rgba(128,128,128,.1);padding:.5em;border-radius:3px;margin:.4em 0}
@media print{.skimb-report section{break-inside:avoid}}
"""


def _verdicts(report):
    items = "".join(
        f'<li class="{one.level}"><span class="level">{one.level}</span>{escaped(one.text)}'
        f'<span class="code">{escaped(one.code)}</span></li>'
        for one in report.verdicts
    )
    listed = f'<ul class="verdicts">{items}</ul>' if items else ""
    return f'<p class="lead">{escaped(report.summary)}</p>{listed}'


def _picture(picture):
    if picture is None:
        return ""
    data = b64encode(picture.data).decode("ascii")
    return f'<img alt="{escaped(picture.alt)}" src="data:image/png;base64,{data}">'


def _section(section):
    tables = "".join(table(t.header, t.rows, t.caption, MOST_ROWS) for t in section.tables)
    text = section.values.get("estimator", "") if section.key == "origin" else ""
    shown = f"<pre><code>{escaped(text)}</code></pre>" if text else ""
    return (
        f"<section><h2>{escaped(section.title)}</h2><p>{escaped(section.sentence)}</p>"
        f"{_picture(section.picture)}{tables}{shown}</section>"
    )


def fragment(report):
    """The report as a part of a page."""
    parts = "".join(map(_section, report.sections))
    return (
        f'<div class="skimb skimb-report"><style>{STYLE}{_STYLE}</style>'
        f"<h1>{short(report.title, 120)}</h1>{_verdicts(report)}{parts}</div>"
    )


def page(report):
    """The report as a whole page."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(report.title)}</title><style>{_PAGE}</style></head>"
        f"<body><main>{fragment(report)}</main></body></html>\n"
    )


def text(report):
    """The report as a few lines of plain text."""
    lines = [report.title, "", report.summary]
    lines += [f"[{one.level}] {one.text} ({one.code})" for one in report.verdicts]
    for section in report.sections:
        lines += ["", f"{section.title}: {section.sentence}"]
    return "\n".join(lines)

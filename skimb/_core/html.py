"""Small pieces of HTML: escaped text, tables, and what notebooks show of an object.

Colours are those of the page around (``currentColor``, ``Canvas``, grey that lets the ground through), so that one
style serves light and dark themes.
"""

import html
import math
from typing import NamedTuple

from sklearn import get_config

MOST = 60

STYLE = """
.skimb{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;font-size:14px;line-height:1.45;
 color:inherit;overflow-wrap:anywhere}
.skimb table{border-collapse:collapse;color:inherit;font-size:inherit;margin:.4em 0;
 font-variant-numeric:tabular-nums}
.skimb caption{text-align:left;opacity:.75;padding:.2em 0}
.skimb th,.skimb td{padding:.22em .7em .22em 0;text-align:right;vertical-align:top;overflow-wrap:normal;
 border:0;border-bottom:1px solid rgba(128,128,128,.3);background:none}
.skimb thead th{vertical-align:bottom;font-weight:600;opacity:.8}
.skimb .text{text-align:left}
.skimb tbody th{text-align:left;font-weight:400}
.skimb .strong{font-weight:600}
.skimb .scroll{overflow-x:auto}
.skimb .range{opacity:.7;font-size:.92em;white-space:nowrap}
.skimb code{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.92em;white-space:pre-wrap}
.skimb summary{cursor:pointer}
.skimb .card{display:inline-block;max-width:60em;border:1px solid rgba(128,128,128,.45);border-radius:4px;
 padding:.3em .8em;background:rgba(128,128,128,.08)}
.skimb p{margin:.35em 0}
"""


class Estimate(NamedTuple):
    """A number with its interval."""

    value: float
    low: float
    high: float

    def __str__(self):
        if math.isnan(self.low):
            return number(self.value)
        return f"{number(self.value)} ({number(self.low)} to {number(self.high)})"


def number(value):
    """A number as people write it: three to four significant digits, whole ones in full."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, (bool, str)):
        return str(value)
    value = float(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == round(value) and abs(value) < 1e15:
        return f"{value + 0.0:,.0f}".replace(",", "\u202f").replace("-", "−")
    size = abs(value)
    if size >= 1000:
        return number(round(value))
    digits = 3 if size < 10 else 2 if size < 100 else 1
    text = f"{value:.{digits}f}" if size >= 1e-3 else f"{value:.2g}"
    return text.replace("-", "−", 1) if value < 0 else text


def escaped(value):
    """Text that HTML shows as it is, in content and in attributes."""
    return html.escape(str(value), quote=True)


def short(value, most=MOST):
    """Escaped text, cut after `most` characters; the whole of it is in the title."""
    text = str(value)
    if len(text) <= most:
        return escaped(text)
    return f'<span title="{escaped(text)}">{escaped(text[: most - 1])}…</span>'


def _cell(value, first, longest):
    if isinstance(value, Estimate) and not math.isnan(value.low):
        ends = f'<span class="range">({number(value.low)} to {number(value.high)})</span>'
        return f"<td>{number(value.value)} {ends}</td>"
    if isinstance(value, Estimate):
        value = value.value
    if first:
        return f'<th scope="row">{short(value, longest)}</th>'
    if isinstance(value, str):
        return f'<td class="text">{short(value, 400)}</td>'
    return f"<td>{number(value)}</td>"


def table(header, rows, caption=None, most=None, longest=MOST):
    """An HTML table of strings, numbers and estimates, whose first column names the rows.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    rows : list of sequence
        Cells.
    caption : str, default=None
        What stands above.
    most : int, default=None
        Rows to show; the number of further ones is said.
    longest : int, default=60
        Characters of a name, the whole of which is in its title.

    Returns
    -------
    str
        HTML.
    """
    shown = rows if most is None else rows[:most]
    wordy = {k for row in shown for k, v in enumerate(row) if k == 0 or isinstance(v, str)}
    heads = "".join(
        f'<th scope="col"{" class=text" * (k in wordy)}>{short(name)}</th>'
        for k, name in enumerate(header)
    )
    body = "".join(
        f"<tr>{''.join(_cell(v, k == 0, longest) for k, v in enumerate(row))}</tr>" for row in shown
    )
    if len(shown) < len(rows):
        more = f"… {len(rows) - len(shown)} more"
        body += f'<tr><td class="text" colspan="{len(header)}">{more}</td></tr>'
    said = f"<caption>{escaped(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table>{said}<thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def card(title, *parts):
    """A framed box with a monospaced title that notebooks show of an object."""
    return (
        f'<div class="skimb"><style>{STYLE}</style><div class="card"><code>{short(title, 200)}</code>'
        f"{''.join(parts)}</div></div>"
    )


class ShownAsHTML:
    """Mixin of objects that notebooks show by ``_html``, under scikit-learn's option ``display``."""

    def _html(self):
        raise NotImplementedError

    def _repr_html_inner(self):
        return self._html()

    @property
    def _repr_html_(self):
        """The HTML, unless ``sklearn.set_config(display="text")`` asks for text."""
        if get_config()["display"] != "diagram":
            raise AttributeError("_repr_html_ exists only where display='diagram' is configured.")
        return self._repr_html_inner

    def _repr_mimebundle_(self, **kwargs):
        bundle = {"text/plain": repr(self)}
        if get_config()["display"] == "diagram":
            bundle["text/html"] = self._html()
        return bundle

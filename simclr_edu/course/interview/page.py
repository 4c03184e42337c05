"""A question's text as HTML."""

import html
import re
from collections.abc import Sequence

from simclr_edu.course.interview.bank import Question


def to_html(text: str) -> str:
    """The light markup of the questions as HTML: paragraphs, lists, ``code`` and fenced code blocks."""
    out = []
    for k, piece in enumerate(text.split("```")):
        if k % 2:
            out.append(f"<pre><code>{html.escape(piece.strip(chr(10)))}</code></pre>")
            continue
        for block in re.split(r"\n\s*\n", piece.strip()):
            out.append(_block(block))
    return "".join(out)


def _block(block: str) -> str:
    lines = [line.strip() for line in block.splitlines() if line.strip()]
    text = [line for line in lines if not line.startswith("- ")]
    items = "".join(f"<li>{inline_html(line[2:])}</li>" for line in lines if line.startswith("- "))
    paragraph = f"<p>{inline_html(' '.join(text))}</p>" if text else ""
    return paragraph + (f"<ul>{items}</ul>" if items else "")


def inline_html(text: str) -> str:
    parts = html.escape(text).split("`")
    marked = "".join(f"<code>{p}</code>" if k % 2 else p for k, p in enumerate(parts))
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", marked)


def answer_html(question: Question) -> str:
    """Model answer, rubric, follow-ups and link of a question, as HTML."""
    points = "".join(f"<li>{inline_html(point)}</li>" for point in question.rubric)
    further = "".join(
        f"<details><summary>{inline_html(asked)}</summary>{to_html(answer)}</details>"
        for asked, answer in question.follow_ups
    )
    return (
        f"{to_html(question.answer)}<p><b>A good answer holds</b></p><ul>{points}</ul>"
        f"<p><b>Follow-ups</b></p>{further}<p>{_link(question)}</p>"
    )


def _link(question: Question) -> str:
    number, heading = question.notebook.split("_")[0], html.escape(question.heading)
    words = "Shown in" if question.shown else "Related:"
    return f'{words} <a href="{html.escape(question.link)}">notebook {number}, {heading}</a>'


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], escape: bool = True) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        shown = (inline_html(cell) if escape else cell for cell in cells)
        style = ' style="text-align:left;vertical-align:top"'
        return f"<tr>{''.join(f'<{tag}{style}>{cell}</{tag}>' for cell in shown)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"

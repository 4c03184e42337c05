"""A question's text as HTML."""

import html
from collections.abc import Sequence
from typing import Any

import mistune

from simclr_edu.course.interview.bank import Question


class _Renderer(mistune.HTMLRenderer):
    """Plain HTML on one line; every character that HTML would read as markup is escaped."""

    def text(self, text: str) -> str:
        return html.escape(text)

    def codespan(self, text: str) -> str:
        return f"<code>{html.escape(text)}</code>"

    def block_code(self, code: str, info: str | None = None) -> str:
        return f"<pre><code>{html.escape(code.removesuffix(chr(10)))}</code></pre>"

    def softbreak(self) -> str:
        return " "

    def strong(self, text: str) -> str:
        return f"<b>{text}</b>"

    def paragraph(self, text: str) -> str:
        return f"<p>{text}</p>"

    def list(self, text: str, ordered: bool, **attrs: Any) -> str:
        return f'<ol start="{attrs.get("start", 1)}">{text}</ol>' if ordered else f"<ul>{text}</ul>"

    def list_item(self, text: str) -> str:
        return f"<li>{text}</li>"


def _parser() -> mistune.Markdown:
    """Markdown without what the questions do not use: a `# line`, a <tag> or [i](j) in them means itself."""
    block, inline = mistune.BlockParser(), mistune.InlineParser()
    block.rules = block.list_rules = ["fenced_code", "list", "blank_line"]
    inline.rules = ["codespan", "emphasis", "softbreak"]
    return mistune.Markdown(_RENDERER, block, inline)


_RENDERER = _Renderer()
_PARSER = _parser()


def to_html(text: str) -> str:
    """The light markup of the questions as HTML: paragraphs, lists, ``code`` and fenced code blocks."""
    return str(_PARSER(text))


def inline_html(text: str) -> str:
    """The same for a piece of a line: ``code`` and **strong**."""
    return _RENDERER(_PARSER.inline(text, {}), mistune.BlockState())


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

"""The format of the questions: a wrong field is named with its card, and no text makes HTML of its own."""

import html
import re
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simclr_edu.course import interview
from simclr_edu.course.interview import bank, page

CARDS = tomllib.loads(interview.QUESTIONS_FILE.read_text(encoding="utf-8"))["questions"]
TAG = re.compile(r'</?(?:p|b|em|strong|code|pre|ul|li)>|<ol start="\d+">|</ol>')
MARKUP = (
    "<b>",
    "</p>",
    "<script>",
    "<!-- ",
    "&amp;",
    "&",
    '"',
    "'",
    "`",
    "```\n",
    "**",
    "*",
    "_",
    "[a](b)",
    "\\",
)
MARKUP += ("![a](b)", "<http://x.y>", "\n", "\n\n", "- ", "1. ", "# ", "> ", "    ", "[a]: b", "---", "a")
BAD_VALUES = {int: 3, str: " ", list: [[]], bool: True, dict: {"a": 1}}
FIELDS = [f for f in bank._Card.__struct_fields__ if f != "figures"]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(MARKUP), max_size=12).map("".join))
def test_no_text_makes_html_of_its_own(text):
    for made in (page.to_html(text), page.inline_html(text)):
        assert not re.search("[<>\"']", TAG.sub("", made)), made
        assert not re.search(r"&(?!(?:amp|lt|gt|quot|#x27);)", made), made


@pytest.mark.parametrize(
    "text", ["<b>x</b>", "<!-- x -->", "[a](http://b)", "![a](b)", "# a", "> a", "&lt;", "x_i_j"]
)
def test_what_is_no_markup_of_the_questions_means_itself(text):
    assert page.to_html(text) == f"<p>{html.escape(text)}</p>"
    assert page.inline_html(text) == html.escape(text)


def test_numbers_of_a_list_are_kept():
    assert page.to_html("3. a\n4. b") == '<ol start="3"><li>a</li><li>b</li></ol>'


def written(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return repr(value).lower() if isinstance(value, bool) else f"{value!r}"


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", BAD_VALUES.values(), ids=lambda v: type(v).__name__)
def test_a_field_of_the_wrong_kind_is_named_with_its_card_in_one_sentence(tmp_path, field, value):
    fields = {
        "id": "a", "topic": "t", "depth": "30 s", "part": "coding", "question": "Why?", "answer": "So.",
        "rubric": ["one", "two"], "follow_ups": [["And?", "So."]], "link": "00_start_here#Recap",
    } | {field: value}  # fmt: skip
    path = tmp_path / "q.toml"
    path.write_text(
        'topics = ["t"]\n[[questions]]\n' + "\n".join(f"{k} = {written(v)}" for k, v in fields.items())
    )
    with pytest.raises(interview.InterviewError) as caught:
        interview.load(path)
    message = str(caught.value)
    name = " " if field == "id" and value == " " else str(value) if field == "id" else "a"
    assert message.startswith(f"question 1 ({name}): {field} must be ") and message.endswith(f"got {value!r}")
    assert "\n" not in message and "$" not in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("topics = 3", "topics must be the list of topics, each a text, got 3"),
        ('topics = ["t"]', "q.toml: missing required field `questions`"),
        ('topics = ["t"]\nquestions = [1]', "questions must be [[questions]], got [1]"),
        ('topics = [""]\n[[questions]]', "topics must be the list of topics, each a text, got ['']"),
        ('topics = ["t"]\n[[questions]]\n[[question]]', "contains unknown field `question`"),
        ('topics = ["t"]\n[[questions]]', "question 1 (without id): missing required field `id`"),
    ],
)
def test_a_file_of_another_form_is_one_sentence(tmp_path, text, words):
    path = tmp_path / "q.toml"
    path.write_text(text)
    with pytest.raises(interview.InterviewError) as caught:
        interview.load(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_every_card_has_the_fields_of_the_format_and_no_field_is_unused():
    assert {key for card in CARDS for key in card} == set(bank._Card.__struct_fields__)

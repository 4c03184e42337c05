"""The deck, the quiz and the countdown without a front end: click and compare with the static twins."""

import ipywidgets
import pytest

from simclr_edu.course import explorers, interview


def test_the_deck_shows_answers_and_brings_unknown_cards_back():
    deck = explorers.flash_cards()
    deck.controls["topic"].value = "temperature"
    cards = interview.questions(topic="temperature")
    assert cards[0].question in deck.card.value and f"{len(cards)} cards left" in deck.progress.value
    assert interview.answer_html(cards[0]) not in deck.card.value
    deck.buttons["show"].click()
    assert interview.answer_html(cards[0]) in deck.card.value
    deck.buttons["again"].click()
    assert interview.to_html(cards[1].question) in deck.card.value
    for left in range(len(cards) - 1, 0, -1):
        deck.buttons["known"].click()
        assert f"{left} cards left" in deck.progress.value
    assert interview.to_html(cards[0].question) in deck.card.value  # the one that was not known
    deck.buttons["known"].click()
    assert "All known" in deck.card.value and all(b.disabled for b in deck.buttons.values())
    deck.controls["topic"].value = "all"
    assert f"{len(interview.questions())} cards left" in deck.progress.value
    assert not any(b.disabled for b in deck.buttons.values())


def test_the_deck_can_be_narrowed_by_topic_and_depth_to_nothing_at_all():
    deck = explorers.flash_cards()
    deck.controls["depth"].value = "30 s"
    assert f"{len(interview.questions(depth='30 s'))} cards left" in deck.progress.value
    deck.controls["topic"].value = "SupCon"  # whiteboard only
    assert "0 cards left" in deck.progress.value and deck.buttons["show"].disabled


def test_the_quiz_says_why_and_counts_first_answers_only():
    quiz = interview.quiz(3, seed=2)
    board = explorers.quiz(quiz)
    assert [r.value for r in board.answers] == [None] * 3 and "0 of 3 answered" in board.score.value
    right = ["abcd".index(item.right) for item in quiz.items]
    board.answers[0].value = right[0]
    assert "Right." in board.feedback[0].value
    assert "1 right at the first try, 1 of 3 answered" in board.score.value
    board.answers[1].value = (right[1] + 1) % 4
    assert "Wrong." in board.feedback[1].value and 'aria-live="polite"' in board.feedback[1].value
    board.answers[1].value = right[1]
    assert "Right." in board.feedback[1].value
    assert "1 right at the first try, 2 of 3 answered" in board.score.value
    texts = [[text for text, _ in radio.options] for radio in board.answers]
    assert texts == [[choice.text for choice in item.choices] for item in quiz.items]


def test_the_countdown_says_what_is_left():
    countdown = explorers.countdown(minutes=15)
    assert "15 min 00 s left" in countdown.left.value
    countdown.play.value = 61
    assert "13 min 59 s left" in countdown.left.value
    assert countdown.play.max == countdown.bar.max == 900 and countdown.play.interval == 1000


@pytest.mark.parametrize(
    "make", [explorers.flash_cards, lambda: explorers.quiz(interview.quiz()), lambda: explorers.countdown(1)]
)
def test_all_are_boxes_that_need_no_network(make):
    box = make()
    assert isinstance(box, ipywidgets.VBox)
    shown = "".join(child.value for child in box.children if isinstance(child, ipywidgets.HTML))
    assert "http" not in shown and "<script" not in shown


def test_bad_input_gives_a_sentence():
    with pytest.raises(TypeError, match=r"must be an interview\.Quiz, got str"):
        explorers.quiz("quiz")
    with pytest.raises(ValueError, match="minutes must be a finite number"):
        explorers.countdown(-1)

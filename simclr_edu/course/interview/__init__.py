"""Interview practice: questions at three depths as flash cards, a quiz and a timed mock interview.

The questions are data: ``assets/interview.toml``, read and checked here. What is shown is plain text with
``print``, and in a notebook HTML that folds its answers with ``<details>``: no script, no network, the same
in an exported page. The buttons of :mod:`simclr_edu.course.explorers` are built on the same objects.
"""

from simclr_edu.course.interview.bank import (
    CHOICES,
    CORE_TOPICS,
    DEPTHS,
    PARTS,
    QUESTIONS_FILE,
    Choice,
    InterviewError,
    Question,
    load,
    questions,
    topics,
)
from simclr_edu.course.interview.clock import Clock, duration
from simclr_edu.course.interview.page import answer_html, to_html
from simclr_edu.course.interview.practice import (
    AGENDA,
    FlashCards,
    MockInterview,
    MockItem,
    Quiz,
    QuizItem,
    Score,
    flash_cards,
    mock_interview,
    quiz,
)

__all__ = [
    "AGENDA",
    "CHOICES",
    "CORE_TOPICS",
    "DEPTHS",
    "PARTS",
    "QUESTIONS_FILE",
    "Choice",
    "Clock",
    "FlashCards",
    "InterviewError",
    "MockInterview",
    "MockItem",
    "Question",
    "Quiz",
    "QuizItem",
    "Score",
    "answer_html",
    "duration",
    "flash_cards",
    "load",
    "mock_interview",
    "questions",
    "quiz",
    "to_html",
    "topics",
]

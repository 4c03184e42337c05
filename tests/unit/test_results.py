"""The running results table: what goes in comes out, in the story's order, whole or not at all."""

import json
import os
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch

from simclr_edu.course.results import record, rows, table


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("SIMCLR_EDU_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_row_comes_back(home):
    record("random encoder", notebook="00", seed=3, profile="laptop", linear=0.234, seconds=12.5)
    assert rows() == {
        "random encoder": {
            "notebook": "00",
            "profile": "laptop",
            "seed": 3,
            "linear": 0.234,
            "seconds": 12.5,
        }
    }
    assert sorted(p.name for p in home.iterdir()) == [".results.json.lock", "results.json"]


def test_a_repeated_name_replaces_its_row():
    record("chance", notebook="00", linear=0.2, knn=0.2)
    record("chance", notebook="01", linear=0.1)
    assert rows() == {"chance": {"notebook": "01", "profile": None, "seed": None, "linear": 0.1}}


def test_numpy_numbers_are_numbers():
    record("chance", notebook="00", linear=np.float32(0.5), knn=np.float64(0.25), epochs=np.int64(7))
    assert rows()["chance"]["linear"] == 0.5 and rows()["chance"]["epochs"] == 7


def test_rows_follow_the_story_whatever_the_order_of_recording():
    story = [
        "chance",
        "raw pixels",
        "random encoder",
        "supervised, 1% of labels",
        "crop-only",
        "colour only",
        "color only, seed 1",
        "crop + colour",
        "tau 0.5",
        "τ = 0.1",
        "SimCLR, 90 s",
        "zebra",
        "aardvark",
    ]
    for name in [*reversed(story[:5]), *story[5:]]:
        record(name, notebook="x", linear=0.5)
    assert list(rows()) == story
    assert [row[0] for row in table().rows] == story


def test_table_in_percent_with_dashes():
    record("chance", notebook="00", linear=0.1)
    record("SimCLR", notebook="04", seed=0, linear=0.8765, knn=1.0, seconds=93.21)
    shown = table(("linear", "knn", "seconds"))
    assert shown.header == ("", "linear probe (%)", "kNN (%)", "seconds", "notebook", "seed")
    assert shown.rows == (
        ("chance", "10.0", "–", "–", "00", "–"),
        ("SimCLR", "87.6", "100.0", "93.21", "04", "0"),
    )
    lines = str(shown).splitlines()
    assert len(lines) == 4 and len({line.index("10.0") for line in lines if "10.0" in line[:30]}) == 1
    assert lines[2].startswith("chance") and "–" in lines[2]


def test_default_columns_and_empty_table():
    assert "No results yet" in str(table())
    assert "No results yet" in table()._repr_html_()
    assert "No results yet" in table()._repr_markdown_()
    record("chance", notebook="00", accuracy=0.1)
    assert table().header[1:3] == ("linear probe (%)", "kNN (%)")


def test_html_is_well_formed_and_escaped():
    record("<b>SimCLR</b> & co", notebook="<04>", linear=0.5)
    tree = ElementTree.fromstring(table()._repr_html_())
    cells = [cell.text for cell in tree.iter("td")]
    assert cells == ["50.0", "–", "–", "<04>"]
    assert [head.text for head in tree.iter("th") if head.get("scope") == "row"] == ["<b>SimCLR</b> & co"]


def test_markdown_has_as_many_cells_in_every_line():
    record("a | b", notebook="00", linear=0.5, knn=0.25)
    lines = table()._repr_markdown_().splitlines()
    assert [line.replace("\\|", "").count("|") for line in lines] == [6, 6, 6]
    assert lines[2] == "| a \\| b | 50.0 | 25.0 | – | 00 |"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"linear": 83.0}, ValueError, "linear must be from 0 to 1, got 83.0"),
        ({"linear": float("nan")}, ValueError, "linear must be from 0 to 1, got nan"),
        ({"linear": -0.1}, ValueError, "from 0 to 1"),
        ({"linear": "0.5"}, TypeError, "linear must be a number"),
        ({"linear": torch.tensor(0.5)}, TypeError, "linear must be a number"),
        ({"linear": True}, TypeError, "linear must be a number"),
        ({"seconds": float("inf")}, ValueError, "seconds must be finite"),
        ({"seconds": "long"}, TypeError, "seconds must be a number"),
        ({}, ValueError, "at least one value"),
        ({"name": " ", "linear": 0.5}, ValueError, "name must not be empty"),
        ({"name": 3, "linear": 0.5}, TypeError, "name must be a string"),
        ({"notebook": None, "linear": 0.5}, TypeError, "notebook must be a string"),
        ({"profile": 3, "linear": 0.5}, TypeError, "profile must be a string"),
        ({"seed": 0.5, "linear": 0.5}, TypeError, "seed must be a whole number"),
    ],
)
def test_record_refuses(home, arguments, error, message):
    with pytest.raises(error, match=message):
        record(**({"name": "chance", "notebook": "00"} | arguments))
    assert not home.exists()


@pytest.mark.parametrize("columns", ["linear", (1, 2)])
def test_table_refuses(columns):
    with pytest.raises(TypeError, match="columns must be a sequence of strings"):
        table(columns)


def test_table_refuses_the_origin_as_a_column():
    with pytest.raises(ValueError, match="names of values.*notebook, profile, seed are added"):
        table(("linear", "seed"))


@pytest.mark.parametrize(
    "content",
    [
        b'{"chance": {"notebook"',
        b"\xff\xfe",
        b"[1, 2]",
        b'{"chance": 3}',
        b'{"chance": {"linear": 0.1}}',
        b'{"chance": {"notebook": "00", "profile": null, "seed": null, "linear": "high"}}',
    ],
)
def test_damaged_file_is_named_and_left_alone(home, content):
    home.mkdir()
    (home / "results.json").write_bytes(content)
    for use in (rows, table, lambda: record("chance", notebook="00", linear=0.1)):
        with pytest.raises(ValueError, match="results.json .*delete it"):
            use()
    assert (home / "results.json").read_bytes() == content


def test_a_write_that_fails_keeps_the_old_table(home, monkeypatch):
    record("chance", notebook="00", linear=0.1)
    before = (home / "results.json").read_bytes()

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        record("SimCLR", notebook="04", linear=0.9)
    assert (home / "results.json").read_bytes() == before
    assert sorted(p.name for p in home.iterdir()) == [".results.json.lock", "results.json"]
    assert json.loads(before)["chance"]["linear"] == 0.1

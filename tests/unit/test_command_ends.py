"""How the command ends when what surrounds it is amiss: streams, environment, memory, interrupts."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import simclr_edu
from simclr_edu import __main__ as cli
from simclr_edu import _command, distributed

PROGRAM = [sys.executable, "-m", "simclr_edu"]


def run(capsys, *arguments):
    status = cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def said_once(result, *words):
    status, out, err = result
    assert (status, out) == (2, "") and err.startswith("simclr_edu: ") and err.count("\n") == 1, err
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "but MASTER_ADDR, MASTER_PORT not set"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE in the environment must be from 1"),
        ({"WORLD_SIZE": "2", "RANK": "5", "MASTER_ADDR": "x", "MASTER_PORT": "1"}, "RANK in the environment"),
        (
            {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "x", "MASTER_PORT": "p"},
            "MASTER_PORT in the environment",
        ),
    ],
)
def test_half_a_torchrun_is_a_sentence_that_names_the_way_out(environment, words, capsys, monkeypatch):
    for name in distributed.ranks._MEETING_POINT:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said_once(run(capsys, "pretrain", "--out", "x"), words, "unset RANK and WORLD_SIZE")


@pytest.mark.parametrize("environment", [{"RANK": "0"}, {"RANK": "3", "WORLD_SIZE": "1"}, {"WORLD_SIZE": ""}])
def test_a_stray_rank_is_one_process(environment, monkeypatch):
    for name in distributed.ranks._MEETING_POINT:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with distributed.process_group():
        assert distributed.share() == (0, 1)


@pytest.mark.slow
def test_nobody_at_the_meeting_point_is_a_sentence(capsys, monkeypatch, unused_port):
    monkeypatch.setattr(distributed.ranks, "_PATIENCE_WITHOUT_TORCHRUN", 1)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    point = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(unused_port)}
    for name, value in point.items():
        monkeypatch.setenv(name, value)
    said_once(run(capsys, "pretrain", "--out", "x"), "rank 0 of 2 met nobody", "unset RANK")


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("there is not enough memory for a head"), "there is not enough memory for a head"),
        (MemoryError(), "there is not enough memory: take smaller batches"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "smaller batches"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "smaller batches"),
        (BrokenPipeError(32, "Broken pipe"), "what reads standard output has gone"),
    ],
)
def test_a_want_of_the_machine_is_a_sentence(error, words, capsys, monkeypatch):
    def fail(arguments):
        raise error

    monkeypatch.setattr(cli, "_parse", fail)
    said_once(run(capsys, "doctor"), words)


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def fail(arguments):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(cli, "_parse", fail)
    with pytest.raises(RuntimeError, match="mat1"):
        cli.main(["doctor"])


def test_no_compiler_is_a_sentence_before_anything_is_trained(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "/does/not/exist/g++")
    command = ("pretrain", "--out", tmp_path / "run", "--data", "digits", "--device", "cpu", "--compile")
    said_once(run(capsys, *command), "/does/not/exist/g++", "leave compile out")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--data", "--out"])
def test_nobodys_home_folder_is_a_sentence(option, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"--data": "digits", "--out": "run"} | {
        option: "folder:~no_such_user/x" if option == "--data" else "~no_such_user/run"
    }
    arguments = [part for pair in given.items() for part in pair]
    said_once(run(capsys, "pretrain", *arguments), "~no_such_user", "no home folder is known")
    assert list(tmp_path.iterdir()) == []


def test_the_frame_of_the_parser_is_folded_whatever_the_terminal_shows():
    plain = " Title\n -------------\n  Unrecognized: x\n  -------------\n  see --help\n"
    framed = (
        "╭─ Title ─────────╮\n│ Unrecognized: x │\n│ ─────────────── │\n│ see --help      │\n"
        "╰─────────────────╯\n"
    )
    assert (
        _command.fold(plain) == _command.fold(framed) == "Unrecognized: x (try python -m simclr_edu --help)"
    )


EARLY = "import sys; sys.argv = ['simclr-edu']; from simclr_edu import _command; _command.prepare(); "


def early(code, tmp_path, **options):
    """A Python in which nothing but the preparation of the command is loaded: quick."""
    package = tmp_path / "simclr_edu"
    package.mkdir()
    (package / "__init__.py").write_text("")
    source = os.path.join(os.path.dirname(simclr_edu.__file__), "_command.py")
    (package / "_command.py").write_text(open(source, encoding="utf-8").read(), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), **options.pop("env", {})}
    environment.pop("PYTHONUNBUFFERED", None)
    options.setdefault("cwd", tmp_path)
    return subprocess.Popen(
        [sys.executable, "-c", EARLY + code], env=environment, text=True, stderr=subprocess.PIPE, **options
    )


@pytest.mark.skipif(os.name != "posix", reason="descriptors of POSIX")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_stream_gives_its_number_to_no_file(number, tmp_path):
    code = "file = open('checkpoint', 'w'); print(sys.stdin is not None, file.fileno() > 2, file=file)"
    done = early(code, tmp_path, cwd=tmp_path, preexec_fn=lambda: os.close(number))
    assert done.wait() == 0 and (tmp_path / "checkpoint").read_text() == "True True\n"
    done.stderr.close()


def test_every_terminal_shows_every_character(tmp_path):
    done = early(
        "print('2 ≤ τ')",
        tmp_path,
        stdout=subprocess.PIPE,
        env={"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
    )
    out, err = done.communicate()
    assert (done.returncode, out, err) == (0, "2 \\u2264 \\u03c4\n", "")


@pytest.mark.skipif(os.name != "posix", reason="a pipe of POSIX")
def test_a_reader_that_has_gone_leaves_no_traceback(tmp_path):
    read, write = os.pipe()
    os.close(read)
    done = early("print('x' * 10); print(_command.settle(), file=sys.stderr)", tmp_path, stdout=write)
    os.close(write)
    assert (done.communicate()[1], done.returncode) == ("False\n", 0)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_while_libraries_load_is_one_line_and_130(tmp_path):
    code = "print('ready', flush=True); import time; time.sleep(60)"
    done = early(code, tmp_path, stdout=subprocess.PIPE)
    assert done.stdout.readline() == "ready\n"
    done.send_signal(signal.SIGINT)
    assert (done.communicate()[1], done.returncode) == ("simclr_edu: interrupted\n", 130)


def test_libraries_are_quiet_and_our_own_warnings_one_line(tmp_path):
    code = (
        "import warnings; warnings.warn('of a library'); "
        "warnings.warn_explicit('ours', UserWarning, 'f', 1, 'simclr_edu.x')"
    )
    done = early(code, tmp_path)
    assert (done.communicate()[1], done.returncode) == ("simclr_edu: ours\n", 0)


@pytest.mark.slow
def test_the_whole_command_under_an_interrupt_at_any_moment(tmp_path):
    for wait in (0.3, 0.8, 1.5):
        done = subprocess.Popen(
            [*PROGRAM, "pretrain", "--out", str(tmp_path / "run"), "--data", "digits", "--epochs", "1000"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SIMCLR_EDU_HOME": str(tmp_path)},
        )
        time.sleep(wait)
        done.send_signal(signal.SIGINT)
        _, err = done.communicate()
        assert "Traceback" not in err and done.returncode in (0, 130)
        if done.returncode == 0:  # training had begun: it ends by itself, saved
            break

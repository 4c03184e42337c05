"""What the command line needs before a library is loaded, and after all is done: no other module's concern.

Loading torch takes seconds. An interrupt in them would end in a traceback through somebody else's code, and a
closed standard error would give its number to the first file that is opened, a checkpoint say.
"""

import os
import re
import signal
import sys
import warnings

INTERRUPTED = 130  # what shells report of a program that Ctrl-C ended
_STREAMS = ("stdin", "stdout", "stderr")


def is_started_as_command() -> bool:
    """Whether this Python was started as ``simclr-edu`` or ``python -m simclr_edu``, and is loading it."""
    if os.path.basename(sys.argv[0] if sys.argv else "").removesuffix(".exe") == "simclr-edu":
        return True
    options = zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
    return sys.argv[:1] == ["-m"] and any(
        flag.startswith("-") and flag.endswith("m") and name == "simclr_edu" for flag, name in options
    )


def prepare() -> None:
    """Open what is closed, let every terminal show every character, keep libraries quiet, end on Ctrl-C."""
    for number, name in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(
                os.open(os.devnull, os.O_RDWR), True
            )  # it takes the lowest free number, this one
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))
    _show_every_character()
    if not sys.warnoptions:
        warnings.filterwarnings("ignore")
        warnings.filterwarnings("default", module="simclr_edu")
        warnings.formatwarning = lambda message, *_: f"simclr_edu: {message}\n"
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _show_every_character() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _end(*_: object) -> None:
    if os.environ.get("RANK", "0") == "0":
        os.write(2, b"simclr_edu: interrupted\n")
    os._exit(INTERRUPTED)


def interrupts_are_caught() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt again, for whoever catches it."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def say(sentence: str) -> None:
    """One line on standard error; nothing where nobody listens."""
    try:
        print(" ".join(sentence.split()), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass


def settle() -> bool:
    """Empty the streams' buffers, and close what cannot be written; whether all could be.

    Otherwise Python tries again when it ends, and says so with a traceback.
    """
    done = True
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        if stream is None:  # closed before Python began
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            done = False
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
    return done


def fold(box: str) -> str:
    """Fold tyro's framed message into one line: the text, without frame, title and hint."""
    text = ""
    for line in box.splitlines()[1:]:  # after the title
        inner = re.sub(r"[\u2501-\u257f]", "", line).strip()
        if re.fullmatch(r"[\u2500-]{5,}", inner):  # a rule, dashes where the terminal has no better
            if text:
                break
        else:
            text += f" {inner.strip(chr(0x2500))}"
    text = " ".join(text.split())
    text = re.sub(r"^Error parsing (?!-)\S+: ", "", text)  # the name of a class of tyro's, or of ours
    text = re.sub(
        r"No type matching (\S+) could be instantiated from \[(.*?)\]\..*", r"wanted \1, got \2", text
    )
    return f"{text} (try python -m simclr_edu --help)"

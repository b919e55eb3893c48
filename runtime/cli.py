"""The command `glorext`: a table of subcommands, each in the module that does the work, imported when it is chosen."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading

from . import completion
from .arguments import Parser
from .errors import nearest

# By what one wants to do; each row is a command, its module and what it is for.
GROUPS = {
    "a first look": {
        "demo": ("glorext.deploy.demo", "the whole way on real pictures: train, publish, load, convert, infer, check"),
        "doctor": ("glorext.deploy.doctor.examine", "what is installed here, what is missing, and how to get it"),
        "digits": ("glorext.train.digits", "write scikit-learn's digits as a folder of pictures, to try things on"),
        "predict": ("glorext.deploy.validate.predict", "say what is on pictures: class names and probabilities"),
    },
    "train": {
        "train": ("glorext.train.command", "train a network from a recipe"),
        "launch": ("glorext.train.launch", "train or evaluate on several devices, a process for each"),
        "eval": ("glorext.train.evaluate", "measure top-1 and top-5 of a model"),
        "lr": ("glorext.train.lr", "the learning rate of every step of a recipe, as an array or a plot"),
        "to-png": ("glorext.train.to_png", "copy a folder of pictures, those in other formats as PNG"),
        "mindrecord": ("glorext.train.mindrecord", "write a folder of pictures as MindRecord files"),
        "rank-table": ("glorext.train.rank_table", "which Ascend cards train together, as a rank table"),
        "lint": ("glorext.hub.lint", "which network a checkpoint holds, and what is wrong with it"),
    },
    "find and load": {
        "list": ("glorext.hub.listing", "show what the registries offer"),
        "search": ("glorext.hub.keywords", "find models by words"),
        "download": ("glorext.hub.take_along", "fetch a package into a folder, without MindSpore"),
        "lock": ("glorext.hub.lock", "pin names to the digests that they have now"),
        "cache": ("glorext.hub.cached", "list, remove, prune or verify what was downloaded"),
    },
    "publish": {
        "pack": ("glorext.hub.pack", "make a model package from a trained model"),
        "verify": ("glorext.hub.verify", "check a package to the byte, without MindSpore or network"),
        "publish": ("glorext.hub.publish", "put a package into a registry"),
        "login": ("glorext.hub.login", "keep a name and password for an OCI registry"),
        "yank": ("glorext.hub.yank", "take a published version back: an open name leads to it no more"),
        "deprecate": ("glorext.hub.deprecate", "warn whoever loads a published version"),
        "reindex": ("glorext.hub.reindex", "make the index of a registry folder again from its packages"),
        "site": ("glorext.hub.site", "write a registry's catalog as static web pages"),
    },
    "deploy": {
        "export": ("glorext.deploy.export.exporter", "write a network as MINDIR or ONNX with its contract"),
        "convert": ("glorext.deploy.convert.command", "convert an exported model with MindSpore Lite"),
        "infer": ("glorext.deploy.validate.infer", "offline inference over pictures with the C++ program"),
        "bundle": (
            "glorext.deploy.ship.bundle",
            "pack a model with its C++ program and self-test for the machine with the card",
        ),
        "serving": ("glorext.deploy.ship.serving", "write the folder with which a server serves a model"),
        "native": ("glorext.deploy.runners.programs", "fetch MindSpore Lite and build the C++ programs"),
    },
    "check": {
        "validate": ("glorext.deploy.validate.command", "check the accuracy of offline inference against MindSpore"),
        "parity": ("glorext.deploy.parity.measure", "follow a model from its checkpoint to the card, hop by hop"),
        "preprocess-check": (
            "glorext.deploy.parity.preprocess_check",
            "compare preprocessing in MindSpore, NumPy, C++ and AIPP",
        ),
        "bench": ("glorext.deploy.bench.command", "throughput, and latency over load, beside other runtimes"),
        "acceptance": (
            "glorext.deploy.acceptance.command",
            "everything that needs the device, with bounds, on this machine",
        ),
    },
}
COMMANDS = {name: row for group in GROUPS.values() for name, row in group.items()}


def parser(name: str, description: str, example: str) -> Parser:
    """An argument parser for the subcommand `name`, its help ending with `example`."""
    return Parser(
        prog=f"glorext {name}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _usage() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n\n".join(
        f"{title}:\n" + "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in group.items())
        for title, group in GROUPS.items()
    )
    return (
        f"usage: glorext COMMAND [options]\n\n"
        f"Train, publish, load and deploy ResNeXt50 and GloRe-ResNet50 with MindSpore.\n\n{rows}\n\n"
        f"`glorext COMMAND --help` explains a command and ends with an example.\n"
        f"Exit status: 0 done, 1 failed, 2 wrong usage."
    )


_owns_process = False
IMPORT_POLL = 0.05  # seconds until a Ctrl-C that came during an import is tried again


def owns_process() -> bool:
    """Whether the process is there for one command: what stops the command ends the process too."""
    return _owns_process


def main(argv: list[str] | None = None, owns: bool | None = None) -> int:
    """Run a subcommand; its exit status.

    Args:
        owns: whether the process was started for this command; by default where its arguments are the process's own.
    """
    global _owns_process
    _owns_process = argv is None if owns is None else owns
    argv = list(sys.argv[1:] if argv is None else argv)
    if completion.asked():
        argv = list(completion.command_being_written(COMMANDS))
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        from glorext import __version__

        print(f"glorext {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        near = nearest(argv[0].replace("_", "-"), COMMANDS, 0.6)
        hint = f"did you mean `glorext {near}`?" if near else "`glorext --help` lists the commands."
        print(f"glorext: no command {argv[0]!r}: {hint}", file=sys.stderr)
        return 2
    return run(f"glorext {argv[0]}", lambda: importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:]))


def _stop_after_imports(number, frame) -> None:
    """SIGINT's handler: KeyboardInterrupt, but not in the middle of an import, where compiled libraries abort."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            again = threading.Timer(IMPORT_POLL, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def run(program: str, call) -> int:
    """`call()` as the program of that name: its exit status; a GlorextError or Ctrl-C becomes a line on stderr."""
    from .errors import GlorextError
    from .log import log_to_stderr

    log_to_stderr()
    if owns_process() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop_after_imports)
    if not sys.stderr.isatty():
        # In a log file each refresh of a progress bar is one more line.
        os.environ.setdefault("TQDM_MININTERVAL", "30")
    # MindSpore's notes would stand in the middle of a progress bar; its errors do not fall silent.
    os.environ.setdefault("GLOG_v", "3")
    try:
        return call() or 0
    except GlorextError as error:
        print(f"{program}: {type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has seen enough. The interpreter's own flush must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        if owns_process():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(f"{program}: stopped{f': {stop}' if str(stop) else ''}", file=sys.stderr, flush=True)
        if owns_process():
            # Not through the interpreter's end: where a library was stopped while it loaded, that aborts.
            sys.stdout.flush()
            os._exit(130)
        return 130
    except OSError as error:
        from .files import no_room

        full = no_room(error, error.filename or "a file")
        if full is None:
            raise
        print(f"{program}: {type(full).__name__}: {full}", file=sys.stderr)
        return full.exit_status


if __name__ == "__main__":
    sys.exit(main())

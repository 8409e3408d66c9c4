"""The command line: every command is a typed function.

A command's options, their types, defaults and help come from its signature and docstring; a
parameter called ``settings`` is a dataclass whose fields become dotted options and YAML keys.
Whatever goes wrong ends as one sentence on standard error and an exit code other than 0.
"""

from __future__ import annotations

import argparse
import ast
import errno
import inspect
import os
import re
import select
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

import docstring_parser
import yaml
from jsonargparse import (  # type: ignore[attr-defined]  # ActionConfigFile is in its manual
    ActionConfigFile,
    ArgumentParser,
    Namespace,
    set_parsing_settings,
)

from preprocess.console.documents import YamlFile, read_yaml
from preprocess.console.help import HelpFormatter
from preprocess.console.mistakes import describe_mistake
from preprocess.console.names import nearest
from preprocess.console.settings import SettingsError, build, out_of_range, type_hints

Command = Callable[..., None]
C = TypeVar("C", bound=Command)
Place = str
"""Where a command is: ``module:function``."""

USER_ERROR = 2
INTERRUPTED = 130
OS_ERRORS = {
    errno.EEXIST: "is a file; expected a folder, or nothing there. Name another one.",
    errno.ENOTDIR: "cannot be there: a part of this path is a file, no folder.",
    errno.EISDIR: "is a folder, expected a file.",
    errno.EACCES: "may not be read or written by you. Name another place, or ask for the right.",
    errno.EPERM: "may not be read or written by you. Name another place, or ask for the right.",
    errno.EROFS: "is on a disk that cannot be written to. Name another place.",
}
NOBODY_READS = 141
"""As a shell gives it for a command whose reader left, such as `head`."""


@dataclass(frozen=True)
class _Usage:
    """What the signature of a command does not say."""

    positional: tuple[str, ...] = ()
    common: tuple[str, ...] = ()
    configs: Path | None = None
    again: str = "continues where it stopped"


def usage(
    *,
    positional: tuple[str, ...] = (),
    common: tuple[str, ...] = (),
    configs: Path | None = None,
    again: str = _Usage.again,
) -> Callable[[C], C]:
    """Say of a command what its signature does not.

    Args:
        positional: parameters with a default that are given without an option's name all the same.
        common: the settings that ``--help`` shows; ``--help-all`` shows all of them.
        configs: a folder of settings that ``--config`` knows by their name.
        again: what the same command does after it was stopped.
    """

    def decorate(command: C) -> C:
        command.usage = _Usage(positional, common, configs, again)  # type: ignore[attr-defined]
        return command

    return decorate


@contextmanager
def _ending_quietly() -> Iterator[None]:
    """End without a traceback: by Ctrl-C before the command's own work, and where nobody reads what
    is printed any more, as behind ``| head``."""
    try:
        try:
            yield
        except KeyboardInterrupt:
            print("stopped by you.", file=sys.stderr)
            raise SystemExit(INTERRUPTED) from None
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        for stream in _unread():  # what they still hold must not fail once more at the exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise SystemExit(NOBODY_READS) from None


def _unread() -> list[TextIO]:
    """The streams whose reader has gone."""

    def is_read(stream: TextIO) -> bool:
        asked = select.poll()
        asked.register(stream.fileno(), select.POLLOUT)
        return not any(answer & select.POLLERR for _, answer in asked.poll(0))

    return [stream for stream in (sys.stdout, sys.stderr) if not is_read(stream)]


@_ending_quietly()
def run(command: Command, *, prog: str, argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` and call the command; exit with a sentence if it cannot be done.

    Args:
        command: a typed function. Its required parameters become positional arguments, its
            switches (``bool = False``) flags; the ``Examples:`` section of its docstring ends
            ``--help``.
        prog: how the user calls it, such as ``python -m preprocess``.
        argv: the arguments; those of the process if None.
    """
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = _parser(command, prog)
    words = parser.spelled(list(sys.argv[1:] if argv is None else argv))
    if own := getattr(command, "usage", _Usage()).configs:
        words = [*_found_configs(words, own)]
    if "--help-all" in words:
        parser.shown = None
        words = ["--help"]
    words, within = parser.set_apart(words)
    try:
        values = parser.parse_args(words)
    except UnicodeDecodeError:  # of a file behind an option such as `--detector`
        parser.error("a file of settings is no text in UTF-8. Save it with the encoding UTF-8.")
    for option, (*above, last), text in within:
        inside = values[option]
        try:
            for name in above:
                inside = inside.setdefault(name, {})
            inside[last] = yaml.safe_load(text)
        except (AttributeError, TypeError, yaml.YAMLError):
            parser.error(
                f"--{'.'.join((option, *above, last))} {text} sets nothing that can be set."
            )
    _call(command, values, prog)


@_ending_quietly()
def run_one_of(
    commands: Mapping[str, Place], *, prog: str, argv: Sequence[str] | None = None
) -> None:
    """Run the command that the first argument names, with the arguments that follow."""
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in commands:
        run(command_at(commands[name]), prog=f"{prog} {name}", argv=rest)
    elif name in ("-h", "--help"):
        print(f"usage: {prog} COMMAND ...\n")
        for known, place in commands.items():
            print(f"  {known:<15}{_first_line(place)}")
        print(f"\n`{prog} COMMAND --help` explains one, with examples.")
    else:
        near = nearest(name, commands)
        hint = f"; did you mean {near}?" if near else "."
        _stop(prog, f"there is no command {name!r}, only {', '.join(commands)}{hint}", USER_ERROR)


def _first_line(place: Place) -> str:
    """What a command does, read without importing what it needs."""
    module, _, function = place.partition(":")
    found = find_spec(module)
    assert found is not None and found.origin is not None
    tree = ast.parse(Path(found.origin).read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    raise LookupError(place)


def command_at(place: Place) -> Command:
    """The command of that name."""
    module, _, function = place.partition(":")
    command: Command = getattr(import_module(module), function)
    return command


class _Parser(ArgumentParser):
    """A parser with a short help, which names the nearest option where one is unknown.

    Attributes:
        shown: the options that ``--help`` shows, by name; all of them if None.
        files: the files of settings that were read.
        reading: the one that is being read, if any.
        own: the names of settings that come with the package.
    """

    shown: frozenset[str] | None = None
    own: Sequence[str] = ()
    reading: YamlFile | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self.files: list[YamlFile] = []

    def spelled(self, words: list[str]) -> list[str]:
        """The same words with each option as it is declared: hyphens and underscores are one."""
        declared = {
            option.replace("-", "_"): option
            for action in self._actions
            for option in action.option_strings
        }

        def word(given: str) -> str:
            name, equals, value = given.partition("=")
            return declared.get(name.replace("-", "_"), name) + equals + value

        return [word(given) if given.startswith("--") else given for given in words]

    def set_apart(self, words: list[str]) -> tuple[list[str], list[tuple[str, list[str], str]]]:
        """The words without those that set one key inside an entry of a mapping, and these.

        Such as ``--systems.SSD.size 300``: jsonargparse would forget the entry's other keys. Of
        each there are the option's name, the keys below it and the text of the value.
        """
        mappings = {action.dest for action in self._actions if isinstance(action.default, dict)}
        kept, within, rest = list[str](), list[tuple[str, list[str], str]](), iter(words)
        for word in rest:
            given, equals, value = word.removeprefix("--").partition("=")
            option, *keys = given.split(".")
            if word.startswith("--") and option in mappings and len(keys) > 1:
                within.append((option, keys, value if equals else next(rest, "")))
            else:
                kept.append(word)
        return kept, within

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        if self.shown is None:
            return str(super().format_help(formatter))
        hidden = [action for action in self._actions if action.dest not in self.shown]
        texts = [action.help for action in hidden]
        for action in hidden:
            action.help = argparse.SUPPRESS
        try:
            return str(super().format_help(formatter))
        finally:
            for action, text in zip(hidden, texts, strict=True):
                action.help = text

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        del ex  # the message says it; the whole usage would bury it
        sentence = describe_mistake(message, self._actions, self.files, self.reading)
        print(f"{self.prog}: error: {sentence}", file=sys.stderr)
        print(f"See `{self.prog} --help`.", file=sys.stderr)
        raise SystemExit(USER_ERROR)


class _SettingsFile(ActionConfigFile):
    """``--config``: a file of settings, whose mistakes are told with its name and the line."""

    @staticmethod
    def apply_config(parser: _Parser, cfg: Namespace, dest: str, value: str) -> None:
        plain = (a for a in parser._actions if type(a.default) in (int, float))
        example = next((f"{a.dest}: {a.default}" for a in plain), "name: value")
        try:
            parser.reading = read_yaml(Path(value), example=example)
        except ValueError as problem:
            own = f" With angioray come {', '.join(parser.own)}." if parser.own else ""
            parser.error(f"{problem}{'' if Path(value).exists() else own}")
        if dest in parser.reading.lines:
            parser.error(f"{parser.reading.place(dest)}: a file of settings names no other one.")
        parser.files.append(parser.reading)
        for name in parser.reading.lines:  # jsonargparse would import what stands there
            if name.rpartition(".")[2] == "class_path":
                parser.error(f"Key '{name}' is not expected")
        ActionConfigFile.apply_config(parser, cfg, dest, value)
        parser.reading = None


def _found_configs(words: Sequence[str], shipped: Path) -> Iterator[str]:
    """The words with settings that come with the package instead of a file that is not there."""
    before = ""
    for given in words:
        option, equals, value = given.partition("=") if "=" in given else (before, "", given)
        own = next(shipped.rglob(f"{Path(value).name.removesuffix('.yaml')}.yaml"), None)
        known = option == "--config" and not Path(value).is_file() and own
        yield f"{option}{equals}{own}" if known and equals else str(own) if known else given
        before = given


def _parser(command: Command, prog: str) -> _Parser:
    documentation = inspect.getdoc(command) or ""
    description, _, examples = documentation.partition("\nExamples:\n")
    parser = _Parser(
        prog=prog,
        description=re.split(r"\n(Args|Raises|Returns):", description)[0].strip(),
        epilog=f"examples:\n{examples.rstrip()}\n" if examples else None,
        formatter_class=HelpFormatter,
    )
    own: _Usage = getattr(command, "usage", _Usage())
    parameters, hints = inspect.signature(command).parameters, typing.get_type_hints(command)
    skip: set[str | int] = {"settings"}
    for described in docstring_parser.parse(documentation).params:
        name = described.arg_name
        if name not in parameters:
            continue
        if name in own.positional:
            kind, default = hints[name], parameters[name].default
            parser.add_argument(
                name, nargs="?", type=kind, default=default, help=described.description
            )
        elif parameters[name].default is False:
            flag = f"--{name.replace('_', '-')}"
            parser.add_argument(flag, action="store_true", help=described.description)
        else:
            continue
        skip.add(name)
    if settings := hints.get("settings"):
        config_help = "settings as a YAML file"
        if own.configs:
            parser.own = sorted(path.stem for path in own.configs.rglob("*.yaml"))
            config_help += f", or one of {', '.join(parser.own)}, which come with angioray"
        parser.add_argument("--config", action=_SettingsFile, help=config_help)
        parser.add_class_arguments(settings, None)
    parser.add_function_arguments(command, skip=skip, as_group=False, as_positional=True)
    positional = [
        action.dest.upper() if action.required else f"[{action.dest.upper()}]"
        for action in parser._actions
        if not action.option_strings
    ]
    parser.usage = " ".join([prog, *positional, "[options]"])
    if own.common:
        plain = {name for name in parameters if not is_dataclass(hints[name])}
        parser.shown = frozenset({"help", "config", *plain, *own.common})
        more = sum(action.dest not in parser.shown for action in parser._actions)
        parser.epilog = (
            f"{more} more settings: --help-all explains them, --print_config prints all as YAML."
            f"\n\n{parser.epilog or ''}"
        )
    return parser


def _arguments(command: Command, values: Namespace) -> dict[str, Any]:
    """What a command is called with; all that is out of its range is told at once."""
    arguments, problems = {}, list[str]()
    hints = type_hints(command)
    for name in inspect.signature(command).parameters:
        own = name == "settings"  # whose fields are options without a name before them
        try:
            if own or is_dataclass(hints[name]):
                part = values if own else values[name]
                arguments[name] = build(hints[name], part, "" if own else f"{name}.")
            else:
                arguments[name] = values[name]
        except SettingsError as refused:
            problems += refused.problems
    if problems := [*out_of_range(hints, arguments), *problems]:
        raise SettingsError(*problems)
    return arguments


def _call(command: Command, values: Namespace, prog: str) -> None:
    again = getattr(command, "usage", _Usage()).again
    try:
        command(**_arguments(command, values))
    except (ValueError, FloatingPointError) as problem:  # bad input; training that diverged
        _stop(prog, str(problem), USER_ERROR)
    except OSError as problem:
        if isinstance(problem, BrokenPipeError) and _unread():
            raise
        if problem.errno == errno.ENOSPC:
            _stop(
                prog,
                f"the disk is full ({problem.filename or 'while writing'}). Make room and give the "
                f"same command again: it {again}.",
                USER_ERROR,
            )
        _stop(prog, _describe_os_error(problem), USER_ERROR)
    except KeyboardInterrupt as stopped:
        how = str(stopped) or f"The same command {again}."
        _stop(prog, f"stopped by you. {how}", INTERRUPTED)


def _describe_os_error(problem: OSError) -> str:
    sentence = OS_ERRORS.get(problem.errno or 0)
    if sentence and problem.filename:
        return f"{problem.filename} {sentence}"
    where = f": {problem.filename}" if problem.filename else ""
    return f"{problem.strerror or problem}{where}"


def _stop(prog: str, sentence: str, code: int) -> NoReturn:
    from preprocess.console.tables import say

    say(f"{prog}: {sentence}")
    raise SystemExit(code)

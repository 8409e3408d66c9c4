"""The thin layer under which every command is a typed function.

A command's options, their types, defaults and help come from its signature and docstring; a
parameter called ``settings`` is a dataclass whose fields become dotted options and YAML keys.
Whatever goes wrong ends as one sentence on standard error and an exit code other than 0.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import inspect
import re
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import docstring_parser
from jsonargparse import (
    ArgumentParser,
    DefaultHelpFormatter,
    Namespace,
    set_parsing_settings,
)

Command = Callable[..., None]

USER_ERROR = 2
INTERRUPTED = 130


class _HelpFormatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults beside the options, examples as they were typed."""


class _Parser(ArgumentParser):
    """A parser whose complaint about an unknown option names the nearest one that exists."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        del ex  # the message says it; the whole usage would bury it
        print(f"{self.prog}: error: {message}{self._nearest(message)}", file=sys.stderr)
        print(f"See `{self.prog} --help`.", file=sys.stderr)
        raise SystemExit(USER_ERROR)

    def _nearest(self, message: str) -> str:
        group = re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", message)
        unknown = [f"{group[1]}.{group[2]}"] if group else re.findall(r"--([\w.-]+)", message)
        unknown += re.findall(r"(?:[Kk]ey|[Oo]ption) '([\w.]+)'", message)
        known = [action.dest for action in self._actions]
        for name in unknown:
            if name not in known and (near := difflib.get_close_matches(name, known, 1, 0.5)):
                return f" (the nearest that exists is `{near[0]}`)"
        return ""


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
    values = parser.parse_args(list(sys.argv[1:] if argv is None else argv))
    _call(command, parser, values, prog)


def run_one_of(
    commands: Mapping[str, Command], *, prog: str, argv: Sequence[str] | None = None
) -> None:
    """Run the command that the first argument names, with the arguments that follow."""
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in commands:
        run(commands[name], prog=f"{prog} {name}", argv=rest)
    elif name in ("-h", "--help"):
        print(f"usage: {prog} COMMAND ...\n")
        for known, function in commands.items():
            print(f"  {known:<12}{(inspect.getdoc(function) or '').partition(chr(10))[0]}")
        print(f"\n`{prog} COMMAND --help` explains one, with examples.")
    else:
        near = difflib.get_close_matches(name, commands, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else "."
        _stop(prog, f"there is no command {name!r}, only {', '.join(commands)}{hint}", USER_ERROR)


def _parser(command: Command, prog: str) -> _Parser:
    documentation = inspect.getdoc(command) or ""
    description, _, examples = documentation.partition("\nExamples:\n")
    parser = _Parser(
        prog=prog,
        description=re.split(r"\n(Args|Raises|Returns):", description)[0].strip(),
        epilog=f"examples:\n{examples.rstrip()}\n" if examples else None,
        formatter_class=_HelpFormatter,
    )
    skip: set[str | int] = {"settings"}
    for switch in docstring_parser.parse(documentation).params:
        parameter = inspect.signature(command).parameters.get(switch.arg_name)
        if parameter is not None and parameter.default is False:
            flag = f"--{switch.arg_name.replace('_', '-')}"
            parser.add_argument(flag, action="store_true", help=switch.description)
            skip.add(switch.arg_name)
    if settings := typing.get_type_hints(command).get("settings"):
        parser.add_argument("--config", action="config", help="settings as a YAML file")
        parser.add_class_arguments(settings, None)
    parser.add_function_arguments(command, skip=skip, as_group=False, as_positional=True)
    positional = [action.dest for action in parser._actions if not action.option_strings]
    parser.usage = " ".join([prog, *(name.upper() for name in positional), "[options]"])
    return parser


def _arguments(function: Command, values: dict[str, Any]) -> dict[str, Any]:
    names = set(inspect.signature(function).parameters)
    arguments = {name: value for name, value in values.items() if name in names}
    if settings := typing.get_type_hints(function).get("settings"):
        fields = {f for f in inspect.signature(settings).parameters}
        arguments["settings"] = settings(**{k: v for k, v in values.items() if k in fields})
    return arguments


def _call(command: Command, parser: _Parser, values: Namespace, prog: str) -> None:
    try:
        # Settings check themselves when they are made, and raise as the command does.
        command(**_arguments(command, parser.instantiate(values).as_dict()))
    except (ValueError, FloatingPointError) as problem:  # bad input; training that diverged
        _stop(prog, str(problem), USER_ERROR)
    except OSError as problem:
        if problem.errno == errno.ENOSPC:
            _stop(
                prog,
                f"the disk is full ({problem.filename or 'while writing'}). Make room and give the "
                "same command again: it continues where it stopped.",
                USER_ERROR,
            )
        where = f": {problem.filename}" if problem.filename else ""
        _stop(prog, f"{problem.strerror or problem}{where}", USER_ERROR)
    except KeyboardInterrupt as stopped:
        how = str(stopped) or "The same command continues where it stopped."
        _stop(prog, f"stopped by you. {how}", INTERRUPTED)


def _stop(prog: str, sentence: str, code: int) -> NoReturn:
    print(f"{prog}: {sentence}", file=sys.stderr)
    raise SystemExit(code)

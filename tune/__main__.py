"""``python -m tune``: the commands of this package."""

from preprocess.console.command_line import run_one_of

COMMANDS = {"sweep": "tune.sweep:sweep"}

if __name__ == "__main__":
    run_one_of(COMMANDS, prog="python -m tune")

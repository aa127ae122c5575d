"""The command line: thin verbs, each in a module that is loaded when the verb is used."""

import gc
import os
import sys
from importlib import import_module

import click

from ..errors import LatmodelError
from ..version import __version__
from .sections import HELP_NAMES
from .terminal import drop_output, write_what_the_terminal_can

# Verb → (module, function, one-line help). Modules load on use, so that `latmodel --help` starts at once.
VERBS = {
    "calibrate": ("calibrate", "calibrate", "Measure single blocks on this device, fit, write a profile."),
    "explain": ("explain", "explain", "Where the time of a response goes, and what binds."),
    "compare": ("compare", "compare", "Models, devices, runtimes or formats side by side."),
    "env": ("profile", "env", "Show what was detected on this machine."),
    "fit": ("fit", "fit", "Fit or refine a profile from measurements made elsewhere."),
    "frontier": ("frontier", "frontier", "Search the architectures with the most capacity within a budget."),
    "layers": ("layers", "layers", "For every layer its own block, within a budget."),
    "predict": ("predict", "predict", "Latency, memory and bound of one or many architectures."),
    "preset": ("compare", "preset", "Names of published models that a verb takes."),
    "profile": ("profile", "profile", "Look at profiles: list, show, diff, export, merge."),
    "prune": ("prune", "prune", "Depth- and width-pruned shapes that reach a target time."),
    "quality": ("quality", "quality", "What shape is worth in quality: check the law against an ablation."),
    "report": ("report", "report", "One HTML file to look at and play with: frontier, sliders, parts, rooflines."),
    "verify": ("calibrate", "verify", "Build and run the real model, compare it with the prediction."),
}
# Objects that are made before cycles among them are looked for, against Python's 700: a verb's imports make eighty
# thousand that stay, and one walk over fifty thousand of them takes a twentieth of a short command's time.
OBJECTS_BEFORE_A_COLLECTION = 200_000
# What a group without a verb raises; clicks before 8.2 show the help themselves.
NO_ARGUMENTS: tuple[type[click.UsageError], ...] = tuple(
    kind for kind in (getattr(click.exceptions, "NoArgsIsHelpError", None),) if kind is not None
)


class LazyGroup(click.Group):
    """A group whose verbs are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, name, _ = VERBS[cmd_name]
        command = getattr(import_module(f".{module}", __package__), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Verbs with their one-line help, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in sorted(VERBS.items())])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": list(HELP_NAMES)},
    epilog="Example:  latmodel frontier --budget 5.5s --gpu 3090",
)
@click.version_option(__version__, prog_name="latmodel")
def group() -> None:
    """Predict the latency of transformers from their shape, and search the shapes that answer in time."""


def main() -> None:
    """Run a verb; any problem that a user can cause is one line on stderr and an exit code of the contract."""
    # Looking for plugins of pydantic reads the metadata of every package installed: a tenth of a short command's time.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    gc.set_threshold(OBJECTS_BEFORE_A_COLLECTION)
    write_what_the_terminal_can()
    try:
        group.main(standalone_mode=False, prog_name="latmodel")
        sys.stdout.flush()
        gc.freeze()  # the process ends: a last search for cycles in all that it loaded would take as long as an import
    except SystemExit:
        # Outside its standalone mode click exits for one reason alone: the reader of a pipe has gone, which is fine.
        sys.exit(0)
    except (click.Abort, KeyboardInterrupt):
        click.echo("latmodel: interrupted", err=True)
        sys.exit(130)
    except NO_ARGUMENTS as error:
        click.echo(error.ctx.get_help() if error.ctx else "")
    except click.ClickException as error:
        _fail(_one_line(error), error.exit_code)
    except LatmodelError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        what = f" {error.filename}" if error.filename else ""
        drop_output()
        _fail(f"cannot read or write{what}: {error.strerror or error}", 1)


def _one_line(error: click.ClickException) -> str:
    text = " ".join(error.format_message().split()).removesuffix(".")
    context = getattr(error, "ctx", None)
    return f"{text}; see `{context.command_path} --help`" if isinstance(context, click.Context) else text


def _fail(message: str, code: int) -> None:
    click.echo(f"latmodel: {message}", err=True)
    sys.exit(code)

# ruff: noqa: PLC0415 - a command imports what it needs when it runs: --help answers at once
"""The ``medic`` command: what people and programs on a laptop or in a pipeline ask of Endpoint Medic.

Thin: options and help stand here, what a command does stands in ``local.commands``.
"""

import errno
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import typer.core

from local.commands import terminal
from remediations.errors import MedicError, RecordUnreadable

_EPILOG = (
    "Exit codes: 0 fine; 1 something was found, or is not as expected; 2 wrong usage, settings or policy; 3 Azure, or "
    "what was asked in its place, cannot be read; 130 interrupted.\n\n"
    "Settings are MEDIC_* variables; without any, nothing is ever written to Azure."
)


class _Group(typer.core.TyperGroup):
    """Tells an error that we know by name in words, never by a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MedicError as error:
            terminal.complain(str(error))
            raise typer.Exit(terminal.exit_code_of(error)) from error
        except RecordUnreadable as error:
            terminal.complain(f"{error}.")
            raise typer.Exit(terminal.MISUSED) from error
        except ValueError as error:
            if type(error).__module__ != "msgspec":
                raise
            words = f"a record on the trail cannot be read: {error}. It was changed, or written by another version."
            terminal.complain(words)
            raise typer.Exit(terminal.MISUSED) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(terminal.INTERRUPTED) from error


app = typer.Typer(
    name="medic",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
audit = typer.Typer(no_args_is_help=True, help="Read the audit trail.")
approvals = typer.Typer(invoke_without_command=True)
policy = typer.Typer(no_args_is_help=True, help="Check the policy, or show what it may say.")
events = typer.Typer(no_args_is_help=True, help="Send dead letters again.")

_HERE = "On this machine, with a simulated Azure"
_FAILURES = "Failures and what would be done"
_TRAIL = "The trail"
_SETUP = "Setting up"
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE}
_LOCAL = "http://127.0.0.1:7071"

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]
EventFile = Annotated[str, typer.Argument(metavar="EVENT_FILE", help="JSON as Event Grid delivers it; - is stdin.")]
AppUrl = Annotated[str, typer.Option("--to", metavar="URL", help="The functions' base URL.")]
AppScope = Annotated[
    str | None,
    typer.Option(
        "--scope",
        help="Sign in as you, for this scope: api://<client id of the app's registration>/.default. Needed where --to "
        "is another machine.",
    ),
]
AskedIncident = Annotated[
    str, typer.Argument(metavar="INCIDENT", help="An incident's id, or the beginning of it or of its plan's digest.")
]
Sure = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask once more; needed without a terminal.")]
Since = Annotated[str, typer.Option(help="How far back: 7d, 24h, 30m, or a date.")]

# Filters of the trail, each of which may be repeated.
OpenedSince = Annotated[
    str | None, typer.Option("--since", help="Incidents that opened since: 7d, 24h, 30m, or a date.")
]
OpenedUntil = Annotated[str | None, typer.Option("--until", help="… and before: the same.")]
OfIncident = Annotated[list[str] | None, typer.Option("--incident", metavar="ID", help="Id, or the beginning of it.")]
OfWorkspace = Annotated[
    list[str] | None, typer.Option("--workspace", metavar="GLOB", help="Workspace's name: mlw-prod, 'mlw-*'.")
]
OfAction = Annotated[list[str] | None, typer.Option("--action", metavar="NAME", help="The repair, as retry.")]
OfEnd = Annotated[
    list[str] | None, typer.Option("--end", metavar="END", help="How it ended: repaired, dry-run …, or open.")
]
OfCause = Annotated[list[str] | None, typer.Option("--cause", metavar="ID", help="`medic causes` lists them.")]
OfActor = Annotated[
    list[str] | None,
    typer.Option("--actor", metavar="ID", help="With records by this object id or client id, or by medic itself."),
]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"medic {_own_version()}")
        raise typer.Exit


def _own_version() -> str:
    import tomllib
    from importlib import metadata

    project = Path(__file__).parent.parent / "pyproject.toml"
    if project.exists():
        return str(tomllib.loads(project.read_text())["project"]["version"])
    return metadata.version("endpoint-medic")


@app.callback()
def medic(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Repair failed Azure ML online-endpoint deployments, under guard and on an audit trail."""


# ------------------------------------------------------------------------------------- on this machine


@app.command(rich_help_panel=_HERE)
def demo(
    *,
    as_json: AsJson = False,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only scenarios of this name.")] = None,
) -> None:
    """Break deployments in a simulated Azure and watch them being repaired."""
    from local import demo as playing

    raise typer.Exit(playing.demo(as_json=as_json, only=only or []))


@app.command(rich_help_panel=_HERE)
def rehearse(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE...", help="Scenario files (YAML).")] = None,
    *,
    as_json: AsJson = False,
    schema: Annotated[bool, typer.Option("--schema", help="Only print the JSON Schema of scenario files.")] = False,
) -> None:
    """Play scenarios of your own, and compare how they end with what they expect."""
    from local import demo as playing

    if schema:
        raise typer.Exit(playing.schema())
    if not files:
        raise typer.BadParameter("name a scenario file; --schema prints what one may hold.")
    raise typer.Exit(playing.rehearse(files, as_json=as_json))


@app.command(rich_help_panel=_HERE)
def chaos(
    ctx: typer.Context,
    *,
    incidents: Annotated[int, typer.Option(min=1, help="How many incidents go through it.")] = 100,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, help="What is drawn; left out: a fresh one, which is printed."),
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Play one round again that a campaign has saved.")
    ] = None,
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where rounds lie that broke a promise.")] = Path(
        ".medic/chaos"
    ),
    lanes: Annotated[int, typer.Option(min=1, max=16, help="Rounds at once, each in processes of its own.")] = 2,
    shrink: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to look for a shorter history; 0: not at all.")
    ] = 600,
    as_json: AsJson = False,
) -> None:
    """Break everything around the app at once, and check that its promises hold.

    Worlds, events, faults, kills and people are drawn from a seed. Exit 1 if a promise was broken.
    """
    from local.commands import chaos as command

    if replay is not None:
        for name in ("incidents", "seed", "lanes", "shrink"):
            source = ctx.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                raise typer.BadParameter(f"--{name} is for a campaign; --replay plays one round, as it was saved.")
    raise typer.Exit(
        command.chaos(
            incidents=incidents,
            seed=seed,
            replay=replay,
            folder=folder,
            lanes=lanes,
            shrink_s=shrink,
            as_json=as_json,
        )
    )


@app.command(rich_help_panel=_HERE)
def serve(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Where the functions listen; 0: any free port.")] = 7071,
    world: Annotated[Path | None, typer.Option(metavar="FILE", help="Simulate this Azure (YAML) instead.")] = None,
) -> None:
    """Run the functions and a simulated Azure until Ctrl-C."""
    from local import serving

    raise typer.Exit(serving.serve(port, world))


@app.command(rich_help_panel=_HERE)
def send(
    event_file: EventFile,
    to: Annotated[str, typer.Option(metavar="URL", help="The functions' base URL.")] = "http://127.0.0.1:7071",
    topic: Annotated[
        str | None, typer.Option(metavar="ENDPOINT", help="An Event Grid topic, in place of --to; signs in as you.")
    ] = None,
    times: Annotated[int, typer.Option(min=1, max=1_000, help="Deliver it so many times.")] = 1,
) -> None:
    """Deliver an event as Event Grid would, to a local host or to a topic."""
    from local.commands import sending

    raise typer.Exit(sending.send(event_file, to=to, topic=topic, times=times))


# -------------------------------------------------------------------------------------------- failures


@app.command(rich_help_panel=_FAILURES)
def scan(
    subscription: Annotated[
        str | None,
        typer.Option(metavar="ID", envvar="AZURE_SUBSCRIPTION_ID", help="Default: those that policy watches."),
    ] = None,
    workspace: Annotated[str | None, typer.Option(metavar="NAME_OR_ID", help="Only this workspace.")] = None,
    resource_group: Annotated[str | None, typer.Option(metavar="NAME", help="Only this resource group.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Diagnose every failed deployment of a subscription or workspace. Reads only; exit 1 if any failed."""
    from local.commands import looking

    code = looking.scan(subscription=subscription, workspace=workspace, group=resource_group, as_json=as_json)
    raise typer.Exit(code)


@app.command(rich_help_panel=_FAILURES)
def plan(
    event_file: EventFile,
    *,
    as_json: AsJson = False,
    arm_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Another Azure Resource Manager; default: MEDIC_ARM_URL.")
    ] = None,
) -> None:
    """Tell what would be done about an event: diagnosis, exact calls, every guard's answer. Reads only."""
    from local.commands import looking

    raise typer.Exit(looking.plan(event_file, as_json=as_json, arm_url=arm_url))


@events.command("replay")
def events_replay(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A file or folder of dead letters, or the URL of their container: "
            "https://<account>.blob.core.windows.net/deadletters.",
        ),
    ],
    to: AppUrl = _LOCAL,
    scope: AppScope = None,
    *,
    since: Annotated[
        str | None, typer.Option(help="Events that happened since: 7d, 24h, 30m, or a date; default: all.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="… and before: the same.")] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=100, metavar="N", help="The most events a second.")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters to the app's intake once more, oldest event first, and tell what became of each.

    To repeat it is safe: what the app knows is a duplicate, and what is old is judged by what Azure shows now.
    Exit 1 if something was not taken, or is no event.
    """
    from datetime import UTC, datetime

    from local.commands import events as letters
    from local.commands import terminal

    now = datetime.now(UTC)
    given = letters.Given(
        source=source,
        since=None if since is None else terminal.past(since, now),
        until=None if until is None else terminal.past(until, now),
        rate=rate,
        only_shows=dry_run,
    )
    raise typer.Exit(letters.replay(given, to=to, scope=scope, as_json=as_json))


@app.command(rich_help_panel=_FAILURES)
def classify(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="An error text; - is stdin.", show_default=False)] = "-",
    *,
    compute: Annotated[
        Literal["managed", "kubernetes"] | None, typer.Option(help="What it runs on: rules out what cannot be there.")
    ] = None,
    phase: Annotated[
        Literal["create", "build", "start", "delete", "invoke"] | None, typer.Option(help="What was being done.")
    ] = None,
    as_json: AsJson = False,
    jsonl: Annotated[
        bool,
        typer.Option(
            "--jsonl",
            help='For many texts: one {"id", "message", "compute"?, "phase"?} a line in, '
            'one {"id", "code", "cause", "level", "action"} a line out, as soon as no more is waiting.',
        ),
    ] = False,
) -> None:
    """Name the cause of an error text, without asking Azure."""
    from local.commands import texts

    if jsonl and (compute or phase):
        raise typer.BadParameter("--compute and --phase are for one text; with --jsonl each line names its own.")
    raise typer.Exit(texts.classify(file, as_json=as_json, is_jsonl=jsonl, compute=compute, phase=phase))


@app.command(rich_help_panel=_FAILURES)
def causes(
    cause: Annotated[str | None, typer.Argument(metavar="ID", help="Tell all of this one.")] = None,
    *,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/causes.md.")] = False,
) -> None:
    """List every cause that is known, or tell all of one: how it is named, what to do, what Endpoint Medic does."""
    from local.commands import causes as listed

    if markdown and (cause or as_json):
        raise typer.BadParameter("--markdown prints all causes, and no JSON.")
    raise typer.Exit(listed.causes(cause, as_json=as_json, as_markdown=markdown))


@app.command(rich_help_panel=_FAILURES)
def evaluate(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help='Lines of {"id", "message", "code", "cause", "action"}; - is stdin.'),
    ],
    *,
    at_least: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT=SHARE", help="Exit 1 below it, as cause=0.9: action, cause, code, unknown or recall."
        ),
    ] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Show each row that is answered otherwise.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure how well labelled error texts are classified. Exit 1 if a text triggers an action that it should not."""
    from local.commands import evaluating

    raise typer.Exit(evaluating.evaluate(files, at_least=at_least or [], rows=rows, as_json=as_json))


# ----------------------------------------------------------------------------------------------- trail


@app.command(rich_help_panel=_TRAIL)
def report(*, since: Since = "7d", as_json: AsJson = False) -> None:
    """Tell what would have been done, asked and refused, and what was really done.

    Exit 1 if an incident had to be left out because it cannot be read.
    """
    from local.commands import records

    raise typer.Exit(records.report(since=since, as_json=as_json))


@app.command(rich_help_panel=_TRAIL)
def replay(
    policy: Annotated[Path, typer.Option("--policy", metavar="FILE", help="The policy to decide by.")],
    mode: Annotated[
        Literal["off", "dry-run", "ask", "auto"] | None,
        typer.Option(help="Decide as if MEDIC_MODE had been this; default: as it was."),
    ] = None,
    since: Since = "30d",
    until: Annotated[str | None, typer.Option(help="… and before: as for --since; default: now.")] = None,
    store: Annotated[
        str | None, typer.Option(metavar="DIR|URL", help="A folder or a blob endpoint; default: MEDIC_STORE.")
    ] = None,
    *,
    as_json: AsJson = False,
    is_all: Annotated[bool, typer.Option("--all", help="Show every decision, also those that stay.")] = False,
) -> None:
    """Decide again on stored incidents by another policy, and tell what changes and by which guard. Reads only.

    Exit 1 if a decision changes or cannot be replayed: its evidence has expired, or an older version recorded it; also
    if there is none in that time.
    """
    from local.commands import replaying
    from remediations.model import Mode

    code = replaying.replay(
        str(policy),
        mode=None if mode is None else Mode(mode),
        since=since,
        until=until,
        store=store,
        as_json=as_json,
        is_all=is_all,
    )
    raise typer.Exit(code)


@audit.command("list")
def audit_list(
    *,
    since: OpenedSince = None,
    until: OpenedUntil = None,
    incident: OfIncident = None,
    workspace: OfWorkspace = None,
    action: OfAction = None,
    end: OfEnd = None,
    cause: OfCause = None,
    actor: OfActor = None,
    as_json: AsJson = False,
) -> None:
    """List the incidents, the newest first. Each filter may be repeated: one of its values has to hold."""
    from local.commands import records
    from local.commands.selecting import Given

    given = Given(
        since=since,
        until=until,
        incident=incident,
        workspace=workspace,
        action=action,
        end=end,
        cause=cause,
        actor=actor,
    )
    raise typer.Exit(records.audit_list(given, as_json=as_json))


@audit.command("export")
def audit_export(
    *,
    since: OpenedSince = None,
    until: OpenedUntil = None,
    incident: OfIncident = None,
    workspace: OfWorkspace = None,
    action: OfAction = None,
    end: OfEnd = None,
    cause: OfCause = None,
    actor: OfActor = None,
    stage: Annotated[
        list[str] | None, typer.Option(metavar="STAGE", help="Only such records: decision, intent, vote, end …")
    ] = None,
    form: Annotated[
        Literal["jsonl", "csv"], typer.Option("--format", help="The trail's own lines, or rows for a spreadsheet.")
    ] = "jsonl",
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where to write it; never over a file. - is stdout, the default.")
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(metavar="INCIDENT", help="Write this ended incident as a scenario to rehearse instead."),
    ] = None,
) -> None:
    """Write audit records for other programs, incident by incident, the oldest first.

    Filters choose incidents, whole; --actor and --stage choose among their records. One that is repeated holds if any
    of its values does.
    """
    from local.commands import audit_export as exporting
    from local.commands.selecting import Given

    given = Given(
        since=since,
        until=until,
        incident=incident,
        workspace=workspace,
        action=action,
        end=end,
        cause=cause,
        actor=actor,
        stage=stage,
    )
    if scenario is not None:
        from local.commands import audit_scenario

        if given != Given() or form != "jsonl":
            raise typer.BadParameter("--scenario writes one incident as YAML: it takes --output, and nothing else.")
        raise typer.Exit(audit_scenario.export_scenario(scenario, output=_file(output)))
    raise typer.Exit(exporting.export(given, form=form, output=_file(output)))


def _file(output: str | None) -> str | None:
    """Give the file to write; None for stdout, which is ``-`` too."""
    return None if output == "-" else output


@audit.command("show")
def audit_show(
    incident: Annotated[str, typer.Argument(help="An incident's id, or the beginning of it.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Tell one incident, record by record."""
    from local.commands import records

    raise typer.Exit(records.audit_show(incident, as_json=as_json))


@audit.command("verify")
def audit_verify(
    *,
    store: Annotated[str | None, typer.Option(metavar="DIR|URL", help="A store, or a copy of its trail.")] = None,
    against: Annotated[
        str | None, typer.Option("--checkpoint", metavar="FILE", help="A checkpoint that was kept elsewhere.")
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="PUBLIC", help="Who may have signed, or a file of it. Default: our own key."),
    ] = None,
    proof: Annotated[
        str | None, typer.Option(metavar="FILE", help="Check what `medic audit prove` wrote; no trail is read.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check offline that no record was changed, moved, put in or taken out. Exit 1 if one was, or may have been."""
    from local.commands import proving

    if proof is not None:
        if store is not None or against is not None:
            raise typer.BadParameter("--proof needs neither --store nor --checkpoint.")
        raise typer.Exit(proving.verify_proof(proof, keys=keys or [], as_json=as_json))
    raise typer.Exit(proving.verify(store=store, against=against, keys=keys or [], as_json=as_json))


@audit.command("anchor")
def audit_anchor(*, as_json: AsJson = False) -> None:
    """Sign the state of the trail now, if it has grown. The app does so every quarter of an hour."""
    from local.commands import proving

    raise typer.Exit(proving.anchor(as_json=as_json))


@audit.command("prove")
def audit_prove(
    incident: Annotated[str, typer.Argument(help="An incident's id, or the beginning of it.")],
    record: Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Of the record: `audit show --json` has it.")],
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where to write it; - is stdout, the default.")
    ] = None,
) -> None:
    """Write a proof that one record was there when the last checkpoint was taken; it holds without the trail."""
    from local.commands import proving

    raise typer.Exit(proving.prove(incident, record=record, output=_file(output)))


@audit.command("key")
def audit_key(*, new: Annotated[bool, typer.Option("--new", help="Make a pair.")] = False) -> None:
    """Print the public key that verifies our checkpoints."""
    from local.commands import proving

    raise typer.Exit(proving.key(is_new=new))


@approvals.callback()
def approvals_default(
    ctx: typer.Context, to: AppUrl = _LOCAL, scope: AppScope = None, *, as_json: AsJson = False
) -> None:
    """Questions that wait for a person: list, show, approve and reject them, through the app's API."""
    if ctx.invoked_subcommand is None:
        approvals_list(to, scope, as_json=as_json)
    elif (to, scope, as_json) != (_LOCAL, None, False):
        raise typer.BadParameter(f"write the options behind {ctx.invoked_subcommand}, not before it.")


@approvals.command("list")
def approvals_list(to: AppUrl = _LOCAL, scope: AppScope = None, *, as_json: AsJson = False) -> None:
    """List the open questions: what would be done, until when, and whether you are asked."""
    from local.commands import approvals as questions

    raise typer.Exit(questions.listing(to=to, scope=scope, as_json=as_json))


@approvals.command("show")
def approvals_show(
    incident: AskedIncident, to: AppUrl = _LOCAL, scope: AppScope = None, *, as_json: AsJson = False
) -> None:
    """Show all that you need to decide: calls, what they reach, what has changed, what guards say."""
    from local.commands import approvals as questions

    raise typer.Exit(questions.show(incident, to=to, scope=scope, as_json=as_json))


@approvals.command("approve")
def approvals_approve(
    incident: AskedIncident,
    comment: Annotated[str, typer.Option(metavar="TEXT", help="What to put on the trail beside it.")] = "",
    typed: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="NAME", help="What will be deleted: each name, in the order shown."),
    ] = None,
    to: AppUrl = _LOCAL,
    scope: AppScope = None,
    *,
    yes: Sure = False,
    as_json: AsJson = False,
) -> None:
    """Show a question and approve it. On a terminal you are asked once more. Exit 1 if it is not taken."""
    from local.commands import approvals as questions

    given = questions.Given(approves=True, comment=comment, typed=tuple(typed or ()), is_sure=yes)
    raise typer.Exit(questions.answer(incident, given, to=to, scope=scope, as_json=as_json))


@approvals.command("reject")
def approvals_reject(
    incident: AskedIncident,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; whoever is on call reads it next.")],
    to: AppUrl = _LOCAL,
    scope: AppScope = None,
    *,
    yes: Sure = False,
    as_json: AsJson = False,
) -> None:
    """Show a question and reject it: nothing is done then. Exit 1 if the answer is not taken."""
    from local.commands import approvals as questions

    given = questions.Given(approves=False, comment=reason, is_sure=yes)
    raise typer.Exit(questions.answer(incident, given, to=to, scope=scope, as_json=as_json))


@app.command(rich_help_panel=_TRAIL)
def undo(
    incident: Annotated[str, typer.Argument(metavar="INCIDENT", help="An incident's id, or the beginning of it.")],
    call: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Which of its calls; needed if several can be undone.")
    ] = None,
    comment: Annotated[str, typer.Option(metavar="TEXT", help="Why; whoever approves it reads that.")] = "",
    to: AppUrl = _LOCAL,
    scope: AppScope = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    yes: Sure = False,
    as_json: AsJson = False,
) -> None:
    """Show what undoing a call of an incident would do, then ask for it; somebody else has to approve it.

    Exit 1 if it cannot be undone, would be refused, or is not yours to ask for.
    """
    from local.commands import undo as undoing

    wish = undoing.Wish(call=call, comment=comment, only_shows=dry_run, is_sure=yes)
    raise typer.Exit(undoing.undo(incident, wish, to=to, scope=scope, as_json=as_json))


@app.command(rich_help_panel=_TRAIL)
def pause(
    until: Annotated[str | None, typer.Option(metavar="TIME", help="+2h, or a time such as 2026-11-23T08:00Z.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; refusals say it.")] = None,
    subscription: Annotated[str, typer.Option(metavar="GLOB")] = "*",
    resource_group: Annotated[str, typer.Option(metavar="GLOB")] = "*",
    workspace: Annotated[str, typer.Option(metavar="GLOB")] = "*",
    *,
    endpoint: Annotated[str, typer.Option(metavar="GLOB", help="Which resources; all four must match.")] = "*",
    listed: Annotated[bool, typer.Option("--list", help="Only list the pauses that hold now.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --list: in JSON.")] = False,
) -> None:
    """Stop all repairs in a scope until a time. It cannot be taken back: the trail never forgets, so keep it short."""
    from local.commands import records
    from remediations.policy import Scope

    if listed:
        raise typer.Exit(records.pauses(as_json=as_json))
    if until is None or reason is None:
        raise typer.BadParameter("a pause needs --until and --reason; --list shows those that hold.")
    scope = Scope(subscription=subscription, resource_group=resource_group, workspace=workspace, endpoint=endpoint)
    raise typer.Exit(records.pause(until=until, reason=reason, scope=scope))


# ---------------------------------------------------------------------------------------------- set-up


@policy.command("check")
def policy_check(
    file: Annotated[str | None, typer.Argument(help="Default: MEDIC_POLICY, else the shipped one.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Read a policy as the app would. Exit 2 if it cannot be used, 1 if something in it cannot be meant."""
    from local.commands import setup

    raise typer.Exit(setup.policy_check(file, as_json=as_json))


@policy.command("schema")
def policy_schema() -> None:
    """Write the JSON Schema of policy.yaml, for editors and pipelines."""
    from local.commands import setup

    raise typer.Exit(setup.policy_schema())


@app.command(rich_help_panel=_SETUP)
def doctor(*, as_json: AsJson = False) -> None:
    """Look whether settings, policy, store, Azure, our rights, the app, keys and channels can be used; tell the command
    that helps where one cannot, and exit 1. Nothing is written or posted."""
    from local.commands import doctor as commands

    raise typer.Exit(commands.doctor(as_json=as_json))


app.add_typer(events, name="events", rich_help_panel=_FAILURES)
app.add_typer(audit, name="audit", rich_help_panel=_TRAIL)
app.add_typer(approvals, name="approvals", rich_help_panel=_TRAIL)
app.add_typer(policy, name="policy", rich_help_panel=_SETUP)


def main() -> None:
    """Run the command of this process. A terminal that cannot show a character gets a mark in its place."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        try:
            app(prog_name="medic")
        finally:
            if sys.stdout is not None:  # its descriptor was closed
                sys.stdout.flush()
    except OSError as error:
        if error.errno not in _UNWRITABLE:  # not about stdout
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or leaving would try to write the rest
        if isinstance(error, BrokenPipeError):  # whoever read it has enough
            sys.exit(terminal.DIFFERS)
        terminal.complain(f"the answer cannot be written: {error.strerror}.")
        sys.exit(terminal.MISUSED)


if __name__ == "__main__":
    main()

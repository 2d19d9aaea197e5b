"""The command line tool `cdk-buildkit`: connects this machine to a fleet, writes cache options, and disconnects."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer

from buildkit_ops import connecting
from buildkit_ops.account import Account
from buildkit_ops.architecture import Architecture
from buildkit_ops.buildx import Buildx
from buildkit_ops.cache_flags import Branch, Form, fleet_flags, registry_flags, with_own, write
from buildkit_ops.connection import Connections
from buildkit_ops.failures import NOTHING_CONNECTED, ToolError
from buildkit_ops.fleet_outputs import FleetOutputs
from buildkit_ops.github_job import GithubJob, connect_job, error_command
from buildkit_ops.progress import progress
from buildkit_ops.registry_cache import read_repository
from buildkit_ops.retrying import retry as run_with_retry

app = typer.Typer(
    help="Builds on a fleet of BuildKit builders, without a cache credential.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # they may be secrets
    rich_markup_mode=None,
)

Stack = Annotated[str, typer.Argument(help="The fleet's stack, as `cdk list` shows it.")]
Region = Annotated[str | None, typer.Option(help="The fleet's region. Default: the environment's.")]
Profile = Annotated[str | None, typer.Option(help="The profile of AWS. Default: the environment's.")]
Architectures = Annotated[list[Architecture] | None, typer.Option("--architecture", help="Repeatable. Default: all.")]
Json = Annotated[bool, typer.Option("--json", help="Answer, and say what is wrong, in JSON.")]


def main() -> None:
    """Run the command line."""
    app(prog_name="cdk-buildkit")


@app.command()
def connect(
    stack: Stack,
    *,
    builder: Annotated[str, typer.Option(help="The name that buildx gets for it.")] = "fleet",
    architecture: Architectures = None,
    waiting_jobs: Annotated[int, typer.Option(min=0, help="Wake it for so many of each; 0: do not wake it.")] = 1,
    timeout: Annotated[float, typer.Option(min=0, help="Minutes to wait for builders.")] = 10,
    in_cluster: Annotated[bool, typer.Option("--in-cluster", help="Reach the services of the cluster.")] = False,
    through_ssm: Annotated[
        bool, typer.Option("--through-ssm", help="Reach builders through Session Manager, from outside the VPC.")
    ] = False,
    use: Annotated[bool, typer.Option("--use", help="Make it buildx's default.")] = False,
    region: Region = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Make a builder of buildx that is a fleet: its certificate, its waking, a node for every architecture."""
    with _answering(as_json=as_json), progress() as tell:
        connection = connecting.connect(
            Account(region=region, profile=profile),
            stack,
            connecting.Wish(
                builder=builder,
                architectures=tuple(architecture or ()),
                waiting_jobs=waiting_jobs,
                minutes=timeout,
                in_cluster=in_cluster,
                through_ssm=through_ssm,
                use=use,
            ),
            buildx=Buildx.find(),
            connections=Connections(),
            tell=tell,
        )
    _answer(f"connected: docker buildx build --builder {connection.builder} ...", asdict(connection), as_json=as_json)


@app.command()
def flags(
    stack: Stack,
    *,
    project: Annotated[str, typer.Option(help="The project whose cache it is, for example its repository's name.")],
    branch: Annotated[str, typer.Option(help="The branch that is built.")],
    default_branch: Annotated[
        str | None, typer.Option(help="The branch whose cache serves while this one has none.")
    ] = None,
    form: Annotated[Form, typer.Option(help="How they are written.")] = Form.BUILD,
    target: Annotated[str, typer.Option(help="With --form bake: the target.")] = "default",
    repository: Annotated[str | None, typer.Option(help="With --form ecr: the repository's URI.")] = None,
    cache_from: Annotated[list[str] | None, typer.Option(help="A further import of your own. Repeatable.")] = None,
    cache_to: Annotated[list[str] | None, typer.Option(help="A further export of your own. Repeatable.")] = None,
    architecture: Architectures = None,
    region: Region = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Write the cache options of a branch's build: it imports what is there, and exports to its own name."""
    with _answering(as_json=as_json):
        account = Account(region=region, profile=profile)
        wish = Branch(project=project, branch=branch, default_branch=default_branch)
        fleet = FleetOutputs.read(stack, account.stack_outputs(stack))
        architectures = tuple(fleet.only(tuple(architecture or ())))
        if form is Form.ECR:
            place = read_repository(repository)
            found = registry_flags(Account(region=place.region, profile=profile), place, wish, architectures)
        else:
            found = fleet_flags(account, fleet, wish, architectures)
        found = with_own(found, cache_from=cache_from or (), cache_to=cache_to or ())
        text = write(found.options, form, target=target)
    answer = {
        **asdict(found.options),
        "arguments": found.options.arguments,
        "imports": found.found,
        "text": text,
    }
    _answer(text, answer, as_json=as_json)


@app.command(context_settings={"allow_interspersed_args": False})
def retry(
    command: Annotated[list[str], typer.Argument(help="The build's command, after `--`.")],
    *,
    builder: Annotated[str | None, typer.Option(help="The builder that it uses. Default: the only one.")] = None,
    timeout: Annotated[float, typer.Option(min=0, help="Minutes to wait for builders.")] = 10,
) -> None:
    """Run a build's command, and once more when it lost its builder. Its output and exit code are the command's."""
    with _answering(as_json=False):
        connections = Connections()
        chosen = connections.choose(builder)
        if not chosen:
            raise ToolError(NOTHING_CONNECTED)
        origin = connections.origin(chosen)

        def wait() -> None:
            account = Account(region=origin.region, profile=origin.profile)
            with progress() as tell:
                connecting.wait_again(account, chosen, minutes=timeout, connections=connections, tell=tell)

        exit_code = run_with_retry(command, wait=wait, say=lambda words: typer.echo(f"cdk-buildkit: {words}", err=True))
    raise typer.Exit(exit_code)


@app.command()
def github_job(
    stack: Stack,
    *,
    builder: Annotated[str, typer.Option(help="The name that buildx gets for it.")] = "fleet",
    architecture: Architectures = None,
    timeout: Annotated[float, typer.Option(min=0, help="Minutes to wait for builders.")] = 10,
    in_cluster: Annotated[bool, typer.Option("--in-cluster", help="Reach the services of the cluster.")] = False,
    region: Region = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Connect the job of GitHub Actions in which it runs, and let its steps have the builder and the cache options."""
    with _answering(as_json=as_json, wording=error_command), progress() as tell:
        connection, found = connect_job(
            Account(region=region, profile=profile),
            stack,
            connecting.Wish(
                builder=builder,
                architectures=tuple(architecture or ()),
                minutes=timeout,
                in_cluster=in_cluster,
                use=True,
            ),
            job=GithubJob.read(os.environ),
            buildx=Buildx.find(),
            connections=Connections(),
            tell=tell,
        )
    imports = f"imports the cache {found.found['name']}" if found.found else "finds no cache yet"
    answer = {**asdict(connection), **asdict(found.options), "imports": found.found}
    _answer(f"connected: this job builds on {stack}, and {imports}", answer, as_json=as_json)


@app.command()
def disconnect(
    *,
    builder: Annotated[str | None, typer.Option(help="Which one. Default: the only one.")] = None,
    as_json: Json = False,
) -> None:
    """Remove a builder from this machine, and its certificate. When nothing is connected there is nothing to do."""
    with _answering(as_json=as_json):
        connections = Connections()
        chosen = connections.choose(builder)
        if chosen:
            connecting.disconnect(chosen, connections=connections)
    _answer(f"disconnected: {chosen}" if chosen else "nothing was connected", {"disconnected": chosen}, as_json=as_json)


@contextmanager
def _answering(*, as_json: bool, wording: Callable[[str], str] = str) -> Iterator[None]:
    """Say what is wrong, and end with its exit code."""
    try:
        yield
    except ToolError as error:
        if as_json:
            code = error.failure.code
            typer.echo(json.dumps({"error": {"code": code, "message": str(error)}}))
        typer.echo(wording(f"cdk-buildkit: {error}"), err=True)
        raise typer.Exit(error.failure.exit_code) from None


def _answer(text: str, answer: dict[str, Any], *, as_json: bool) -> None:
    typer.echo(json.dumps(answer) if as_json else text)

"""`rehearse rules`: the recording and alert rules, as a file for a Prometheus of one's own."""

from __future__ import annotations

from typing import Annotated

import typer

from harness._cli_options import Promise, slo_of


def rules(
    slo: Promise = None,
    time_scale: Annotated[
        float, typer.Option("--time-scale", metavar="NUMBER", help="Of the windows: 1 is production's, 1/120 ours.")
    ] = 1.0,
) -> None:
    """Print the recording and alert rules that every rehearsal runs with, for a Prometheus of your own.

    Windows and factors are those of the SRE workbook; a rehearsal has them 120 times as fast.
    """
    import yaml

    from harness.components.alert_rules import rule_groups

    typer.echo(yaml.safe_dump(rule_groups(slo_of(slo), scale=time_scale), sort_keys=False, width=120), nl=False)

"""``dpm network``: the networks of a node, as its command has them. Nothing of it runs in the service.

What a command needs is imported when it runs, as in ``dpm`` itself.
"""

import typer

from dpm_peer.commands import inviting, kick, leaving, listing, making, peers, rule, shares

app = typer.Typer(
    help="Share what the node holds with the nodes of others, in networks of those who trust each other.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for each in (making, inviting, leaving, listing, peers, kick, rule, shares):
    each.register(app)

"""Commands that refuse an option given twice, of which click would take the last, silently."""

from __future__ import annotations

from collections import Counter

import click
from typer.core import TyperCommand

__all__ = ["OnceCommand"]


class OnceCommand(TyperCommand):
    """A command whose options, but those for several values, are given once."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, after a look at which options are there."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for option, times in Counter(order).items():
            several = isinstance(option, click.Option) and times > 1 and not option.multiple
            if several and not ctx.resilient_parsing:  # as it is while the shell completes
                name = option.opts[-1]
                raise click.UsageError(f"`{name}` needs one value; found it {times} times", ctx)
        return super().parse_args(ctx, args)

"""What to say when a loss is not finite: where in the run, which pictures, and which layer was the first."""

from __future__ import annotations

import numpy as np

from glorext.runtime.errors import GlorextError

SHOWN = 8


class NonFiniteError(GlorextError):
    """The loss or the gradients are inf or nan and no smaller loss scale can help."""

    def __init__(self, epoch, step, loss, rate, scale, layer, paths):
        more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
        super().__init__(
            f"the loss is {loss} at epoch {epoch} step {step} (lr {rate:.6g}, loss scale {scale:g}); the first layer "
            f"whose output is not finite: {layer or 'none, the gradients are what is not finite'}; the batch: "
            f"{', '.join(paths[:SHOWN])}{more}",
            do="Lower lr, warm up for longer, look at the pictures, or pass such steps over with --skip_overflow true.",
        )


def first_nonfinite_layer(net, images, at_once: int) -> str | None:
    """Name of the first layer without sub-layers whose output for `images` holds inf or nan; None if all are finite.

    They go through the network `at_once` at a time.
    """
    found: list[str] = []

    def watch(name):
        def hook(cell, inputs, output):
            outputs = output if isinstance(output, (tuple, list)) else (output,)
            if not found and any(not np.isfinite(o.float().asnumpy()).all() for o in outputs):
                found.append(name)

        return hook

    hooks = [
        cell.register_forward_hook(watch(name))
        for name, cell in net.cells_and_names()
        if name and not list(cell.cells())
    ]
    for first in range(0, len(images), at_once):
        if not found:
            net(images[first : first + at_once])
    for hook in hooks:
        hook.remove()
    return found[0] if found else None

"""The client: from a short name to a ready network, verified to the byte; no downloaded code is ever run."""

from __future__ import annotations

import os

from glorext.models.trained import TrainedModel
from glorext.runtime import UsageError

from .find import FOR_LOADING, IDENTITY, find_model

SOURCES = ("gitee", "github", "local")


def load(name, *args, source: str = "gitee", pretrained: bool = True, force_reload: bool = False, **kwargs):
    """The network called `name`, with its weights, in evaluation state.

    Args:
        name: "resnext50", "resnext50@1.0.0", a MindSpore Hub UID such as "mindspore/1.10/resnext50_imagenet2012" or
            the address of its card there, or the path of a package folder or its card.
        args, kwargs: arguments of the network's constructor, in place of the package's; with another `num_classes`,
            head="new" starts a new classifier on the pretrained features.
        source: "local" takes `name` as a path only. "gitee" and "github" are what the official client calls its two
            sites; here a name always means the registries of GLOREXT_REGISTRIES, then the built-in one.
        pretrained: False gives random weights and downloads none.
        force_reload: ask the registries again for what they hold now. Files are found by their digest, so complete
            ones are not fetched twice.

    Returns:
        mindspore.nn.Cell: pictures (N, 3, H, W) as the package's InputSpec makes them, to logits (N, num_classes).

    Raises:
        NotFoundError: no registry has the name or version.
        IntegrityError: the bytes are not the promised ones.
        DownloadError, RegistryError, PackageError, CheckpointError, UsageError: see there.
    """
    _check_call(name, source, pretrained=pretrained, force_reload=force_reload)
    from glorext import models

    wanted = FOR_LOADING if pretrained else IDENTITY
    model = find_model(name, None, force_reload, wanted, source == "local")
    return model.create(pretrained, **{**_named(models.spec(model.network).constructor, args), **kwargs})


def load_weights(name, source: str = "gitee", force_reload: bool = False) -> dict:
    """The weights published as `name`, for `mindspore.load_param_into_net` or a network of one's own.

    Args:
        name, source, force_reload: as for `load`.

    Returns:
        dict: mindspore.Parameter by its name in the network, whatever names the checkpoint's naming has.
    """
    _check_call(name, source, force_reload=force_reload)
    import mindspore as ms

    from glorext.models import read_checkpoint

    model = find_model(name, None, force_reload, FOR_LOADING, source == "local")
    return {
        key: ms.Parameter(ms.Tensor(array), name=key)
        for key, array in read_checkpoint(model.checkpoint).weights.items()
    }


def _check_call(name, source, **flags) -> None:
    if not isinstance(name, (str, os.PathLike)):
        raise UsageError(expected="a name, a UID or a path", found=type(name).__name__)
    for key, value in flags.items():
        if not isinstance(value, bool):
            raise UsageError(expected=f"{key} to be True or False", found=repr(value))
    if source not in SOURCES:
        raise UsageError(expected=f"source to be one of {', '.join(SOURCES)}", found=repr(source))


def resolve(name, registry=None, force_reload: bool = False) -> TrainedModel:
    """The model behind a name or path, with all files of its package verified.

    Args:
        name: as `load` takes it.
        registry: a folder, an address or several in order, to search instead of GLOREXT_REGISTRIES and the built-in
            one.
        force_reload: see `load`.
    """
    return find_model(name, registry, force_reload)


def _named(constructor, args: tuple) -> dict:
    import inspect

    try:
        return dict(inspect.signature(constructor).bind_partial(*args).arguments)
    except TypeError as error:
        raise UsageError(expected=f"arguments of {constructor.__name__}", found=str(error)) from error

"""Batch norms that normalize by the pictures of all devices: the same parameters, on devices that have it."""

from mindspore import nn


def sync_batch_norms(net) -> None:
    """Make each batch norm of `net` use the mean and variance over all devices in training, as nn.SyncBatchNorm does.

    Parameters, their names and what is computed outside training stay. The devices must have been joined.
    """
    for _, cell in list(net.cells_and_names()):
        if isinstance(cell, nn.BatchNorm2d):
            # MindSpore's cells keep 1 - momentum.
            cell.bn_train = nn.SyncBatchNorm(cell.num_features, cell.eps, 1 - cell.momentum).bn_train

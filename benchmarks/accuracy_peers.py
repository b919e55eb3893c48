"""PyTorch's side of the accuracy benchmark: accuracy_peers.py PEER TREE SEED SETTINGS, all of them of one run.

PEER is "torchvision" or "timm": whose network, data loading and optimizer train, as its reference script puts them
together. Prints one line of JSON: top-1 after the last epoch, and seconds of an epoch with its evaluation.
"""

import json
import statistics
import sys
import time

import torch


def by_torchvision(tree, batch, size, weight_decay, momentum):
    """Network, optimizer and loaders as torchvision's reference script for classification has them."""
    import torchvision
    from torchvision import transforms as t

    net = torchvision.models.resnext50_32x4d(num_classes=10, zero_init_residual=True)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]  # its --norm-weight-decay 0 --bias-weight-decay 0
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}], 0.0, momentum
    )
    steps = t.Compose(
        [t.Resize((size, size)), t.PILToTensor(), t.ConvertImageDtype(torch.float), t.Normalize([0.5] * 3, [0.5] * 3)]
    )
    sets = [torchvision.datasets.ImageFolder(f"{tree}/{part}", steps) for part in ("train", "val")]
    loaders = [
        torch.utils.data.DataLoader(
            one, batch, shuffle=part == 0, num_workers=1, drop_last=part == 0, persistent_workers=True
        )
        for part, one in enumerate(sets)
    ]
    return net, optimizer, loaders


def by_timm(tree, batch, size, weight_decay, momentum):
    """Network, optimizer and loaders as timm's script for training has them."""
    import timm
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2

    net = timm.create_model("resnext50_32x4d", num_classes=10)
    optimizer = create_optimizer_v2(net, opt="momentum", lr=0.1, weight_decay=weight_decay, momentum=momentum)
    loaders = [
        create_loader(
            create_dataset("", root=tree, split=part, is_training=part == "train"),
            input_size=(3, size, size),
            batch_size=batch,
            is_training=part == "train",
            no_aug=True,
            crop_pct=1.0,
            crop_mode="squash",
            mean=[0.5] * 3,
            std=[0.5] * 3,
            num_workers=1,
            use_prefetcher=False,
            interpolation="bilinear",
        )
        for part in ("train", "val")
    ]  # fmt: skip
    return net, optimizer, loaders


PEERS = {"torchvision": by_torchvision, "timm": by_timm}


def main() -> None:
    """Train and evaluate for some epochs."""
    peer, tree, seed, settings = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
    torch.manual_seed(seed)
    torch.set_num_threads(settings["cores"])
    net, optimizer, (train, val) = PEERS[peer](
        tree, settings["batch"], settings["size"], settings["weight_decay"], settings["momentum"]
    )
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=settings["smoothing"])
    rates, seconds, top1 = iter(settings["rates"]), [], 0.0
    for _ in range(settings["epochs"]):
        begun = time.perf_counter()
        net.train()
        for images, targets in train:
            rate = next(rates)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = loss_of(net(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.inference_mode():
            right = [(net(images).argmax(1) == targets).float() for images, targets in val]
        top1 = torch.cat(right).mean().item()
        seconds.append(time.perf_counter() - begun)
    print(json.dumps({"top1": top1, "seconds": statistics.median(seconds)}))


if __name__ == "__main__":
    main()

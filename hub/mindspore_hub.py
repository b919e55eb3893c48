"""The module `mindspore_hub`: the official client's calls, answered by glorext.

A single file on purpose: where the official package of that name (a folder) is installed, it wins.
"""

from glorext.hub import get_hub_dir, hub_list, info, list, load, load_weights, set_hub_dir

__all__ = ["get_hub_dir", "hub_list", "info", "list", "load", "load_weights", "set_hub_dir"]

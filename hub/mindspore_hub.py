"""The module `mindspore_hub`: the official client's calls, answered by glorext.

Where the official package of that name is installed, it wins. It is a folder and this a single file: Python itself
takes a folder that stands beside this file; to one that stands later on the path this file hands over.
"""

import sys
from importlib.util import module_from_spec

from glorext.hub import get_hub_dir, hub_list, info, list, load, load_weights, set_hub_dir
from glorext.hub.official import NAME, official_client

__all__ = ["get_hub_dir", "hub_list", "info", "list", "load", "load_weights", "set_hub_dir"]

_official = official_client() if __name__ == NAME else None
if _official is not None and _official.loader is not None:
    # An import gives what sys.modules has under the name when the file has run.
    sys.modules[NAME] = module_from_spec(_official)
    _official.loader.exec_module(sys.modules[NAME])

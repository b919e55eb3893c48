"""How models are published and loaded by name."""

from .cache import get_hub_dir, set_hub_dir
from .client import Package, load, load_weights, resolve
from .listing import hub_list, info
from .listing import hub_list as list

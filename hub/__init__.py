"""How models are published, found and loaded by name."""

from .cache import get_hub_dir, set_hub_dir
from .client import load, load_weights, resolve
from .download import progress
from .listing import hub_list, info
from .listing import hub_list as list
from .open_model import open_model

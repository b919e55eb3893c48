"""The table of all families: everything in this folder that depends on a network looks it up here."""

from .family import Family
from .glore_family import GLORE
from .glore_v2_family import GLORE_V2
from .resnext_family import RESNEXT

FAMILIES: dict[str, Family] = {family.name: family for family in (RESNEXT, GLORE, GLORE_V2)}

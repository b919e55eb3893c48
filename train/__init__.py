"""How the networks are trained: recipes, data, schedules, the loop, evaluation. Importing it imports no MindSpore."""

import inspect
import sys
from types import ModuleType

from .api import train
from .callbacks import Callback
from .recipe import Recipe
from .recipe_file import load_recipe, recipe_names
from .schedules import learning_rates


class _Callable(ModuleType):
    """`glorext.train(...)` is the function, `glorext.train.load_recipe` what is in the room."""

    __call__ = staticmethod(train)


sys.modules[__name__].__class__ = _Callable
__signature__, __wrapped__ = inspect.signature(train), train  # what notebooks and help() show

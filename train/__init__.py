"""How the networks are trained: recipes, data, schedules, the loop, evaluation. Importing it imports no MindSpore."""

from .recipe import Recipe
from .recipe_file import load_recipe, recipe_names
from .schedules import learning_rates

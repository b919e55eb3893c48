"""What the networks are: their specs, their input, their checkpoints. Importing this does not import MindSpore."""
from .checkpoint import Checkpoint, load_checkpoint_into, read_checkpoint, save_checkpoint, weights_digest
from .input_spec import InputSpec
from .specs import ModelSpec, PublishedResult, create, names, spec

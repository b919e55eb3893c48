"""What every room stands on: errors, files, environment, the device, the command line."""

from . import env
from .device import cap_onednn, prepare, set_device
from .errors import (
    AccuracyError,
    CheckpointError,
    ConversionError,
    DataError,
    DeviceError,
    DiskFullError,
    DownloadError,
    ExportError,
    GlorextError,
    InferenceError,
    IntegrityError,
    MissingFileError,
    NotFoundError,
    PackageError,
    RecipeError,
    RegistryError,
    SetupError,
    UsageError,
    printable,
)
from .files import (
    atomic_dir,
    atomic_path,
    json_bytes,
    parse_json,
    read_json,
    require_space,
    sha256_bytes,
    sha256_file,
    write_json,
)
from .log import get_logger


def version() -> str:
    """The version of glorext."""
    from glorext import __version__

    return __version__

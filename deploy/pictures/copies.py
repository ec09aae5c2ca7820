"""The parts of a data set as folders, to be taken elsewhere."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from deploy.pictures.split_files import Dataset
from edge.errors import ConfigError
from edge.images import path_text


def require_free(folder: Path) -> None:
    """Refuse a place for `copy_parts` at which something stands.

    Raises:
        ConfigError: it is a file, or a folder that is not empty.
    """
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise ConfigError(f"{path_text(folder)} is not an empty folder: expected one, or a name that is not taken.")


def copy_parts(dataset: Dataset, folder: Path) -> None:
    """Make FOLDER/PART/CLASS/PICTURE of hard links, or of copies on another file system.

    Folders within a class are joined to the name of the picture, as `edge evaluate` takes the folder that a picture
    lies in for its class. All is made beside `folder` and renamed at the end.

    Raises:
        ConfigError: something stands there already, or it cannot be written.
    """
    require_free(folder)
    folder = Path(os.path.abspath(folder))
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        for picture in dataset.pictures:
            target = partial / picture.part / dataset.classes[picture.class_id]
            target.mkdir(parents=True, exist_ok=True)
            name = "_".join(picture.path.relative_to(dataset.root).parts[1:])
            if (target / name).exists():
                name = f"{hashlib.sha256(bytes(picture.path)).hexdigest()}_{name}"
            source = os.path.realpath(picture.path)  # a link to a link would lead elsewhere
            try:
                os.link(source, target / name)
            except OSError:
                shutil.copy2(source, target / name)
        partial.rename(folder)
    except OSError as error:
        raise ConfigError(f"Cannot copy to {path_text(folder)}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)

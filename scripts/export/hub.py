"""Uploads an exported folder to the hub, by huggingface_hub and the login that it has."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path


def repository_name(text: str) -> str:
    """Parse the name of a repository, OWNER/NAME."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not re-exported for checkers

    try:
        validate_repo_id(text)
    except HFValidationError:
        valid = False
    else:
        valid = "/" in text
    if not valid:
        raise argparse.ArgumentTypeError(f"{text} is no name of a repository; type OWNER/NAME, such as me/my_policy")
    return text


def push(folder: Path, repository: str) -> str:
    """Create the repository where it is missing and upload the folder; returns its address.

    Raises ValueError, in one sentence, where the hub refuses or cannot be reached; the folder stays.
    """
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(repository, repo_type="model", exist_ok=True)
        api.upload_folder(repo_id=repository, repo_type="model", folder_path=folder)
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, httpx.HTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"--push {repository} failed ({reason}); {folder} is complete: type hf auth login, "
            f"then hf upload {repository} {shlex.quote(str(folder))}"
        ) from error
    return f"https://huggingface.co/{repository}"

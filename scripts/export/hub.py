"""Uploads an exported folder to the hub, by huggingface_hub and the login that it has."""

from __future__ import annotations

from pathlib import Path


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
            f"--push {repository} failed ({reason}); {folder} is complete, hf auth login and try again"
        ) from error
    return f"https://huggingface.co/{repository}"

"""A published folder onto the Hub: one commit, and a tag if wanted."""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from asterisk.core.checksums import verify_checksums
from asterisk.core.errors import UserError

REFUSED = (401, 403)


@dataclass
class PushOptions:
    """Where a folder goes, and how."""

    repo_id: str
    public: bool = False
    # A branch, made if it is not there.
    revision: str = ""
    # Names the commit.
    tag: str = ""
    create_pr: bool = False


def check_push(options: PushOptions) -> None:
    """Refuses what the Hub would refuse, before anything is computed.

    Raises:
        UserError: The repository has no name that the Hub takes, or a pull request is to be tagged.
    """
    try:
        validate_repo_id(options.repo_id)
        named = options.repo_id.count("/") == 1
    except HFValidationError:
        named = False
    if not named:
        raise UserError(f"--repo_id must be of the form owner/name, not {options.repo_id!r}.")
    if options.create_pr and options.tag:
        raise UserError("--tag names a commit that users load, not a pull request; give one of --tag and --create_pr.")


def check_published(folder: Path) -> list[Path]:
    """The files of a published folder.

    Raises:
        UserError: The folder is not whole.
    """
    return verify_checksums(folder, "publish the checkpoint again")


def list_files(folder: Path) -> str:
    """What would be uploaded: a line for each file with its size, and the sum.

    Raises:
        UserError: The folder is not whole.
    """
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in check_published(folder)}
    lines = [f"{size:>14,}  {name}" for name, size in sizes.items()]
    return "\n".join([*lines, f"{sum(sizes.values()):>14,}  bytes in {len(sizes)} files"])


def push_folder(folder: Path, options: PushOptions) -> str:
    """Uploads the folder in one commit; what the Hub has already, also of an interrupted upload, is not sent again.

    The token is that of `HF_TOKEN` or of `hf auth login`. A new repository is private, unless `options.public`.

    Returns:
        The address of the commit or the pull request.

    Raises:
        UserError: The folder is not whole, or the Hub refuses, fails or cannot be reached.
    """
    check_push(options)
    check_published(folder)
    api = HfApi(library_name="asterisk")
    repository, branch = options.repo_id, options.revision or None
    try:
        api.create_repo(repository, private=not options.public, exist_ok=True)
        if branch and not options.create_pr:
            api.create_branch(repository, branch=branch, exist_ok=True)
        if options.tag and options.tag in [tag.name for tag in api.list_repo_refs(repository).tags]:
            raise UserError(f"{repository} has a tag {options.tag} already; give another --tag.")
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=branch,
            commit_message=f"Publish {repository.partition('/')[2]}" + (f" {options.tag}" if options.tag else ""),
            create_pr=options.create_pr,
        )
        if options.tag:
            api.create_tag(repository, tag=options.tag, revision=commit.oid)
    except UserError:
        raise
    except Exception as error:  # of the client's many kinds, from refused tokens to lost connections
        raise UserError(_sentence(error, repository)) from None
    return str(commit.pr_url or commit.commit_url)


def _sentence(error: BaseException, repository: str) -> str:
    """What went wrong; never the token, which is in no part of what is told."""
    while not isinstance(error, HfHubHTTPError) and error.__cause__ is not None:
        error = error.__cause__
    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None
    if status in REFUSED:
        return (
            f"The Hub refuses to write to {repository} ({status}): set HF_TOKEN, or log in with `hf auth login`, to a "
            "token that may."
        )
    if isinstance(error, OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE is set, so nothing can be pushed to {repository}; unset it."
    reason = f"status {status}" if status else type(error).__name__
    return f"The upload to {repository} failed ({reason}); the same command goes on where it stopped."

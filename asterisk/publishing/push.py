"""Push a published folder to the Hub in one commit, with an optional tag."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from asterisk.core.checksums import verify_checksums
from asterisk.core.errors import UserError
from asterisk.publishing.arguments import PushArguments

REFUSED = (401, 403)


def check_push(arguments: PushArguments) -> None:
    """Raise a [`UserError`] for arguments that the Hub would refuse, before anything is computed."""
    try:
        validate_repo_id(arguments.repo_id)
        valid = arguments.repo_id.count("/") == 1
    except HFValidationError:
        valid = False
    if not valid:
        raise UserError(f"--repo_id must have the form owner/name, not {arguments.repo_id!r}.")
    if arguments.create_pr and arguments.tag:
        raise UserError("A pull request cannot be tagged; give either --tag or --create_pr.")


def check_published(folder: Path) -> list[Path]:
    """Return the files of a published folder; raise a [`UserError`] if one is missing, changed or unknown."""
    return verify_checksums(folder, "publish the checkpoint again")


def list_files(folder: Path) -> str:
    """List the files that a push would upload: a line with the size of each file, then the total."""
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in check_published(folder)}
    lines = [f"{size:>14,}  {name}" for name, size in sizes.items()]
    return "\n".join([*lines, f"{sum(sizes.values()):>14,}  bytes in {len(sizes)} files"])


def push_folder(folder: Path, arguments: PushArguments) -> str:
    """Upload the folder in one commit.

    Files that the Hub already has, even from an interrupted upload, are not sent again. The token comes from
    `HF_TOKEN` or `hf auth login`. A new repository is private unless `arguments.public`.

    Returns:
        The URL of the commit or the pull request.

    Raises:
        UserError: The folder is incomplete, or the Hub refuses, fails or cannot be reached.
    """
    check_push(arguments)
    check_published(folder)
    api = HfApi(library_name="asterisk")
    repository, branch = arguments.repo_id, arguments.revision or None
    try:
        api.create_repo(repository, private=not arguments.public, exist_ok=True)
        if branch and not arguments.create_pr:
            api.create_branch(repository, branch=branch, exist_ok=True)
        if arguments.tag and arguments.tag in [tag.name for tag in api.list_repo_refs(repository).tags]:
            raise UserError(f"{repository} already has a tag {arguments.tag}; give another --tag.")
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=branch,
            commit_message=f"Publish {repository.partition('/')[2]} {arguments.tag}".strip(),
            create_pr=arguments.create_pr,
        )
        if arguments.tag:
            api.create_tag(repository, tag=arguments.tag, revision=commit.oid)
    except UserError:
        raise
    except Exception as error:  # the client raises many kinds
        raise UserError(_message(error, repository)) from None
    return str(commit.pr_url or commit.commit_url)


def _message(error: BaseException, repository: str) -> str:
    """Describe the failure without quoting the error, which may hold the token."""
    while not isinstance(error, HfHubHTTPError) and error.__cause__ is not None:
        error = error.__cause__
    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None
    if status in REFUSED:
        return (
            f"The Hub refuses to write to {repository} ({status}); give a token with write access in HF_TOKEN or with "
            "`hf auth login`."
        )
    if isinstance(error, OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE is set, so nothing can be pushed to {repository}; unset it."
    reason = f"status {status}" if status else type(error).__name__
    return f"The upload to {repository} failed ({reason}); run the same command again to continue it."

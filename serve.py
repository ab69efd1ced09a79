"""Serve a published embedding model over HTTP, as OpenAI's /v1/embeddings.

    python serve.py release/demo
    python serve.py release/demo --form model_int8 --threads 2 --port 8080
    curl http://127.0.0.1:8000/v1/embeddings --json '{"input": ["A man plays the guitar.", "It rains."]}'

publish.py writes the folder. `input` is a non-empty text or a list of them; the model truncates long texts,
and `usage` counts the tokens that it reads. `dimensions` truncates the embeddings and normalises them again.
`encoding_format` is float or base64. Any `model` is accepted; the answer and GET /v1/models name the folder. Requests
that wait together are embedded together. GET and HEAD /health answer 200 once the model is loaded. SIGTERM and Ctrl-C
stop the service after it has answered the requests it received. There is neither authentication nor encryption: keep
the service on this machine or behind a proxy that provides both.
"""

import importlib.util
import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import asterisk
from asterisk.core.arguments import option, parse_arguments
from asterisk.core.errors import UserError, entry_point
from asterisk.core.processes import require_one_process

HOSTS = ("127.0.0.1", "0.0.0.0", "::")


@dataclass
class ServiceArguments:
    """Service: the folder to serve and its address."""

    folder: str = option("", "a Hub folder of publish.py; may stand first, without the flag")
    host: str = option("127.0.0.1", f"one of {', '.join(HOSTS)}")
    port: int = option(8000, "from 1024 to 65535")
    form: str = option(
        "", "the ONNX file: model, model_fp16, model_quantized or model_int8 (default: the first that exists)"
    )
    threads: int = option(0, "computing threads; 0 leaves the choice to onnxruntime")


@dataclass
class LimitArguments:
    """Limits: how much a request may ask for."""

    max_body_bytes: int = option(8_388_608, "bytes of a request; more is answered with 413")
    max_texts: int = option(2_048, "texts of a request; more are answered with 400")
    max_waiting: int = option(256, "waiting requests; more get 429, and those that wait half a minute get 503")


@dataclass
class ServeArguments(LimitArguments, ServiceArguments):
    """All arguments of serve.py."""


@entry_point
def main() -> None:
    """Check the arguments, then start the service."""
    require_one_process()
    arguments = parse_arguments(ServeArguments, __doc__ or "", first="folder")
    check(arguments)
    from asterisk.models.onnx import OnnxEmbedder, onnx_file

    try:
        file = onnx_file(Path(arguments.folder), arguments.form)
        dimensions = OnnxEmbedder(file, arguments.threads).dimensions
    except ValueError as error:
        raise UserError(str(error)) from error
    settings = {name: value for name, value in vars(arguments).items() if name not in ("folder", "form")}
    become_service(
        {**settings, "file": str(file), "name": file.parent.parent.resolve().name, "dimensions": dimensions}
    )


def check(arguments: ServeArguments) -> None:
    """Refuse wrong arguments before anything is loaded."""
    if not arguments.folder:
        raise UserError("The folder is missing; --help shows whole commands.")
    if importlib.util.find_spec("fastapi") is None:
        raise UserError("Serving needs fastapi and uvicorn; pip install '.[serve]' installs it.")
    if arguments.host not in HOSTS:
        raise UserError(f"--host must be one of {', '.join(HOSTS)}, not {arguments.host!r}.")
    if not 1024 <= arguments.port <= 65535:
        raise UserError(f"--port must lie between 1024 and 65535, not {arguments.port}.")
    for name, least in (("threads", 0), ("max_body_bytes", 1), ("max_texts", 1), ("max_waiting", 1)):
        if getattr(arguments, name) < least:
            raise UserError(f"--{name} must be at least {least}, not {getattr(arguments, name)}.")
    with socket.socket(socket.AF_INET6 if ":" in arguments.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((arguments.host, arguments.port))
        except OSError as error:
            place = f"{arguments.host}:{arguments.port}"
            raise UserError(f"{place} is not available ({error.strerror}); give another --port.") from None


def become_service(settings: dict[str, object]) -> None:
    """Replace this process with one that has not loaded transformers; the process id stays the same for signals."""
    root = Path(asterisk.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    if settings["threads"]:
        environment["RAYON_NUM_THREADS"] = str(settings["threads"])  # read by the tokenizer
    sys.stdout.flush()
    command = [sys.executable, "-P", "-m", "asterisk.serving.service", json.dumps(settings)]
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main()

"""Serve a published embedding model over HTTP, as OpenAI's /v1/embeddings.

    python serve.py release/demo
    python serve.py release/demo --form model_int8 --threads 2 --port 8080
    curl http://127.0.0.1:8000/v1/embeddings --json '{"input": ["A man plays the guitar.", "It rains."]}'

publish.py writes the folder. `input` is a non-empty text or a list of such texts; the model truncates long texts,
and `usage` counts the tokens that it reads. `dimensions` truncates the embeddings and normalises them again.
`encoding_format` is float or base64. `output_dtype` is float, or int8, uint8, binary or ubinary of
sentence-transformers; int8 and uint8 need --ranges. Any `model` is accepted; the answer and GET /v1/models name the
folder. Requests that wait together are embedded together. GET and HEAD /health answer 200 once the model is loaded.
SIGTERM and Ctrl-C stop the service after it has answered the requests it received. There is neither authentication
nor encryption: keep the service on this machine or behind a proxy that provides both.
"""

import importlib.util
import json
import os
import socket
import sys
from dataclasses import asdict
from pathlib import Path

import asterisk
from asterisk.core.arguments import parse_arguments
from asterisk.core.errors import UserError, entry_point
from asterisk.core.processes import require_one_process
from asterisk.core.vectors import read_ranges
from asterisk.serving.arguments import ServeArguments, Settings


@entry_point
def main() -> None:
    """Check the arguments, then start the service."""
    require_one_process()
    arguments = parse_arguments(ServeArguments, __doc__ or "", first="folder")
    check(arguments)
    from asterisk.models.onnx import OnnxEmbedder, onnx_file

    try:
        file = onnx_file(Path(arguments.folder), arguments.form, arguments.layers)
        dimensions = OnnxEmbedder(file, arguments.threads).dimensions
    except ValueError as error:
        raise UserError(str(error)) from error
    if arguments.ranges:
        read_ranges(Path(arguments.ranges), dimensions)
    name = file.parent.parent.resolve().name
    become_service(Settings(**vars(arguments), file=str(file), name=name, dimensions=dimensions))


def check(arguments: ServeArguments) -> None:
    """Refuse a missing package and a taken port before anything is loaded."""
    if importlib.util.find_spec("fastapi") is None:
        raise UserError("Serving needs fastapi and uvicorn; pip install '.[serve]' installs them.")
    with socket.socket(socket.AF_INET6 if ":" in arguments.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((arguments.host, arguments.port))
        except OSError as error:
            place = f"{arguments.host}:{arguments.port}"
            raise UserError(f"{place} is not available ({error.strerror}); give another --port.") from None


def become_service(settings: Settings) -> None:
    """Replace this process with one that has not loaded transformers; the process id stays the same for signals."""
    root = Path(asterisk.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    if settings.threads:
        environment["RAYON_NUM_THREADS"] = str(settings.threads)  # read by the tokenizer
    sys.stdout.flush()
    command = [sys.executable, "-P", "-m", "asterisk.serving.service", json.dumps(asdict(settings))]
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main()

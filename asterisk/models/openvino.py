"""Run a model in OpenVINO's format, an .xml file with its .bin file, on the CPU."""

from pathlib import Path
from queue import SimpleQueue

import numpy as np


class OpenVinoSession:
    """A loaded model; `run` may be called from many threads."""

    def __init__(self, file: Path, threads: int):
        """Load the model.

        Args:
            file: The .xml file.
            threads: The number of concurrent forward passes, each on one core.

        Raises:
            ValueError: OpenVINO is not installed.
            RuntimeError: The file cannot be loaded.
        """
        try:
            import openvino
        except ImportError as error:
            raise ValueError("OpenVINO is not installed; pip install '.[openvino]' installs it") from error
        core = openvino.Core()
        settings = {
            # The default on processors with bfloat16 is bfloat16, which is less exact and often slower.
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            # If several processes were pinned, they would share one core.
            "ENABLE_CPU_PINNING": False,
        }
        self._model = core.compile_model(core.read_model(file), "CPU", settings)
        self.inputs = {port.get_any_name() for port in self._model.inputs}
        self.outputs = [port.get_any_name() for port in self._model.outputs]
        self._requests: SimpleQueue = SimpleQueue()
        for _ in range(threads):
            self._requests.put(self._model.create_infer_request())

    def run(self, output: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Compute one output of a forward pass.

        Args:
            output: The name of the output.
            inputs: The input arrays by name.
        """
        request = self._requests.get()
        try:
            return request.infer(inputs, share_inputs=True)[output]
        finally:
            self._requests.put(request)

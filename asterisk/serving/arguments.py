"""The arguments of serve.py, and the settings of the service."""

from dataclasses import dataclass

from asterisk.core.arguments import option

HOSTS = ("127.0.0.1", "0.0.0.0", "::")


@dataclass
class ServiceArguments:
    """Service: the folder to serve and its address."""

    folder: str = option("", "a Hub folder of publish.py; may come first, without the flag", required=True)
    host: str = option("127.0.0.1", f"one of {', '.join(HOSTS)}", choices=HOSTS)
    port: int = option(8000, "from 1024 to 65535", least=1024, most=65_535)
    form: str = option(
        "",
        "the file: model, model_fp16, model_quantized or model_int8 (default: the first that exists); for OpenVINO, "
        "openvino_model or openvino_model_qint8_quantized",
    )
    layers: int | None = option(None, "serve the exit after this many layers, in int8 (default: the whole model)")
    ranges: str = option("", "file of the value ranges for int8 and uint8, from embed.py")
    threads: int = option(0, "number of computing threads; 0 means all cores", least=0)


@dataclass
class LimitArguments:
    """Limits: how much a request may ask for."""

    max_body_bytes: int = option(8_388_608, "bytes in a request; larger ones get status 413", least=1)
    max_texts: int = option(2_048, "texts in a request; longer ones get status 400", least=1)
    max_waiting: int = option(
        256, "waiting requests; further ones get status 429, and those that wait half a minute get 503", least=1
    )


@dataclass
class ServeArguments(LimitArguments, ServiceArguments):
    """All arguments of serve.py."""


@dataclass(kw_only=True)
class Settings(ServeArguments):
    """The arguments, and the values that follow from them."""

    file: str  # the ONNX file of the folder
    name: str  # the model's name in answers
    dimensions: int

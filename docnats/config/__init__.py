"""All settings, and the only reader of the environment.

Every model is frozen and passed on explicitly. A field is set by its keyword, else by its
environment variable, else by its default; values that cannot work are refused when the
model is made, with a :class:`~docnats.errors.ConfigError`.
"""

from docnats.config.llm import LlmConfig
from docnats.config.nats import NatsConfig
from docnats.config.processing import OUTAGE_LIMIT, ProcessingConfig
from docnats.config.s3 import S3Config
from docnats.config.stack import StackConfig
from docnats.config.telemetry import LogFormat, TelemetryConfig

__all__ = [
    "OUTAGE_LIMIT",
    "LlmConfig",
    "LogFormat",
    "NatsConfig",
    "ProcessingConfig",
    "S3Config",
    "StackConfig",
    "TelemetryConfig",
]

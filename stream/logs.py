"""Logs: one line of key=value (or JSON, off a terminal) per event, on standard error."""

import logging
import sys

import structlog


def set_up_logs() -> None:
    """Configure structlog and the standard library's logging; libraries only warn."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    on_terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("stream").setLevel(logging.INFO)
    for name in ("faust", "mode", "stream.engine.faust"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # A line per connection attempt; that Kafka is away is said in our own words.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

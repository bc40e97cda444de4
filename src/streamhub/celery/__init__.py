"""Tasks of Celery that stream: ``pip install "streamhub-llm[celery]"``."""

try:
    from .task import StreamTask, task
except ModuleNotFoundError as _missing:
    if (_missing.name or "").partition(".")[0] != "celery":
        raise
    raise ModuleNotFoundError(
        'streamhub.celery needs celery: pip install "streamhub-llm[celery]"', name="celery"
    ) from None

__all__ = ["StreamTask", "task"]

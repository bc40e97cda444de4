"""What streams elsewhere, as sources of ``hub.run``: models of all providers, and agents.

A source yields the model's text as ``str``, and all else that it says as ``streamhub.parts``::

    await hub.run("chat:1", sources.openai(client.chat.completions.create(…, stream=True)))
"""

from .source import ProviderStream, Translator

__all__ = ["ProviderStream", "Translator"]

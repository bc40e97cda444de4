"""A real model server of the smallest kind: llama.cpp, with a few words and random weights."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from .child_processes import PythonProcess

__all__ = ["WORDS", "model_server", "write_model"]

_SAID = "a model says words of its own and then some more until somebody tells it to stop"
#: All that it can say.
WORDS = _SAID.split()
_WIDTH, _INNER, _HEADS = 32, 64, 4
# The tokens before the words: unknown, begin, end, and each byte.
_BYTES = 256
_FIRST = 3 + _BYTES

_SERVE = """
import sys
import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.warmup = 1024, 2, False
params.cpuparams.n_threads = 1
params.verbosity = 0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def write_model(path: Path) -> None:
    """Its weights are drawn at random, the same each time; of the bytes it says none, as words
    always seem likelier."""
    import gguf
    import numpy as np

    random = np.random.default_rng(7)

    def drawn(*shape: int) -> Any:
        return random.standard_normal(shape).astype(np.float32)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(1024)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_vocab_size(_FIRST + len(WORDS))
    writer.add_tokenizer_model("llama")
    pieces = [f"<0x{byte:02X}>" for byte in range(_BYTES)] + [f"\u2581{word}" for word in WORDS]
    writer.add_token_list([piece.encode() for piece in ("<unk>", "<s>", "</s>", *pieces)])
    writer.add_token_scores([0.0] * 3 + [-1000.0] * _BYTES + [-float(n) for n in range(len(WORDS))])
    writer.add_token_types([2, 3, 3] + [6] * _BYTES + [1] * len(WORDS))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_tensor("token_embd.weight", drawn(_FIRST + len(WORDS), _WIDTH))
    shapes = {
        **dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (_WIDTH, _WIDTH)),
        **dict.fromkeys(("ffn_gate", "ffn_up"), (_INNER, _WIDTH)),
        "ffn_down": (_WIDTH, _INNER),
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"blk.0.{name}.weight", drawn(*shape) / np.float32(_WIDTH**0.5))
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(_WIDTH, np.float32))
    words: Any = np.zeros((_FIRST + len(WORDS), _WIDTH), np.float32)
    words[_FIRST:] = drawn(len(WORDS), _WIDTH)
    writer.add_tensor("output.weight", words)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@asynccontextmanager
async def model_server(folder: Path) -> AsyncIterator[str]:
    """One that is running; its URL for SDKs."""
    model = folder / "tiny.gguf"
    write_model(model)
    process = await PythonProcess.start(_SERVE, str(model), errors=folder / "llama.cpp")
    async with process:
        yield f"{await process.line()}/v1"

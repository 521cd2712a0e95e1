"""Build a language model of exactly the tensor shapes of Qwen3-0.6B, quantised, with random weights.

What it costs is what the real one costs: 112 KiB of state a token, 400 MB of weights. Its words mean nothing, and its
tokenizer knows bytes only, so that a prompt has as many tokens as bytes.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.synthetic_gguf import CHATML, SPECIAL, byte_symbols

WIDTH, LAYERS, HEADS, KV_HEADS, HEAD, INNER, WORDS = 1024, 28, 16, 8, 128, 3072, 151_936
STATE_PER_TOKEN = LAYERS * KV_HEADS * HEAD * 2 * 2
"""Bytes: keys and values, two bytes each."""


def build(path: Path) -> Path:
    """Write the model to ``path`` and return it; 400 MB, in some seconds."""
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_context_length(40960)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    tokens = [*SPECIAL, *byte_symbols()]
    tokens += [f"word {number}" for number in range(WORDS - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.NORMAL] * (WORDS - len(SPECIAL)))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)

    def weights(name: str, rows: int, columns: int, kind: gguf.GGMLQuantizationType, scale: float) -> None:
        """Blocks of 32 weights: a scale of two bytes, then random bytes."""
        size = {gguf.GGMLQuantizationType.Q4_0: 16, gguf.GGMLQuantizationType.Q8_0: 32}[kind]
        blocks = np.empty((rows * columns // 32, 2 + size), dtype=np.uint8)
        blocks[:, :2] = np.frombuffer(np.float16(scale).tobytes(), dtype=np.uint8)
        blocks[:, 2:] = random.integers(0, 256, (len(blocks), size), dtype=np.uint8)
        writer.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=kind)

    def norm(name: str, size: int) -> None:
        writer.add_tensor(name, np.ones(size, dtype=np.float32))

    weights("token_embd.weight", WORDS, WIDTH, gguf.GGMLQuantizationType.Q8_0, 0.0005)
    norm("output_norm.weight", WIDTH)
    for layer in range(LAYERS):
        for name, size in (("attn_norm", WIDTH), ("ffn_norm", WIDTH), ("attn_q_norm", HEAD), ("attn_k_norm", HEAD)):
            norm(f"blk.{layer}.{name}.weight", size)
        for name, rows, columns in (
            ("attn_q", HEADS * HEAD, WIDTH),
            ("attn_k", KV_HEADS * HEAD, WIDTH),
            ("attn_v", KV_HEADS * HEAD, WIDTH),
            ("attn_output", WIDTH, HEADS * HEAD),
            ("ffn_gate", INNER, WIDTH),
            ("ffn_up", INNER, WIDTH),
            ("ffn_down", WIDTH, INNER),
        ):
            weights(f"blk.{layer}.{name}.weight", rows, columns, gguf.GGMLQuantizationType.Q4_0, 0.004)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

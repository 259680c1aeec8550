"""The backbone that hub checkpoints name passes the checks, and its tokens stay those that transformers gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoProcessor, AutoTokenizer

from dsrl.policy._smolvlm import clean_backbone
from dsrl.policy._tiny_vlm import write_tiny_vlm

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<fake_token_around_image>", "<image>", "<global-img>"]
END = "<end_of_utterance>"
CONFIG = {  # of SmolVLM2-500M-Video-Instruct, with the keys that older versions of transformers left in it
    "architectures": ["SmolVLMForConditionalGeneration"],
    "image_token_id": 49190,
    "model_type": "smolvlm",
    "pad_token_id": 128002,
    "scale_factor": 4,
    "text_config": {
        "_flash_attn_2_enabled": True,
        "_name_or_path": "None",
        "architectures": ["VLlama3ForCausalLM"],
        "head_dim": 64,
        "hidden_size": 960,
        "intermediate_size": 2560,
        "is_llama_config": True,
        "max_position_embeddings": 8192,
        "model_type": "llama",
        "neftune_noise_alpha": 0.0,
        "num_attention_heads": 15,
        "num_hidden_layers": 32,
        "num_key_value_heads": 5,
        "pad_token_id": 2,
        "perceiver_config": {"model_type": "vllama3", "num_key_value_heads": 1, "architectures": None},
        "pixel_shuffle_factor": 4,
        "qk_layer_norms": False,
        "rms_norm_eps": 1e-05,
        "rope_interleaved": False,
        "rope_theta": 100000,
        "torch_dtype": "bfloat16",
        "transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}},
        "use_resampler": False,
        "vocab_size": 49280,
    },
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.47.1",
    "use_cache": False,
    "use_reentrant_checkpointing": False,
    "vision_config": {
        "hidden_size": 768,
        "image_size": 512,
        "max_image_size": {"longest_edge": 512},
        "model_type": "smolvlm_vision",
        "num_attention_heads": 12,
        "patch_size": 16,
        "size": {"longest_edge": 2048},
        "tie_word_embeddings": False,
        "use_base_siglip": False,
    },
    "vocab_size": 49280,
}
IMAGE_TOKENS = {
    "end_of_utterance_token": END,
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "image_token": "<image>",
}
SETTINGS = {
    "add_prefix_space": False,
    "additional_special_tokens": ["<fake_token_around_image>", "<image>", END],
    "bos_token": "<|im_start|>",
    "clean_up_tokenization_spaces": False,
    **IMAGE_TOKENS,
    "eos_token": END,
    "extra_special_tokens": IMAGE_TOKENS,
    "legacy": False,
    "model_max_length": 8192,
    "pad_token": "<|im_end|>",
    "processor_class": "SmolVLMProcessor",
    "truncation_side": "left",
    "unk_token": "<|endoftext|>",
    "vocab_size": 49152,
}
SENTENCES = ["pick up the red cube\n", "Put 12 cubes, <image> now!\n", "", "déjà vu\n"]


@pytest.fixture(params=["GPT2Tokenizer", "PreTrainedTokenizerFast", "TokenizersBackend"])
def backbone(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with the files that the hub has for SmolVLM2, around a small byte-level BPE vocabulary."""
    words = Tokenizer(models.BPE())
    digits, letters = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.pre_tokenizer = pre_tokenizers.Sequence([digits, letters])
    words.decoder, words.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[*SPECIAL, END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    words.train_from_iterator(["pick up the red cube and put it in the box now"] * 9, trainer)
    words.save(str(tmp_path / "tokenizer.json"))
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]))
    added = {
        str(i): {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "special": True}
        | {"single_word": False}
        for i, token in enumerate([*SPECIAL, END])
    }
    settings = {**SETTINGS, "added_tokens_decoder": added, "tokenizer_class": request.param}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    special = {
        "additional_special_tokens": SETTINGS["additional_special_tokens"],
        "pad_token": {"content": "<|im_end|>"},
    }
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({**special, **IMAGE_TOKENS}))
    (tmp_path / "added_tokens.json").write_text(json.dumps({END: len(SPECIAL)}))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def test_the_backbone_of_the_hub_keeps_its_sizes(backbone: Path) -> None:
    before = AutoConfig.from_pretrained(backbone)
    with clean_backbone(backbone, backbone) as clean:
        after = AutoConfig.from_pretrained(clean)
    for ours, theirs in ((after.text_config, before.text_config), (after.vision_config, before.vision_config)):
        for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "dtype"):
            assert getattr(ours, name) == getattr(theirs, name)
    assert after.text_config.num_key_value_heads == 5
    assert (after.dtype, after.scale_factor) == (before.dtype, before.scale_factor)


def test_the_backbone_of_the_hub_keeps_its_tokens(backbone: Path) -> None:
    before = AutoTokenizer.from_pretrained(backbone)
    with clean_backbone(backbone, backbone) as clean:
        after, processor = AutoTokenizer.from_pretrained(clean), AutoProcessor.from_pretrained(clean)
    options = {"padding": "longest", "truncation": True, "max_length": 12, "padding_side": "right"}
    assert before(SENTENCES, **options).data == after(SENTENCES, **options).data
    for name in ("fake_image_token_id", "global_image_token_id", "image_token_id", "pad_token_id", "eos_token_id"):
        assert getattr(processor.tokenizer, name) == getattr(after, name) == getattr(before, name)


def test_a_written_backbone_has_every_size_that_was_given(tmp_path: Path) -> None:
    sizes = {"hidden_size": 24, "head_dim": 4, "num_layers": 3, "vision_hidden_size": 8, "vision_layers": 2}
    more = {"mlp_size": 50, "key_value_heads": 2, "vocab_size": 300, "vision_mlp_size": 20}
    write_tiny_vlm(tmp_path, vocabulary=["cube"], image_size=32, patch_size=8, scale_factor=2, **sizes, **more)
    config = AutoConfig.from_pretrained(tmp_path)
    text, vision = config.text_config, config.vision_config
    assert (text.intermediate_size, text.num_attention_heads, text.num_key_value_heads) == (50, 6, 2)
    assert (text.vocab_size, vision.intermediate_size, vision.num_attention_heads) == (300, 20, 2)
    for wrong, words in (({"key_value_heads": 4}, "must divide the 6 heads"), ({"vocab_size": 3}, "the tokenizer has")):
        with pytest.raises(ValueError, match=words):
            write_tiny_vlm(
                tmp_path, vocabulary=["cube"], image_size=32, patch_size=8, scale_factor=2, **sizes, **(more | wrong)
            )

"""Every code block of docs/drop_in.md runs as it stands there, on a tiny Llama; all ways give the same adapter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.func import functional_call

PAGE = Path(__file__).parents[2] / "docs/drop_in.md"
BLOCKS = {
    title: "\n".join(re.findall(r"^```python\n(.*?)^```", body, re.MULTILINE | re.DOTALL))
    for title, body in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
}
MAKE, BARE, RESUME = "The model and its optimizer", "A bare PyTorch loop", "Resuming a bare loop"
TRAINERS = ("transformers.Trainer", "The Trainer builds the optimizer", "TRL's SFTTrainer")
STEPS, ROWS = 8, 4
TEXTS = ("red cat on mat", "blue dog by log", "red dog on log", "blue cat by mat")
WORDS = sorted({word for text in TEXTS for word in text.split()})


Adapter = dict[str, torch.Tensor]


def tiny_llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=3 + len(WORDS),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def tiny_tokenizer() -> Any:
    """Whole words, made here."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(
        WordLevel({word: i for i, word in enumerate(["<pad>", "<s>", "</s>", *WORDS])}, unk_token="<pad>")
    )
    words.pre_tokenizer = WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def batch() -> Adapter:
    """What SFTTrainer makes of `TEXTS`: the words, then the end; all rows are equally long."""
    ids = torch.tensor([[3 + WORDS.index(word) for word in text.split()] + [2] for text in TEXTS])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


def loss_of(model: Any) -> float:
    with torch.no_grad():
        return float(model(**batch()).loss)


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *titles: str, **given: Any) -> dict[str, Any]:
    """Executes the page's blocks one after the other in an empty folder; returns their names."""
    monkeypatch.chdir(tmp_path)
    names = given if "base" in given else {"base": tiny_llama(), **given}
    if MAKE in titles:
        names["base"].save_pretrained(tmp_path / "base")  # before PEFT puts its layers into it
    for title in titles:
        exec(compile(BLOCKS[title], f"{PAGE.name}: {title}", "exec"), names)
    return names


def trainer_inputs(title: str, tmp_path: Path) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import TrainingArguments
    from trl import SFTConfig

    common: dict[str, Any] = {
        "output_dir": str(tmp_path / "runs"),
        "max_steps": STEPS,
        "per_device_train_batch_size": ROWS,
        "train_sampling_strategy": "sequential",
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    if "SFT" in title:
        arguments = SFTConfig(**common, bf16=False, gradient_checkpointing=False, dataset_num_proc=None)
        return {"arguments": arguments, "rows": Dataset.from_list([{"text": text} for text in TEXTS]),
                "tokenizer": tiny_tokenizer()}  # fmt: skip
    rows = [{key: value[i] for key, value in batch().items()} for i in range(ROWS)]
    return {"arguments": TrainingArguments(**common), "rows": rows}


def adapter(model: Any) -> Adapter:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def error_of_update(got: Adapter, wanted: Adapter, start: Adapter) -> float:
    flat = lambda tensors: torch.cat([tensors[name].flatten() for name in sorted(wanted)])  # noqa: E731
    assert got.keys() == wanted.keys()
    return float((flat(got) - flat(wanted)).norm() / (flat(wanted) - flat(start)).norm())


@pytest.fixture(scope="module")
def oracle() -> tuple[Adapter, Adapter]:
    """The paper's way: the MLPs in the graph, AdamW on them.  Returns A and B at the start and after `STEPS`."""
    from peft import LoraConfig, get_peft_model

    from mlplora_vlm import adapter_groups
    from mlplora_vlm.generator import AutogradGenerator, new_generator

    model = get_peft_model(tiny_llama(), LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    names = {id(p): name for name, p in model.named_parameters()}
    mlps = []
    for group in adapter_groups(model):
        shapes = [p.shape for p in group["params"]]
        start = new_generator(group["name"], [s.numel() for s in shapes], group["heads"], 32, 128, 0.1, 0)
        mlps.append(([names[id(p)] for p in group["params"]], AutogradGenerator(start, shapes)))
    optimizer = torch.optim.AdamW([p for _, mlp in mlps for p in mlp.parameters()], lr=2e-4, weight_decay=0.0)

    def generated() -> Adapter:
        return {name: p for names, mlp in mlps for name, p in zip(names, mlp(), strict=True)}

    start = {name: p.detach().clone() for name, p in generated().items()}
    for _ in range(STEPS):
        optimizer.zero_grad()
        functional_call(model, generated(), kwargs=batch()).loss.backward()
        optimizer.step()
    return start, {name: p.detach() for name, p in generated().items()}


def loads_without_us(folder: Path) -> torch.Tensor:
    """The logits of stock PEFT on the saved adapter, in a process that cannot import this package."""
    code = (
        "import sys, torch\n"
        "class Block:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] == 'mlplora_vlm': raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from peft import PeftModel\n"
        "from transformers import LlamaForCausalLM\n"
        "model = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained('base'), 'adapter').eval()\n"
        "torch.save(model(torch.load('ids.pt')).logits.detach(), 'logits.pt')\n"
    )
    torch.save(batch()["input_ids"], folder / "ids.pt")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, cwd=folder)
    return torch.load(folder / "logits.pt")


def test_the_page_has_no_block_that_is_not_run() -> None:
    assert {title for title, code in BLOCKS.items() if code} == {MAKE, BARE, RESUME, *TRAINERS}


@pytest.mark.slow
def test_the_bare_loop_equals_autograd_and_loads_in_stock_peft(tmp_path, monkeypatch, oracle) -> None:  # type: ignore[no-untyped-def]
    names = run(tmp_path, monkeypatch, MAKE)
    before = loss_of(names["model"])
    run(tmp_path, monkeypatch, BARE, batches=[batch()] * STEPS, **names)
    model = names["model"]
    assert loss_of(model) < before
    start, end = oracle
    error = error_of_update(adapter(model), end, start)
    print(f"bare loop: relative error of the update {error:.1e}")
    assert error <= 1e-5
    with torch.no_grad():
        torch.testing.assert_close(loads_without_us(tmp_path), model(**batch()).logits, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("title", TRAINERS)
def test_a_trainer_equals_the_bare_loop(tmp_path, monkeypatch, oracle, title) -> None:  # type: ignore[no-untyped-def]
    names = run(tmp_path, monkeypatch, MAKE, title, **trainer_inputs(title, tmp_path))
    losses = [entry["loss"] for entry in names["trainer"].state.log_history if "loss" in entry]
    model, (start, end) = names["model"], oracle
    assert loss_of(model) < loss_of(tiny_llama())
    assert len(losses) == STEPS and losses[-1] < losses[0]
    error = error_of_update(adapter(model), end, start)
    print(f"{title}: relative error of the update {error:.1e}")
    assert error <= 1e-5
    with torch.no_grad():
        torch.testing.assert_close(loads_without_us(tmp_path), model(**batch()).logits, rtol=0, atol=1e-5)


def test_a_bare_loop_resumes_exactly(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    import peft

    functions = {name: getattr(peft, name) for name in ("get_peft_model_state_dict", "set_peft_model_state_dict")}
    wanted = adapter(run(tmp_path, monkeypatch, MAKE, BARE, batches=[batch()] * STEPS)["model"])
    save, load = BLOCKS[RESUME].split("\n\nsaved", 1)
    first = run(tmp_path, monkeypatch, MAKE, BARE, batches=[batch()] * 3)
    exec(save, first | functions)
    second = run(tmp_path, monkeypatch, MAKE)
    exec("import torch\nsaved" + load, second | functions)
    second = run(tmp_path, monkeypatch, BARE, **second | {"batches": [batch()] * (STEPS - 3)})
    got = adapter(second["model"])
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)


@pytest.mark.slow
def test_the_trainer_resumes_from_its_checkpoint(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    title = TRAINERS[0]
    whole = run(tmp_path, monkeypatch, MAKE, title, **trainer_inputs(title, tmp_path))
    wanted = adapter(whole["model"])

    def given() -> dict[str, Any]:
        inputs = trainer_inputs(title, tmp_path)
        inputs["arguments"].save_strategy, inputs["arguments"].save_steps = "steps", 3
        return inputs

    stopped = given()
    stopped["arguments"].max_steps = 3
    run(tmp_path, monkeypatch, MAKE, title, **stopped)
    code = BLOCKS[title].replace("trainer.train()", "trainer.train(resume_from_checkpoint=True)")
    names = run(tmp_path, monkeypatch, MAKE, **given())
    exec(code, names)
    assert names["trainer"].state.global_step == STEPS
    got = adapter(names["model"])
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)

"""The oracle: autograd through the MLP in one fp32 process, from the paper's text and torch alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import parity
import torch
from torch.func import functional_call
from transformers import get_scheduler, set_seed

from mlplora_vlm.attach import attach
from mlplora_vlm.generator import AutogradGenerator, new_generator
from mlplora_vlm.optimizer import adapter_groups

Tensors = dict[str, torch.Tensor]


class Oracle:
    """The generators of a case as modules, with one torch optimizer over their tensors."""

    def __init__(self, folder: Path, case: parity.Case, precision: str = "float32") -> None:
        self.case, self.settings, self.adapter = case, case.settings(1), case.adapter_section()
        model = parity.load_base(folder / "base", precision)
        set_seed(self.settings.seed)
        self.model, _ = attach(model, self.adapter)
        names = {id(p): name for name, p in self.model.named_parameters()}
        self.mlps: list[tuple[AutogradGenerator, list[str]]] = []
        self.plain: Tensors = {}
        lr = self.settings.learning_rate
        groups: list[dict[str, Any]] = []
        for group in adapter_groups(self.model, b_lr_ratio=self.adapter.b_lr_ratio):
            if group["heads"] is None:
                self.plain |= {names[id(p)]: p for p in group["params"]}
                groups.append({"params": group["params"], "lr": self.settings.full_learning_rate})
            else:
                mlp, own = self._generator(group), [names[id(p)] for p in group["params"]]
                self.mlps.append((mlp, own))
                groups.append({"params": [mlp.z, mlp.W1, mlp.c1], "lr": lr})
                for name, W2, b2 in zip(own, mlp.W2, mlp.b2, strict=True):
                    rate = lr * self.adapter.b_lr_ratio if "lora_B" in name else lr  # LoRA+
                    groups.append({"params": [W2, b2], "lr": rate})
        weight_decay = self.settings.weight_decay
        if self.settings.optimizer == "sgd":
            self.optimizer: Any = torch.optim.SGD(
                groups, lr=lr, weight_decay=weight_decay, momentum=self.settings.momentum
            )
        else:
            self.optimizer = torch.optim.AdamW(groups, lr=lr, eps=self.settings.adam_eps, weight_decay=weight_decay)
        warmup = round(self.settings.warmup * parity.STEPS + 0.49)
        self.scheduler = get_scheduler("linear", self.optimizer, warmup, parity.STEPS)
        self.start = self.tensors()

    def _generator(self, group: dict[str, Any]) -> AutogradGenerator:
        """The start as METHOD has it: drawn, or what PEFT made, kept through b2 = P0 - W2·h."""
        g, numels = self.adapter.generator, [p.numel() for p in group["params"]]
        start = new_generator(group["name"], numels, group["heads"], g.hidden, g.z_dim, g.z_std, self.settings.seed)
        per_row = lambda values: torch.cat([torch.full((n,), float(v)) for n, v in zip(numels, values, strict=True)])  # noqa: E731
        P0 = torch.cat([p.detach().flatten().float() for p in group["params"]])
        offset = per_row([head == "offset" for head in group["heads"]])
        start["anchor"] = P0 * offset
        shapes = [p.shape for p in group["params"]]
        relu = g.form == "exact"
        asleep = relu and not (start["W1"] @ start["z"] + start["c1"] > 0).any()  # would make A = B = 0 for good
        if g.start == "keep" or self.adapter.kind == "pissa" or asleep:
            made = torch.cat([t.flatten() for t in AutogradGenerator(start, shapes, relu)()]).detach()
            start["b2"] = P0 - made
        return AutogradGenerator(start, shapes, relu)

    def tensors(self) -> Tensors:
        """What the model trains, by name, as it stands."""
        made = {name: t for mlp, names in self.mlps for name, t in zip(names, mlp(), strict=True)}
        return {name: t.detach().clone() for name, t in (made | self.plain).items()}

    def train(self) -> Tensors:
        """Every step of the case, on the same micro-batches as one process takes them."""
        rows = parity.rows()
        answer_tokens = sum(int((row["labels"] != -100).sum()) for row in rows)
        for _ in range(parity.STEPS):
            made: list[torch.Tensor] = []
            for i in range(0, len(rows), len(rows) // parity.ACCUMULATION):
                batch = parity.collate(rows[i : i + len(rows) // parity.ACCUMULATION])
                labels = batch.pop("labels")
                tensors = {name: t for mlp, names in self.mlps for name, t in zip(names, mlp(), strict=True)}
                for tensor in tensors.values():
                    tensor.retain_grad()
                made += tensors.values()
                logits = functional_call(self.model, tensors, kwargs=batch).logits
                loss = torch.nn.functional.cross_entropy(
                    logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
                )
                (loss / answer_tokens).backward()
            self._clip(made)
            self._step()
        return self.tensors()

    def _clip(self, made: list[torch.Tensor]) -> None:
        bound = self.settings.max_grad_norm
        own = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not bound:
            return
        if self.settings.clip == "generator":
            torch.nn.utils.clip_grad_norm_(own, bound)
            return
        # an engine sees the adapter's tensors: the sum over the micro-batches of each of them
        each = len(made) // parity.ACCUMULATION
        grads = [sum(t.grad for t in made[i::each]) for i in range(each)] + [p.grad for p in self.plain.values()]
        norm = torch.stack([g.norm() for g in grads]).norm()
        for p in own:
            p.grad *= min(1.0, bound / (norm + 1e-6))

    def replay(self, grads: list[Tensors]) -> Tensors:
        """Steps with recorded ∂L/∂P (by layer name, one dict a step) instead of gradients of its own."""
        by_layer = {names[0].rpartition(".lora_")[0]: mlp for mlp, names in self.mlps}
        for step in grads:
            for layer, grad in step.items():
                P = torch.cat([t.flatten() for t in by_layer[layer]()])
                (P * grad).sum().backward()
            self._step()
        return {layer: torch.cat([t.flatten() for t in mlp()]).detach() for layer, mlp in by_layer.items()}

    def _step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step()


def error_of_update(got: Tensors, start: Tensors, end: Tensors) -> float:
    """‖got − end‖ / ‖end − start‖ over all tensors together."""
    assert got.keys() == end.keys(), got.keys() ^ end.keys()
    flat = lambda tensors: torch.cat([tensors[name].flatten() for name in sorted(end)])  # noqa: E731
    return ((flat(got) - flat(end)).norm() / (flat(end) - flat(start)).norm()).item()

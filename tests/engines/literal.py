"""A literal reference of attention edits: every map is written out, row by row."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from diffusers import UNet2DConditionModel
from underpaint.engine import EditInputs, UNetCall, UNetOutput


@dataclass
class LiteralAttention:
    name: str
    line: int
    edits: EditInputs | None
    maps: dict[str, torch.Tensor] = field(default_factory=dict)

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        cross = encoder_hidden_states is not None
        context = encoder_hidden_states if cross else hidden_states
        rows = len(hidden_states)

        def split(x):
            return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        query, key = split(attn.to_q(hidden_states)), split(attn.to_k(context))
        value, edits = split(attn.to_v(context)), self.edits

        def attention(q, k, bias=0.0):
            return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias, -1)

        bias = [0.0] * rows
        if edits is not None and self.name in edits.cross_bias:
            bias = list(edits.cross_bias[self.name])
        own = [attention(query[r], key[r], bias[r]) for r in range(rows)]
        self.maps[self.name] = torch.stack(own)
        out = []
        for r in range(rows):
            if edits is None:
                out.append(own[r] @ value[r])
                continue
            s = int(edits.source_row[r])
            if cross:
                edited = own[s] @ edits.cross_map[r] + own[r] @ torch.diag(edits.cross_scale[r])
                out.append(edited @ value[r])
                continue
            from_q, from_k, from_v = (
                s if gate[self.line, r] else r
                for gate in (edits.self_q, edits.self_k, edits.self_v)
            )
            # Prompt-to-Prompt's replacement: both gates take the source's map as it stands.
            taken = own[from_q] if from_q == from_k else attention(query[from_q], key[from_k])
            out.append(taken @ value[from_v])
        return attn.to_out[0](torch.stack(out).transpose(1, 2).flatten(2))


@torch.no_grad()
def literal_predict(unet: UNet2DConditionModel, call: UNetCall) -> UNetOutput:
    """Run a fresh diffusers UNet with literal attention; its maps are those of all heads."""
    maps: dict[str, torch.Tensor] = {}
    line = 0
    # diffusers lists the mid block last; the lines of the gates go by call order.
    order = {"d": 0, "m": 1, "u": 2}
    names = [n for n, m in unet.named_modules() if type(m).__name__ == "Attention"]
    for name in sorted(names, key=lambda name: order[name[0]]):
        unet.get_submodule(name).set_processor(LiteralAttention(name, line, call.edits, maps))
        line += name.endswith("attn1")
    noise = unet(call.sample, call.timestep, call.context, return_dict=False)[0]
    return UNetOutput(noise, maps)

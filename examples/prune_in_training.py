"""A PyTorch loop that shrinks FFN neurons and heads of a small model under a latency penalty.

Every FFN neuron and every group of heads has a gate; how many gates are open is a differentiable size, and the
predicted latency of those sizes is a term of the loss. The task is a toy (next token of a periodic sequence).

    pip install 'latmodel[examples]' && python examples/prune_in_training.py --steps 150
"""

import argparse
from typing import Any

import torch
from torch import nn

import latmodel.torch
from latmodel import Predictor, Workload
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group

LAYERS, HIDDEN, HEADS, FFN, VOCAB = 4, 64, 4, 256, 32
SCALE = 32.0  # the trained toy stands for a model this much wider, whose latency is priced
WORK = Workload(prompt_tokens=512, new_tokens=100)


class GatedBlock(nn.Module):
    """A decoder block whose heads and FFN neurons can be gated away."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = nn.LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)
        self.qkv, self.out = nn.Linear(HIDDEN, 3 * HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.up, self.down = nn.Linear(HIDDEN, FFN), nn.Linear(FFN, HIDDEN)
        self.head_logits = nn.Parameter(torch.full((HEADS,), 2.0))
        self.neuron_logits = nn.Parameter(torch.full((FFN,), 2.0) + 0.1 * torch.randn(FFN))

    def sizes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """How many heads and neurons are open, as real numbers with gradients."""
        return torch.sigmoid(self.head_logits).sum(), torch.sigmoid(self.neuron_logits).sum()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, s, _ = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(b, s, 3, HEADS, -1).permute(2, 0, 3, 1, 4)  # [B, heads, S, D]
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        mixed = mixed * torch.sigmoid(self.head_logits)[:, None, None]
        x = x + self.out(mixed.transpose(1, 2).reshape(b, s, HIDDEN))
        inner = nn.functional.silu(self.up(self.ffn_norm(x))) * torch.sigmoid(self.neuron_logits)
        return torch.add(x, self.down(inner))


def latency_s(blocks: nn.ModuleList, predictor: Predictor) -> Any:
    """Predicted response of the model whose sizes the gates leave, `SCALE` times as wide."""
    groups = []
    for block in blocks:
        assert isinstance(block, GatedBlock)
        heads, neurons = block.sizes()
        attention = Attention(heads * SCALE / 4, heads * SCALE / 4, 64.0)
        groups.append(Group(1.0, Block(attention, FeedForward(neurons * SCALE))))
    model = Architecture(tuple(groups), HIDDEN * SCALE, 65536.0, 1.0)
    return latmodel.torch.forecast(predictor, model, WORK, smooth=True).response_s


def train(predictor: Predictor, steps: int, share: float) -> tuple[float, float, float]:
    """Train with a penalty above `share` of the first latency; first and last latency in seconds, and the task loss."""
    torch.manual_seed(0)
    embed, blocks = nn.Embedding(VOCAB, HIDDEN), nn.ModuleList(GatedBlock() for _ in range(LAYERS))
    head = nn.Linear(HIDDEN, VOCAB)
    parameters = [*embed.parameters(), *blocks.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=0.02)
    start = float(latency_s(blocks, predictor).detach())
    task = torch.zeros(())
    for _ in range(steps):
        offsets = torch.randint(0, VOCAB, (16, 1))
        tokens = (offsets + 3 * torch.arange(17)) % VOCAB
        x = embed(tokens[:, :-1])
        for block in blocks:
            x = block(x)
        task = nn.functional.cross_entropy(head(x).flatten(0, 1), tokens[:, 1:].flatten())
        late = torch.relu(latency_s(blocks, predictor) / (share * start) - 1.0)
        optimiser.zero_grad()
        torch.autograd.backward(task + 20.0 * late)
        optimiser.step()
    return start, float(latency_s(blocks, predictor).detach()), float(task.detach())


def main() -> None:
    """Train and print what was saved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", default="3090")
    parser.add_argument("--runtime", default="cuda-graph", help="where width, not the host, is what costs")
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    start, end, task = train(Predictor.load(options.gpu, options.runtime), options.steps, share=0.6)
    print(f"response {start:.3f} s -> {end:.3f} s, task loss {task:.3f}")


if __name__ == "__main__":
    main()

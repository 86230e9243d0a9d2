"""Generating with a plain PyTorch model of scripts/bench-pytorch: a cache of keys and values with room for all tokens, the most probable token each time.

Weights are in the precision of the products, as they are served. A step of the eager loop attends to what is in the cache so far; the compiled one, whose shapes must not
change, to the whole cache through a mask (on a GPU recorded as a CUDA graph: mode reduce-overhead). Eight steps go by before the host waits, as in nichelm.
"""
import json
import statistics
import time

TOGETHER = 8


def measure(setup, shape):
    """Prints tokens a second of reading prompts and of generating, for each number of texts."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    layers, width, heads, mlp, context = shape
    torch.manual_seed(0)
    device = torch.device(setup["device"])
    if device.type == "cpu":
        torch.set_num_threads(setup["threads"])
    dtype = torch.bfloat16 if setup["precision"] == "bf16" else torch.float32
    prompt, tokens = setup["prompt"], setup["tokens"]
    capacity = prompt + tokens

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, mlp), nn.Linear(mlp, width)

        def forward(self, x, keys, values, at, mask, seen):
            """x [texts, length, width] goes to the places `at` of the cache [texts, heads, capacity, head]; `seen`: how much of it is attended to."""
            texts, length, _ = x.shape
            q, k, v = (part.view(texts, length, heads, width // heads).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(width, 2))
            keys.index_copy_(2, at, k)
            values.index_copy_(2, at, v)
            if length > 1:
                mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                mixed = F.scaled_dot_product_attention(q, keys[:, :, :seen], values[:, :, :seen], attn_mask=mask)
            x = x + self.out(mixed.transpose(1, 2).reshape(texts, length, width))
            return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(setup["vocab"], width), nn.Embedding(context, width)
            self.blocks, self.norm = nn.ModuleList(Block() for _ in range(layers)), nn.LayerNorm(width)
            for parameter in self.parameters():
                if parameter.dim() == 2:
                    nn.init.normal_(parameter, std=0.02)

        def forward(self, ids, at, cache, mask=None, seen=None):
            """The most probable next token of each text [texts, 1]."""
            x = self.tokens(ids) + self.positions(at)
            for block, (keys, values) in zip(self.blocks, cache):
                x = block(x, keys, values, at, mask, seen)
            return F.linear(self.norm(x[:, -1:]), self.tokens.weight).argmax(-1)

    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(work):
        wait()
        began = time.perf_counter()
        result = work()
        wait()
        return time.perf_counter() - began, result

    model = Model().to(device, dtype).eval()
    compiled = torch.compile(model, mode="reduce-overhead" if device.type == "cuda" else "default", dynamic=False) if setup["compile"] else None
    places = torch.arange(capacity, device=device)

    def step(ids, at, cache):
        if compiled is None:
            return model(ids, places[at:at + 1], cache, None, at + 1)
        # What a CUDA graph gives lies in its own memory, which the next replay writes over.
        return compiled(ids, places[at:at + 1].clone(), cache, (places <= at).view(1, 1, 1, capacity), capacity).clone()

    def generate(ids, first, count, cache):
        for at in range(first, first + count):
            ids = step(ids, at, cache)
        return ids

    found = []
    with torch.no_grad():
        for texts in setup["texts"]:
            cache = [tuple(torch.zeros(texts, heads, capacity, width // heads, device=device, dtype=dtype) for _ in range(2)) for _ in range(layers)]
            for part in (tensor for pair in cache for tensor in pair):
                torch._dynamo.mark_static_address(part)  # a graph that writes to its operands is recorded only where they stay in their place
            ids = torch.randint(setup["vocab"], (texts, prompt), device=device)
            read = lambda: model(ids, places[:prompt], cache)
            for _ in range(2):
                last = read()
            reading, last = seconds(read)
            generate(last, prompt, min(3, tokens), cache)  # compiles, and on a GPU records
            rates, done = [], 0
            while done < tokens:
                together = min(TOGETHER, tokens - done)
                took, last = seconds(lambda: generate(last, prompt + done, together, cache))
                rates.append(took / together)
                done += together
            found.append({"batch": texts, "prompt_tokens": prompt, "prefill_tokens_per_second": texts * prompt / reading, "decode_tokens_per_second": texts / statistics.median(rates)})
    print(json.dumps({"generation": found, "parameters": sum(p.numel() for p in model.parameters())}))

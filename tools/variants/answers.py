"""Right answers to start from, a few ways each; the notebook's own Solution comes besides.

They are read and not called: a class for each exercise, under its name, and a function for each way.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class horizontal_flip:
    def first(x, coin):
        out = x.clone()
        out[coin] = x[coin].flip(3)
        return out

    def second(x, coin):
        c = coin.view(-1, 1, 1, 1).to(x.dtype)
        return c * x.flip(3) + (1 - c) * x

    def third(x, coin):
        images = []
        for image, heads in zip(x, coin, strict=True):
            images.append(image.flip(2) if heads else image)
        return torch.stack(images)


class grayscale:
    def first(x):
        luma = 0.299 * x[:, 0:1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]
        return luma.repeat(1, 3, 1, 1)

    def second(x):
        r, g, b = x.unbind(1)
        luma = 0.299 * r + 0.587 * g + 0.114 * b
        return torch.stack([luma, luma, luma], dim=1)

    def third(x):
        weights = x.new_tensor([0.299, 0.587, 0.114])
        luma = torch.einsum("bchw,c->bhw", x, weights)
        return luma[:, None].expand(x.shape).clone()


class two_views:
    def first(augment, x):
        v1 = augment(x)
        v2 = augment(x)
        return (v1, v2)

    def second(augment, x):
        both = augment(torch.cat([x, x]))
        return (both[: len(x)], both[len(x) :])

    def third(augment, x):
        v = augment(x.repeat(2, 1, 1, 1))
        return v.chunk(2)

    def fourth(augment, x):
        v = augment(x.repeat_interleave(2, dim=0))
        return (v[0::2], v[1::2])


class positive_index:
    def first(n):
        return (torch.arange(2 * n) + n) % (2 * n)

    def second(n):
        return torch.cat([torch.arange(n, 2 * n), torch.arange(n)])

    def third(n):
        rows = torch.arange(2 * n)
        return torch.where(rows < n, rows + n, rows - n)

    def fourth(n):
        out = torch.zeros(2 * n, dtype=torch.int64)
        for i in range(n):
            out[i] = i + n
            out[i + n] = i
        return out


class stable_logsumexp:
    def first(x):
        m = x.max(dim=1).values
        return m + torch.log(torch.exp(x - m[:, None]).sum(1))

    def second(x):
        m, _ = x.max(1, keepdim=True)
        s = (x - m).exp().sum(1, keepdim=True)
        return (m + s.log()).squeeze(1)

    def third(x):
        return torch.stack([row.max() + (row - row.max()).exp().sum().log() for row in x])


class cosine_similarity_matrix:
    def first(z):
        z = F.normalize(z, dim=1)
        return z @ z.T

    def second(z):
        u = z / z.norm(dim=1, keepdim=True)
        return torch.mm(u, u.t())

    def third(z):
        norms = z.norm(dim=1)
        return z @ z.T / (norms[:, None] * norms[None, :])

    def fourth(z):
        return F.cosine_similarity(z[:, None], z[None], dim=2)


class nt_xent:
    def first(z1, z2, temperature):
        n = z1.shape[0]
        z = torch.cat([z1, z2], dim=0)
        z = z / z.norm(dim=1, keepdim=True)
        s = z @ z.T / temperature
        s = s - 1000000000.0 * torch.eye(2 * n)
        positive = torch.cat([torch.arange(n, 2 * n), torch.arange(0, n)])
        return F.cross_entropy(s, positive)

    def second(z1, z2, temperature):
        n = len(z1)
        z = F.normalize(torch.cat([z1, z2]), dim=-1)
        s = z.mm(z.t()) / temperature
        s.fill_diagonal_(float("-inf"))
        total = 0
        for i in range(2 * n):
            j = i + n if i < n else i - n
            total = total + torch.logsumexp(s[i], dim=0) - s[i, j]
        return total / (2 * n)

    def third(z1, z2, temperature):
        a = F.normalize(z1, dim=1)
        b = F.normalize(z2, dim=1)
        n = len(a)
        off = torch.eye(n, dtype=torch.bool)
        aa = (a @ a.T / temperature).masked_fill(off, -torch.inf)
        bb = (b @ b.T / temperature).masked_fill(off, -torch.inf)
        ab = a @ b.T / temperature
        rows1 = torch.cat([ab, aa], dim=1)
        rows2 = torch.cat([ab.T, bb], dim=1)
        target = torch.arange(n)
        return (F.cross_entropy(rows1, target) + F.cross_entropy(rows2, target)) / 2


class softmax_weights:
    def first(similarities, temperature):
        logits = similarities / temperature
        e = torch.exp(logits - logits.max())
        return e / e.sum()

    def second(similarities, temperature):
        logits = similarities / temperature
        return (logits - torch.logsumexp(logits, dim=0)).exp()

    def third(similarities, temperature):
        return F.softmax(similarities / temperature, dim=0)


class gradient_share:
    def first(similarities, temperature):
        negatives = similarities[1:] / temperature
        e = torch.exp(negatives - negatives.max())
        return e / e.sum()

    def second(similarities, temperature):
        logits = similarities[1:] / temperature
        return torch.exp(logits - torch.logsumexp(logits, dim=0))

    def third(similarities, temperature):
        return F.log_softmax(similarities[1:] / temperature, dim=0).exp()


class uniformity:
    def first(z, t=2):
        m = len(z)
        d = (z[:, None] - z[None, :]).square().sum(2)
        keep = ~torch.eye(m, dtype=torch.bool)
        return torch.exp(-t * d[keep]).mean().log()

    def second(z, t=2):
        squared = 2 - 2 * z @ z.T
        i, j = torch.triu_indices(len(z), len(z), 1)
        return torch.log(torch.mean(torch.exp(-t * squared[i, j])))

    def third(z, t=2):
        m = len(z)
        d = (z.unsqueeze(0) - z.unsqueeze(1)).pow(2).sum(dim=2)
        total = torch.exp(-t * d).sum() - m
        return torch.log(total / (m * (m - 1)))


class learning_rate:
    def first(step, total_steps, warmup_steps, base_lr):
        if step < warmup_steps:
            return base_lr * (step + 1) / warmup_steps
        t = (step - warmup_steps) / (total_steps - warmup_steps)
        return base_lr * (1 + math.cos(math.pi * t)) / 2

    def second(step, total_steps, warmup_steps, base_lr):
        warm = step < warmup_steps
        if warm:
            share = step / warmup_steps
        else:
            share = math.cos((step - warmup_steps) / (total_steps - warmup_steps) * math.pi / 2) ** 2
        return base_lr * share


class projection_head:
    def first(in_dim, hidden_dim, out_dim):
        layers = [nn.Linear(in_dim, hidden_dim), nn.ReLU()]
        layers.append(nn.Linear(hidden_dim, out_dim))
        return nn.Sequential(*layers)

    def second(in_dim, hidden_dim, out_dim):

        class Head(nn.Module):
            def __init__(self):
                super().__init__()
                self.a = nn.Linear(in_dim, hidden_dim)
                self.b = nn.Linear(hidden_dim, out_dim)

            def forward(self, h):
                return self.b(F.relu(self.a(h)))

        return Head()

    def third(in_dim, hidden_dim, out_dim):

        class Head(nn.Module):
            def __init__(self):
                super().__init__()
                self.w1 = nn.Parameter(torch.randn(hidden_dim, in_dim) / in_dim**0.5)
                self.b1 = nn.Parameter(torch.zeros(hidden_dim))
                self.w2 = nn.Parameter(torch.randn(out_dim, hidden_dim) / hidden_dim**0.5)
                self.b2 = nn.Parameter(torch.zeros(out_dim))

            def forward(self, h):
                return (h @ self.w1.T + self.b1).clamp(min=0) @ self.w2.T + self.b2

        return Head()


class train_step:
    def first(model, views, optimizer, loss_fn):
        optimizer.zero_grad()
        v1, v2 = views
        n = len(v1)
        h, z = model(torch.cat([v1, v2], dim=0))
        loss = loss_fn(z[:n], z[n:])
        loss.backward()
        optimizer.step()
        return float(loss)

    def second(model, views, optimizer, loss_fn):
        z = model(torch.cat((views[0], views[1])))[1]
        z1, z2 = z.split(len(views[0]))
        loss = loss_fn(z1, z2)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach().item()

    def third(model, views, optimizer, loss_fn):

        def closure():
            optimizer.zero_grad()
            z = model(torch.cat(list(views)))[1]
            z1, z2 = z.chunk(2)
            loss = loss_fn(z1, z2)
            loss.backward()
            return loss

        return float(optimizer.step(closure))


class order_by_class:
    def first(labels):
        return torch.sort(labels, stable=True).indices

    def second(labels):
        parts = []
        for k in labels.unique():
            parts.append((labels == k).nonzero().squeeze(1))
        return torch.cat(parts)

    def third(labels):
        n = len(labels)
        return torch.tensor(sorted(range(n), key=lambda i: int(labels[i])))

    def fourth(labels):
        order = labels * len(labels) + torch.arange(len(labels))
        return order.argsort()


class nearest_neighbours:
    def first(queries, gallery, k):
        q = queries / queries.norm(dim=1, keepdim=True)
        g = gallery / gallery.norm(dim=1, keepdim=True)
        s = q @ g.T
        return s.argsort(dim=1, descending=True)[:, :k]

    def second(queries, gallery, k):
        s = F.cosine_similarity(queries[:, None], gallery[None], dim=2)
        return torch.topk(s, k, dim=1)[1]

    def third(queries, gallery, k):
        d = torch.cdist(F.normalize(queries, dim=1), F.normalize(gallery, dim=1))
        return d.topk(k, dim=1, largest=False).indices


class effective_rank:
    def first(x):
        s = torch.linalg.svdvals(x)
        p = s / s.sum()
        return (-torch.xlogy(p, p).sum()).exp()

    def second(x):
        s = torch.linalg.svd(x, full_matrices=False).S
        p = s / s.sum()
        entropy = torch.special.entr(p).sum()
        return torch.exp(entropy)

    def third(x):
        values = torch.linalg.svdvals(x).tolist()
        total = sum(values)
        entropy = 0.0
        for v in values:
            p = v / total
            if p > 0:
                entropy = entropy - p * math.log(p)
        return math.exp(entropy)


class freeze:
    def first(encoder):
        for p in encoder.parameters():
            p.requires_grad = False
        encoder.eval()

    def second(encoder):
        encoder.train(False)
        for p in encoder.parameters():
            p.requires_grad_(False)
        return encoder

    def third(encoder):
        for module in encoder.modules():
            module.training = False
        for _, p in encoder.named_parameters():
            p.requires_grad_(False)


class extract_features:
    def first(encoder, images, batch_size):
        encoder.eval()
        out = []
        with torch.no_grad():
            for start in range(0, len(images), batch_size):
                batch = images[start : start + batch_size].float() / 255
                out.append(encoder(batch))
        return torch.cat(out)

    def second(encoder, images, batch_size):
        was = encoder.training
        encoder.eval()
        with torch.inference_mode():
            h = [encoder(b.to(torch.float32).div(255)) for b in torch.split(images, batch_size)]
        encoder.train(was)
        return torch.cat(h, dim=0).clone()

    def third(encoder, images, batch_size):
        encoder.train(False)
        features = None
        for b in images.split(batch_size):
            h = encoder(b / 255).detach()
            features = h if features is None else torch.cat([features, h])
        return features


class label_subset:
    def first(labels, fraction, generator):
        chosen = []
        for c in torch.unique(labels).tolist():
            where = torch.nonzero(labels == c)[:, 0]
            count = max(1, int(fraction * len(where)))
            order = torch.randperm(len(where), generator=generator)
            chosen.append(where[order[:count]])
        return torch.cat(chosen)

    def second(labels, fraction, generator):
        shuffled = torch.randperm(len(labels), generator=generator)
        keep = []
        for c in labels.unique():
            mine = shuffled[labels[shuffled] == c]
            count = max(1, round(fraction * len(mine)))
            keep.append(mine[:count])
        return torch.cat(keep)

    def third(labels, fraction, generator):
        noise = torch.rand(len(labels), generator=generator)
        keep = []
        for c in labels.unique():
            mine = (labels == c).nonzero().flatten()
            count = max(1, math.ceil(fraction * len(mine) - 1e-06))
            keep.append(mine[noise[mine].argsort()[:count]])
        return torch.cat(keep).sort().values

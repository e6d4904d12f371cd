"""The fake GPU refuses what a GPU refuses, and calculates what a CPU calculates."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from camexp.models import CAMClassifier, Preprocessing

MIXES = {
    "cat": lambda cpu, gpu: torch.cat([cpu, gpu]),
    "stack": lambda cpu, gpu: torch.stack([gpu, cpu]),
    "add": lambda cpu, gpu: gpu + cpu,
    "in place": lambda cpu, gpu: gpu.add_(cpu),
    "matmul": lambda cpu, gpu: cpu @ gpu,
    "linear": lambda cpu, gpu: nn.functional.linear(gpu, cpu),
    "where": lambda cpu, gpu: torch.where(gpu > 0, gpu, cpu),
    "gather": lambda cpu, gpu: gpu.gather(1, cpu.long()),
    "an index on the GPU": lambda cpu, gpu: cpu[gpu > 0],
    "values of an index": lambda cpu, gpu: gpu.index_put_((torch.tensor([0, 1]),), cpu),
    "a number that changes": lambda cpu, gpu: cpu.sum().add_(gpu.sum()),
    "a number among tensors": lambda cpu, gpu: torch.stack([gpu.sum(), cpu.sum()]),
}


@pytest.mark.parametrize("mix", MIXES)
def test_two_devices_are_refused(fake_cuda, mix):
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        MIXES[mix](torch.eye(2), torch.eye(2).cuda())


def test_what_a_gpu_takes_of_the_cpu(fake_cuda):
    gpu = torch.eye(2, device="cuda")
    assert gpu.device == torch.tensor(0.0, device="cuda").device == torch.device("cuda", 0)
    assert (gpu + torch.tensor(1.0)).tolist() == [[2.0, 1.0], [1.0, 2.0]]  # a single number
    assert gpu[torch.tensor([1])].tolist() == [[0.0, 1.0]]  # an index
    assert gpu.copy_(torch.ones(2, 2)).sum().item() == 4  # a copy
    assert torch.zeros(2, 2).copy_(gpu).device.type == "cpu"
    part = gpu[0]
    part += 1
    assert gpu.cpu().numpy().tolist() == [[2.0, 2.0], [1.0, 1.0]], "a view is a view"
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        np.asarray(gpu)


def test_its_autocast_is_that_of_cuda(fake_cuda):
    gpu = torch.eye(2, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        assert (gpu @ gpu).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert (gpu @ gpu).dtype == torch.float32


def test_a_step_of_training_is_that_of_a_cpu(fake_cuda):
    torch.manual_seed(0)
    head = {"channels": 8, "dropout": 0.0, "init_std": 0.1}
    on_cpu = CAMClassifier("vgg11_bn", list("abc"), Preprocessing((64, 64)), width=1 / 16, head=head).train()
    on_gpu = copy.deepcopy(on_cpu).cuda()
    images, labels = torch.randn(2, 3, 64, 64), torch.tensor([0, 2])
    for model in (on_cpu, on_gpu):
        logits = model(images.to(model.device))
        (nn.functional.cross_entropy(logits, labels.to(model.device)) + model.head.l2_penalty()).backward()
        torch.optim.Adam(model.parameters()).step()
    for (name, one), other in zip(on_cpu.named_parameters(), on_gpu.parameters(), strict=True):
        assert other.device.type == other.grad.device.type == "cuda"
        torch.testing.assert_close(other.grad.cpu(), one.grad, msg=name)
        torch.testing.assert_close(other.cpu(), one, msg=name)

"""The last hidden layer of many nets with one output each: activation, output and gradient in one place."""

import torch


def relu_output(a, w, b):
    """Apply ReLU to `a` in place and give each member's output.

    Parameters
    ----------
    a : Tensor of shape (K, n, h)
        Sums of the hidden layer, any strides.
    w : Tensor of shape (K, h)
        Output weights.
    b : Tensor of shape (K,)
        Output intercepts.

    Returns
    -------
    Tensor of shape (K, n)
        Outputs.
    """
    torch.relu_(a)
    return torch.mul(a, w.unsqueeze(1)).sum(-1).add_(b.unsqueeze(1))


def relu_output_grad(a, d, w, out):
    """Gradients behind :func:`relu_output`.

    Parameters
    ----------
    a : Tensor of shape (K, n, h)
        Activations.
    d : Tensor of shape (K, n)
        Gradient in the outputs.
    w : Tensor of shape (K, h)
        Output weights.
    out : Tensor of shape (K, n, h)
        Receives the gradient in the hidden layer's sums; strides as those of `a`.

    Returns
    -------
    Tensor of shape (K, h)
        Gradient in the output weights.
    Tensor of shape (K, h)
        Gradient in the hidden intercepts.
    """
    torch.mul(d.unsqueeze(-1), w.unsqueeze(1), out=out)
    torch.ops.aten.threshold_backward.grad_input(out, a, 0, grad_input=out)
    return torch.bmm(d.unsqueeze(1), a).squeeze(1), out.sum(1)

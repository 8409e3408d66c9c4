"""The frame scorer: which frame of a cine a reader would take as its reference frame.

A bidirectional LSTM over the pooled features of a cine's frames, after Cong et al.
(doi:10.3389/fcvm.2023.944135).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

WIDTH = 32
"""Channels of the projected features, and of the LSTM in either direction."""
DROPOUT = 0.5
"""Of the features, and of what the LSTM makes of them: there are few cines and many features."""
NEAR = 1.0
"""Standard deviation, in frames, of the Gaussian around the reference frame that is learned:
frames beside it show almost the same."""


class FrameScorer(nn.Module):
    """Scores the frames of cines; the reference frame should have the highest score."""

    scale: Tensor

    def __init__(self, scale: Tensor) -> None:
        """``scale`` (float[C]) is what features are divided by: their usual size."""
        super().__init__()
        self.register_buffer("scale", scale)
        self.projection = nn.Linear(len(scale), WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, bidirectional=True, batch_first=True)
        self.score = nn.Linear(2 * WIDTH, 1)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, cines: Sequence[Tensor]) -> Tensor:
        """Scores (float[N, T], T of the longest cine; minus infinity behind the end of others).

        Args:
            cines: of each float[frames, C], its features less their mean over the cine.
        """
        lengths = torch.tensor([len(cine) for cine in cines])
        features = self.dropout(pad_sequence(list(cines), batch_first=True) / self.scale)
        projected = self.dropout(torch.relu(self.projection(features)))
        packed = pack_padded_sequence(projected, lengths, batch_first=True, enforce_sorted=False)
        seen, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        scores: Tensor = self.score(self.dropout(seen)).squeeze(-1)
        behind = torch.arange(scores.shape[1]) >= lengths[:, None]
        return scores.masked_fill(behind, -torch.inf)

    def loss(self, cines: Sequence[Tensor], references: Tensor) -> Tensor:
        """Cross entropy between the softmax over a cine's frames and a Gaussian around its frame.

        Args:
            cines: as in :meth:`forward`.
            references: int64[N], the index of each one's reference frame.
        """
        scores = self(cines)
        away = torch.arange(scores.shape[1]) - references[:, None]
        inside = scores.isfinite()
        wanted = torch.exp(-((away / NEAR) ** 2) / 2) * inside
        wanted = wanted / wanted.sum(dim=1, keepdim=True)
        # Behind the end nothing is wanted; 0 times minus infinity is no number.
        logarithms = scores.log_softmax(dim=1).masked_fill(~inside, 0)
        loss: Tensor = -(wanted * logarithms).sum(dim=1).mean()
        return loss

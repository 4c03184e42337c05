"""More than one process: the same run as with one, each process doing its share.

``torchrun --nproc-per-node=K -m simclr_edu pretrain ...`` starts K processes, the ranks 0 .. K-1. Every rank
holds the whole model and takes its slice of each global batch. Three things in SimCLR couple the slices, so
three things travel: the embeddings (the loss compares all pairs of the global batch), the statistics of
BatchNorm (a rank's own would be those of a smaller batch), and the gradients. Chen et al. 2020, section 2.2.

Why the gradient comes out right. Let w_r be rank r's copy of the parameters and L_s the loss that rank s
computes. Backward, each collective here is the transpose of what it is forward: whatever rank s received from
rank r sends its gradient back from s to r, and what arrives at r is summed. So ``backward`` on all ranks
together differentiates the sum of all K losses, rank r getting its own part of it:

    g_r  =  d(L_1 + .. + L_K) / dw_r

All L_s are the same number, the loss L of the whole batch, and all w_r are the same w, so

    sum_r g_r  =  d(L_1 + .. + L_K) / dw  =  K dL/dw

and the mean of the g_r over ranks, which ``average_gradients`` and DistributedDataParallel take, is dL/dw,
the gradient of one process with the whole batch. For the gather this means: all-reduce, take the own part,
which is K dL/dx_r. Two mistakes hide here: without a gradient through the gather, or with one K times too
small, training still runs and only learns worse; Adam, which is blind to the scale, hides the second.
"""

from simclr_edu.distributed.gather import average_gradients, copy_from_rank0, gather_with_grad
from simclr_edu.distributed.ranks import (
    ElsewhereError,
    LostRankError,
    agreed,
    check_batch_size,
    check_same,
    from_rank0,
    in_turn,
    is_distributed,
    local_device,
    on_rank0,
    own_part,
    process_group,
    rank,
    share,
    world_size,
)
from simclr_edu.distributed.sync_batch_norm import SyncBatchNorm, synchronised_batch_norm

__all__ = [
    "ElsewhereError",
    "LostRankError",
    "SyncBatchNorm",
    "agreed",
    "average_gradients",
    "check_batch_size",
    "check_same",
    "copy_from_rank0",
    "from_rank0",
    "gather_with_grad",
    "in_turn",
    "is_distributed",
    "local_device",
    "on_rank0",
    "own_part",
    "process_group",
    "rank",
    "share",
    "synchronised_batch_norm",
    "world_size",
]

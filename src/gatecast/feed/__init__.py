"""From windows of a panel to batches of tensors: sizes, scaling, gathering, sampling."""

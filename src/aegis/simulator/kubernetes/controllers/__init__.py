"""What moves a cluster: the controllers, the scheduler and the kubelets, one pass at a time."""

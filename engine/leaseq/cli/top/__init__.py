"""`leaseq top`: one look at the cluster after another, as tables or as a screen."""

"""The commands of `leaseq`. `leaseq.cli.program` names the module of each."""

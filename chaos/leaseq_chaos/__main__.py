"""`python -m leaseq_chaos` is `leaseq-chaos`."""

from leaseq_chaos.cli import main

if __name__ == "__main__":
    main()

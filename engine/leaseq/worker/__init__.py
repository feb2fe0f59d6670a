"""The worker: a supervisor that keeps children alive and holds their leases, and children that run handlers."""

"""Bring deliveries from the lanes of dispatch to running attempts, and keep the processing lists right."""

-- A subscription that lives as long as its session.
listen meddled

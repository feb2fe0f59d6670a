-- Write now what a checkpoint would write in the middle of a measurement.
checkpoint

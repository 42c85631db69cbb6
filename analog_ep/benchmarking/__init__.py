"""What measures speed; run by `analog-ep bench`, never timed inside tests."""

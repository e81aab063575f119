"""What a network answers on a part, and what that says: metrics, calibration, the worst mistakes."""

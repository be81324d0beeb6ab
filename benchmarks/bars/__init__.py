"""What dtsched promises of its speed, row by row, as ratios of two things that one run measures."""

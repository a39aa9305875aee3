"""The pipeline's side that gives tasks out: what tasks there are, and who works on them."""

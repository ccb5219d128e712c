"""Networks of the papers and their competitors, one file an architecture; attention kernels beside them."""

"""The protocol audit: which protocol makes each published number, found from the numbers and the images alone."""

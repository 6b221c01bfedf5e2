"""What certificates there must be, when each is made anew, and what a request for one may ask. No I/O, no clock."""

"""The whole stack on loopback: real servers, started and ended by one process."""

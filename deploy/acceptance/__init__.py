"""Whether everything that needs the device works on this machine, and the record of it."""

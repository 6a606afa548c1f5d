"""Did it help, and did it do harm next door? Pure."""

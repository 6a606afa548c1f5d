"""Watches a cluster, says what is wrong with it and why, proposes what to do, and judges whether it helped."""

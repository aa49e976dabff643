#!/bin/sh
# How many compilers this machine bears: one a core, and 2.5 GB of free memory for each.
awk -v cores="$(nproc)" '/^MemAvailable/ { jobs = int($2 / 2.5e6) }
  END { if (jobs > cores) jobs = cores; print jobs < 1 ? 1 : jobs }' /proc/meminfo

#!/bin/sh
# What `make demo` runs: a campaign of 30 experiments in the simulated electrolyte lab, from nothing to the report.
set -eu
lab=${1:-demo-lab}

say() { printf '\n$ %s\n' "$*"; "$@"; }

if [ ! -f "$lab/labctl.toml" ]; then
    say labctl init "$lab" --lab electrolyte
fi
cd "$lab"
say labctl campaign validate campaigns/conductivity.toml
say labctl campaign run campaigns/conductivity.toml --fresh
say labctl candidate list --top 5
say labctl campaign report last

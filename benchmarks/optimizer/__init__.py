"""How good and how fast the optimizer is, beside its peers: `make bench-optimizer`.

What is measured and how is told in benchmarks/README.md. One file per figure (`pool`,
`simplex`, `timing`, `size`, `pareto`, `failing`, `transfer`): it says which runs are wanted
and makes one; `results` keeps what was measured, `show` prints the tables.
"""

#!/bin/bash
# The runs of README.md's table, one after another: bash run.sh OUT [FOLDER]
# FOLDER holds the data set where there is no network.
set -e
out=$(realpath -m "$1")
folder=${2:+$(realpath "$2")}
cd "$(dirname "$0")"

run() {
  flwr run . --stream \
    --federation-config "num-supernodes=11 client-resources-num-cpus=1" \
    --run-config "dataset='mnist10k' num-server-rounds=120 out='$out' data-folder='$folder' $1"
}

for clipping in none arc; do
  for aggregation in trimmed_mean geometric_median; do
    run "attack='foe(tau=adaptive)' clipping='$clipping' aggregation='$aggregation'"
  done
done
for attack in "alie(tau=adaptive)" sign_flip label_flip; do
  for clipping in none arc; do
    run "attack='$attack' clipping='$clipping'"
  done
done
python -m arc.utils "$out"

#!/bin/bash
# The runs of README.md's table, one after another: bash run.sh OUT [FOLDER]
# FOLDER holds the data set where there is no network.
set -e
out=$(realpath -m "$1")
folder=${2:+$(realpath "$2")}
cd "$(dirname "$0")"

run() {
  flwr run . --stream \
    --federation-config "num-supernodes=$1 client-resources-num-cpus=1" \
    --run-config "dataset='mnist10k' num-server-rounds=300 learning-rate=0.01 \
      evaluate-every=20 out='$out' data-folder='$folder' $2"
}

for rule in mixtailor krum median; do
  run 12 "attack='tailored(eps=0.1, along=sum)' rule='$rule'"
done
for rule in mixtailor median; do
  run 12 "attack='tailored(eps=10, along=sum)' rule='$rule'"
done
run 10 "attack='none' rule='mean' num-malicious-nodes=0"
python -m mixtailor.utils "$out"

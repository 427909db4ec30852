// Honest clients: a common direction, each client's own bias, and the noise of its batches.

export const CENTRE = [2.4, 1.5];

// mulberry32: the same seed gives every visitor of the page the same crowd.
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function gaussians(seed, count) {
  const next = uniform(seed);
  return Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - next()));
    const angle = 2 * Math.PI * next();
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  });
}

// A momentum m ← βm + (1 − β)g of noise with deviation 1 has, in the long run, this deviation:
export const shrinking = (beta) => Math.sqrt((1 - beta) / (1 + beta));

// … and from round to round its noise is a Markov chain with correlation β.
export function noiseOf(seed, round, beta, count) {
  let noise = gaussians(seed * 1000 + 1, count);
  const memory = Math.max(0, round - 400);
  for (let t = memory + 1; t <= round; t++) {
    const fresh = gaussians(seed * 1000 + 1 + t, count);
    const rest = Math.sqrt(1 - beta * beta);
    noise = noise.map(([x, y], i) => [beta * x + rest * fresh[i][0], beta * y + rest * fresh[i][1]]);
  }
  return noise;
}

export function crowd({ honest, heterogeneity, noise, beta, seed, round }) {
  const bias = gaussians(seed, honest);
  const batch = noiseOf(seed, round, beta, honest);
  const spread = noise * shrinking(beta);
  return bias.map(([x, y], i) => [
    CENTRE[0] + heterogeneity * x + spread * batch[i][0],
    CENTRE[1] + heterogeneity * y + spread * batch[i][1],
  ]);
}

// Where colluders stand before anybody moves them.
export function colluders(count) {
  return Array.from({ length: count }, (_, i) => {
    const angle = -2.5 + 0.28 * (i - (count - 1) / 2);
    return [4.2 * Math.cos(angle), 4.2 * Math.sin(angle)];
  });
}

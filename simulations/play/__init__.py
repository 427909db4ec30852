"""``byzflower play``: attacks and defences in the plane, in a browser, for teaching.

``scene`` answers what the page asks, by the library that simulations and deployments use;
``replay`` reads a run's results; ``server`` lets this machine's browser, and nobody else, ask;
``pages`` are what it shows: ES modules, SVG and CSS, as they lie there.
"""

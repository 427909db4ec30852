"""A Flower app made robust by byzflower: ten clients learn digits, two of them lie."""

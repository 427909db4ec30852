"""Build the documentation: ``sphinx-build -W docs build/site``, without network."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "byzflower"
author = "byzflower developers"
copyright = "byzflower developers, Apache-2.0"
version = release = version_of("byzflower")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "catalogue",
    "mathml",
]
exclude_patterns = ["extensions", "tutorial/*.rst", "CITATION.cff"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"byzflower {version}"
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"code-font-size": "0.74rem"},  # a hundred characters fit the column
}

myst_enable_extensions = ["attrs_inline", "dollarmath", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signatures of the docstrings say shapes, too
napoleon_google_docstring = False
napoleon_use_ivar = True

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "tutorial",
    "gallery_dirs": "_tutorial",
    "filename_pattern": r"\d\d_",  # every step runs, and its output and pictures are what it made
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "show_memory": False,
    "min_reported_time": 60,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
}

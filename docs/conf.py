"""Sphinx configuration; the build fails on any warning."""

import os
import sys
import warnings

os.environ["SKIMB_GALLERY"] = "sphinx"
os.environ.setdefault("SKIMB_FAST", "1")
warnings.filterwarnings("ignore", category=UserWarning)

import skimb  # noqa: E402

project = "skimb"
author = "the skimb developers"
copyright = "2026, the skimb developers"
version = release = skimb.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # formulas without a network
    "sphinx_design",
    "sphinx_copybutton",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "matplotlib.sphinxext.plot_directive",
    "generate_names",
]
sys.path.insert(0, os.path.dirname(__file__))
exclude_patterns = ["_build", "generated_losses.rst"]
html_sidebars = {"index": [], "start": []}
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
html_theme = "pydata_sphinx_theme"
html_title = f"skimb {release}"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
}
plot_formats = [("png", 100)]
plot_html_show_formats = plot_html_show_source_link = False
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["skimb.css"]
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
}
# inherited docstrings of scikit-learn point into its own documentation
suppress_warnings = [
    "config.cache",
    "ref.ref",
    "ref.term",
]  # inherited docstrings refer to scikit-learn's pages

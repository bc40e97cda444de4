"""How the site is built of the pages in this folder: ``make docs``."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from sphinx.application import Sphinx

import streamhub

project = "streamhub"
author = "The streamhub authors"
project_copyright = f"2026, {author}"
release = version = streamhub.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_llm.txt",
]
root_doc = "index"
nitpicky = False
suppress_warnings = [
    # Links to files of the repository that are no pages; tests follow them.
    "myst.xref_missing",
    # A type of a signature may be known by two names: where it is defined, and where users find it.
    "ref.python",
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"streamhub {release}"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"source_directory": "docs/"}
copybutton_exclude = ".linenos, .gp, .go"

llms_txt_suppress_unknown_node_warnings = ["abbreviation", "meta"]
llms_txt_description = (
    "Resumable LLM streaming for Python, backed by Redis: a producer publishes chunks, readers "
    "anywhere replay what they missed and follow live, anyone cancels."
)


def _describe_commands(app: Sphinx, page: str, source: list[str]) -> None:
    """The commands and their options, as the command line itself describes them."""
    if page == "reference/command-line":
        asked = ["-m", "typer", "streamhub.cli.app", "utils", "docs", "--name", "streamhub"]
        told = subprocess.run([sys.executable, *asked], check=True, capture_output=True, text=True)
        source[0] += told.stdout.removeprefix("# `streamhub`")


def _describe_page(app: Sphinx, page: str, source: list[str]) -> None:
    """What search engines and llms.txt say of it: its first sentence."""
    begin = re.match(r"# .*\n\n((?:[\w`].*\n)+)", source[0])
    if begin is None:
        return
    text = re.sub(r"\[([^\[\]]*)\]\(.*?\)", r"\1", " ".join(begin[1].split())).replace("`", "")
    sentence = re.split(r"(?<=[.:]) (?=[A-Z])", text)[0].rstrip(":")
    meta = f"---\nmyst:\n  html_meta:\n    description: {json.dumps(sentence)}\n---\n\n"
    source[0] = meta + source[0]


def setup(app: Sphinx) -> None:
    app.connect("source-read", _describe_commands)
    app.connect("source-read", _describe_page)

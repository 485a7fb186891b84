"""Runs a notebook, and tells what its cells answer, as texts."""

import json
import sys

import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(notebook)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
answers = [output["data"]["text/plain"] for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "execute_result"]
json.dump(answers, sys.stdout)

"""Notebooks run by papermill within this process: no kernel to start, and torch is imported once for all of them."""

import sys

import nbformat
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from papermill.engines import Engine, papermill_engines

NAME = "in_process"  # of the engine, to papermill


class Results(DisplayHook):
    """What a cell ends with is shown like all else."""

    def write_output_prompt(self):
        """No `Out[1]:`."""

    def write_format_data(self, format_dict, md_dict=None):
        """Hands a result to whoever captures what is shown."""
        self.shell.display_pub.publish(format_dict, md_dict or {})


class Shell(InteractiveShell):
    """A shell without windows and prompts."""

    displayhook_class = Results

    def enable_gui(self, gui=None):
        """Figures go into the page: there is no event loop to start."""


class InProcess(Engine):
    """Cells in an IPython shell, with what a kernel would have sent as their outputs.

    One shell serves all notebooks, each of which finds it empty: figures would be drawn for the first of several only.
    """

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **_):
        """Runs every cell; a cell that raises ends the notebook, as papermill expects it."""
        main = sys.modules["__main__"]
        try:
            cls.run(nb_man)
        finally:  # a shell takes its place, and processes that are started later look for it
            sys.modules["__main__"] = main

    @staticmethod
    def run(nb_man):
        """Runs every cell in the shell of all notebooks."""
        shell = Shell.instance()
        shell.reset()
        shell.run_line_magic("matplotlib", "inline")
        for index, cell in enumerate(nb_man.nb.cells):
            if cell.cell_type != "code":
                continue
            nb_man.cell_start(cell, index)
            with capture_output() as said:
                result = shell.run_cell(cell.source)
            cell.outputs = list(outputs(said))
            if error := result.error_before_exec or result.error_in_exec:
                nb_man.cell_exception(cell, index, exception=error)
                cell.outputs.append(
                    nbformat.v4.new_output(
                        "error", ename=type(error).__name__, evalue=str(error), traceback=[str(error)]
                    )
                )
                break
            nb_man.cell_complete(cell, index)


def outputs(said):
    """The outputs of a cell."""
    if said.stdout:
        yield nbformat.v4.new_output("stream", name="stdout", text=said.stdout)
    for shown in said.outputs:
        yield nbformat.v4.new_output("display_data", data=shown.data, metadata=shown.metadata)


papermill_engines.register(NAME, InProcess)

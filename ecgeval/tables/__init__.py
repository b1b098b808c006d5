"""Tables of scored runs, for CSV and LaTeX files, the terminal and the page alike."""

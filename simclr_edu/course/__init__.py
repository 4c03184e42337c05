"""What only the notebooks use: figures, explorers, exercises, interview, results. The method imports none."""

"""Programs that mpiexec runs, and ranks that are threads of one process."""

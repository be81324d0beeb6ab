"""Programs that run on dtsched, as handlers of workers. Installed as `dtsched.workers`."""

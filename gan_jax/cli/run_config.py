"""Recipe that is the config of a run folder, to continue that run."""


def get_config(workdir):
    """Load the config of a run folder."""
    from gan_jax.runs import run_files

    return run_files.load_config(workdir)

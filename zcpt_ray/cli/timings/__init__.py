"""What `zcpt benchmark` times: the engine, trainings and workers, each beside a plain implementation."""

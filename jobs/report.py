"""One HTML page about finished searches, ablations and trainings: `zcpt report`."""

from zcpt_ray.cli import report

if __name__ == "__main__":
    report.main()

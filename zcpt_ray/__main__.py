"""`python -m zcpt_ray`: the command `zcpt`."""

from zcpt_ray.cli import main

if __name__ == "__main__":
    main()

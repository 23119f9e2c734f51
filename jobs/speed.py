"""How fast the engine is, beside a plain implementation of the released code's way: `zcpt benchmark`."""

from zcpt_ray.cli import speed

if __name__ == "__main__":
    speed.main()

"""Code of the user's on Ray's workers, which may be on machines that do not have it."""

from contextlib import suppress

import ray

from zcpt_ray.errors import UserError
from zcpt_ray.identity import own_modules
from zcpt_ray.registry import own_records


def send_by_value(value: object = None) -> None:
    """From here on, tasks of this process carry the user's own modules with them; workers import none of these.

    Raises:
        UserError: `value`, which is going to be sent, has a part that cannot be, such as a proxy that holds a lock.
    """
    for _, record in own_records():
        with suppress(UserError, OSError):  # what has changed or gone since it was loaded is refused where it is used
            for module in own_modules(record):
                ray.cloudpickle.register_pickle_by_value(module)
    try:
        ray.cloudpickle.dumps(value)
    except Exception as error:  # whatever it holds
        parts = [f"{kind} {record.name!r}" for kind, record in own_records() if not _can_be_sent(record)]
        raise UserError(f"{', '.join(parts) or value} cannot be sent to Ray's workers: {error}") from error


def _can_be_sent(value: object) -> bool:
    try:
        ray.cloudpickle.dumps(value)
    except Exception:  # whatever it holds
        return False
    return True

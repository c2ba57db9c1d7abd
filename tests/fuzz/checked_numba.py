"""Compiles kernels so that no index can go wrong unseen: neither one behind an array's end nor a negative one."""

import os
from pathlib import Path
from typing import Any

# Kernels that were compiled so, or otherwise, may not be taken for one another: the cache lies elsewhere.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "melstream-checked"
ENVIRONMENT = {"NUMBA_BOUNDSCHECK": "1", "XDG_CACHE_HOME": str(_CACHE)}


def check_every_index() -> None:
    """Makes numba, before it compiles anything, raise IndexError for every index or slice outside 0 ... length.

    NUMBA_BOUNDSCHECK, which has to be set, leaves out negative ones: as in Python they count from the end. An unsigned index
    is seldom meant; nothing is added to it.
    """
    from numba.core import cgutils, types
    from numba.cpython import slicing
    from numba.np import arrayobj

    def keep_index(context: Any, builder: Any, index_type: Any, index: Any, size: Any) -> Any:
        return context.cast(builder, index, index_type, types.intp if index_type.signed else types.uintp)

    guard = slicing.guard_invalid_slice

    def refuse_negative(context: Any, builder: Any, slice_type: Any, struct: Any) -> None:
        guard(context, builder, slice_type, struct)
        for bound in (struct.start, struct.stop):
            is_negative = builder.icmp_signed("<", bound, bound.type(0))
            with cgutils.if_unlikely(builder, is_negative):
                context.call_conv.return_user_exc(builder, IndexError, ("negative slice",))

    arrayobj.fix_integer_index = keep_index
    slicing.guard_invalid_slice = refuse_negative

"""The C kernels. Where they do not compile, skimb installs without them and computes with torch."""

import sys

from setuptools import Extension, setup

if sys.platform == "win32":
    flags = {"extra_compile_args": ["/O2", "/std:c11", "/fp:fast"]}
else:
    # fast-math is for the compiler only: linking with it would flush denormals in the whole process
    flags = {
        "extra_compile_args": ["-O3", "-ffast-math", "-fno-math-errno", "-Wno-unknown-pragmas"],
        "libraries": ["m"],
    }

setup(
    ext_modules=[
        Extension(
            "skimb.kernels._cpu",
            ["skimb/kernels/_cpu.c"],
            depends=["skimb/kernels/_products.h", "skimb/kernels/_columns.h"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
            optional=True,
            **flags,
        )
    ]
)

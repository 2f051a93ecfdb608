"""Runs a program to which the kernel's keyrings are denied with the given error, as containers and other kernels do."""

import ctypes
import os
import platform
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL_WITH = 0x7FFF0000, 0x00050000

# add_key, request_key, keyctl
NUMBERS = {"x86_64": (248, 249, 250), "aarch64": (217, 218, 219)}[platform.machine()]

error = int(sys.argv[1])
program = [(LOAD_NUMBER, 0, 0, 0)]
for left, number in zip(range(len(NUMBERS), 0, -1), NUMBERS):
    program.append((JUMP_IF_EQUAL, left, 0, number))
program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, FAIL_WITH | error)]

code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
description = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))

libc = ctypes.CDLL(None, use_errno=True)
for arguments in (
    (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
    (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(description)), 0, 0),
):
    if libc.prctl(*arguments) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[2], sys.argv[2:])

/* What Python's headers must know of 64-bit Windows to declare the stable interface: the place of the interpreter's own
   pyconfig.h, which is of the machine that compiles. After CPython's PC/pyconfig.h. */
#pragma once

#define MS_WINDOWS
#define MS_WIN32
#define MS_WIN64
#define HAVE_DECLSPEC_DLL
#define Py_ENABLE_SHARED

#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_FLOAT 4
#define SIZEOF_DOUBLE 8
#define SIZEOF_WCHAR_T 2
#define SIZEOF_SIZE_T 8
#define SIZEOF_VOID_P 8
#define SIZEOF_TIME_T 8
#define SIZEOF_OFF_T 4
#define SIZEOF_FPOS_T 8
#define ALIGNOF_SIZE_T 8
#define ALIGNOF_MAX_ALIGN_T 16

#define HAVE_PY_SSIZE_T
typedef long long Py_ssize_t;
#define PY_SSIZE_T_MAX 0x7fffffffffffffff

/*
 * analyzer.h: what clang-tidy cannot see, because it looks at one file at a time. Included before
 * every file of src but err.c, which defines what is named here.
 */
#include "common/err.h"

/* It always returns -1: what a caller does after "return err_set(...)" depends on it. */
#define err_set(...) (err_set(__VA_ARGS__), -1)
